"""`python tests/single_changes [MODULE...]`: make every single change, and say which of them no vector notices."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from single_changes.changes import Change
from single_changes.noticing import Vectors, notice_all, rule_modules
from single_changes.report import LEAST, WORKERS, changes_in, read_list, report


def main(modules: list[str]) -> int:
    """Print what was noticed of each module; the exit code says whether the list fits."""
    os.nice(10)
    listed, vectors = read_list(), Vectors()
    changes: list[Change] = []
    noticed: list[bool] = []
    for module in modules or rule_modules():
        some = changes_in([module], listed)
        found = notice_all(vectors, some, WORKERS)
        changes, noticed = changes + some, noticed + found
        print(f"{module}: {report(some, found, listed, whole=False).text}", flush=True)
    whole = report(changes, noticed, listed, whole=not modules)
    print(whole.text)
    return int(bool(whole.unlisted or whole.stale or whole.share < LEAST))


sys.exit(main(sys.argv[1:]))
