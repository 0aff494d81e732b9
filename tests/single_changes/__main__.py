"""`python tests/single_changes [MODULE...]`: make every single change, and say which of them no vector notices."""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from single_changes.changes import changes_of
from single_changes.noticing import RULES, Vectors, notice_all, rule_modules


def main(names: list[str]) -> None:
    os.nice(10)
    start = time.monotonic()
    vectors = Vectors()
    print(f"{len(vectors.cases)} rows, {time.monotonic() - start:.0f} s", flush=True)
    total, good = 0, 0
    for name in names or rule_modules():
        changes = changes_of(name, RULES / f"{name}.py")
        noticed = notice_all(vectors, changes, 2)
        for change, found in zip(changes, noticed, strict=True):
            if not found:
                print(change.name)
        total, good = total + len(changes), good + sum(noticed)
        print(f"{name}: {sum(noticed)} of {len(changes)}", flush=True)
    print(f"all: {good} of {total} in {time.monotonic() - start:.0f} s")


main(sys.argv[1:])
