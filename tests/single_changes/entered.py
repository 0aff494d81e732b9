"""Which tests enter which functions of the server and the client, and how long (s) each test takes.

Measured once for each test file, in a copy of the tree, and kept under build/ for as long as that file stays the same.
Functions go by their names, so that what was measured outlives changes to the lines of the code.
"""

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from single_changes.copies import ROOT, Copy

KEPT = ROOT / "build" / "single_changes"
LONGEST_FILE = 1800
"""Seconds that the tests of one file may take while they are measured."""

_FOLDERS = ("server", "business", "client_sdk", "faults", "scenarios")
_WITHOUT = ("planted", "bench", "readme", "demo", "page_shown", "browser")
"""Tests of these names make changes themselves, or play long stories over what other tests look at one by one."""

Place = tuple[str, str]
"""A file of the project, and the qualified name of a function in it."""


@dataclass(frozen=True)
class Test:
    """A test that passes: pytest's name for it, and how long it takes (s)."""

    name: str
    seconds: float

    @property
    def file(self) -> str:
        """The file that it is in."""
        return self.name.partition("::")[0]


class Entered:
    """By function, the tests that enter it."""

    def __init__(self) -> None:
        self._tests: dict[Place, list[Test]] = defaultdict(list)

    def add(self, seconds: dict[str, float], places: dict[str, list[Place]]) -> None:
        """Take in what was measured of one file: the tests that pass, and the functions that each test enters."""
        for name, entered in places.items():
            if name in seconds:
                for file, function in entered:
                    self._tests[file, function].append(Test(name, seconds[name]))

    def of(self, places: Sequence[Place], about: Collection[str] = ()) -> list[Test]:
        """The tests that enter any of some functions: those in the files `about` them first; of each file the quickest
        first, the files in turn."""
        by_file: dict[str, list[Test]] = defaultdict(list)
        for test in {test for place in places for test in self._tests.get(place, ())}:
            by_file[test.file].append(test)
        near = [tests for file, tests in by_file.items() if file in about]
        return [*_in_turn(near), *_in_turn([tests for file, tests in by_file.items() if file not in about])]


def _in_turn(files: Iterable[list[Test]]) -> list[Test]:
    rows = sorted((sorted(tests, key=_quickest) for tests in files), key=lambda row: _quickest(row[0]))
    longest = max(map(len, rows), default=0)
    return [row[number] for number in range(longest) for row in rows if number < len(row)]


def files_about(source: str) -> set[str]:
    """The test files that are named after a file of the project, or import it."""
    stem = Path(source).stem
    module = ".".join(Path(source).with_suffix("").parts[1:])
    one = stem.removesuffix("s")
    names = (f"_{stem}_", f"_{one}_", f"_{one.removesuffix('er').removesuffix('e')}ing_")
    imports = (f"{module} import ", f"{module.rpartition('.')[0]} import {stem}")
    return {
        file
        for file in files_of_tests()
        if any(name in f"{Path(file).stem}_" for name in names)
        or any(it in (ROOT / file).read_text(encoding="utf-8") for it in imports)
    }


def _quickest(test: Test) -> tuple[float, str]:
    return test.seconds, test.name


def files_of_tests() -> list[str]:
    """The test files that may notice something, by their paths."""
    found = (path for folder in _FOLDERS for path in sorted((ROOT / "tests" / folder).glob("test_*.py")))
    return [str(path.relative_to(ROOT)) for path in found if not any(word in path.stem for word in _WITHOUT)]


def read_entered(copies: Sequence[Copy], tell: Callable[[str], None]) -> Entered:
    """What each test enters; what is not known by now is measured first, in all copies at once."""
    files = files_of_tests()
    tree = copies[0].tree
    missing = [file for file in files if not _kept_as(tree / file).exists()]
    if missing:
        tell(f"measuring which functions the tests of {len(missing)} files enter")
        free: SimpleQueue[Copy] = SimpleQueue()
        for copy in copies:
            free.put(copy)

        def measure(file: str) -> None:
            copy = free.get()
            try:
                _measure(copy, file)
                tell(f"measured {file}")
            finally:
                free.put(copy)

        with ThreadPoolExecutor(len(copies)) as pool:
            list(pool.map(measure, missing))
    entered = Entered()
    for file in files:
        kept = json.loads(_kept_as(tree / file).read_text(encoding="utf-8"))
        entered.add(kept["seconds"], {name: [tuple(it) for it in places] for name, places in kept["entered"].items()})
    return entered


def _kept_as(file: Path) -> Path:
    content = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return KEPT / f"{file.stem}-{content}.json"


def _measure(copy: Copy, file: str) -> None:
    lines, ended = copy.folder / "entered", copy.folder / "entered.ended"
    for old in (lines, ended):
        old.unlink(missing_ok=True)
    # Twice as slow as it is, under the tracer.
    copy.passes(
        [file], LONGEST_FILE, "-p", "sitecustomize", "-o", "timeout=300",
        ENTERED_FUNCTIONS=str(lines), ENTERED_ROOT=str(copy.tree),
    )  # fmt: skip
    seconds = {name: float(took) for name, outcome, took in _rows(ended) if outcome == "passed"}
    for name, outcome, _ in _rows(ended):
        if outcome == "failed":
            # Whatever failed without a change would say nothing about one.
            seconds.pop(name, None)
    places: dict[str, set[Place]] = defaultdict(set)
    for name, source, function in _rows(lines):
        places[name].add((source, plain_name(function)))
    kept = {"seconds": seconds, "entered": {name: sorted(found) for name, found in places.items()}}
    KEPT.mkdir(parents=True, exist_ok=True)
    part = KEPT / f"{Path(file).stem}.part"
    part.write_text(json.dumps(kept), encoding="utf-8")
    shutil.move(part, _kept_as(copy.tree / file))


def _rows(file: Path) -> Iterator[list[str]]:
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            if len(row := line.split("\t")) == 3:
                yield row


def plain_name(function: str) -> str:
    """A function's qualified name without what Python puts between and behind the names."""
    names = [name for name in function.split(".") if not name.startswith("<")]
    return ".".join(names)
