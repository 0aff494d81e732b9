"""`python3 tests --mutants [--sample N] [--minutes M] [--seed S] [--like TEXT] [MODULE...]`: makes single changes in
the server, its SQL and the client, runs the tests that could notice each, and says which nobody noticed.

Every change is made in a copy of the tree. A test that fails without any change notices nothing.
"""

import argparse
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import NamedTuple

from single_changes.changes import Change
from single_changes.copies import Copy
from single_changes.entered import Entered, Test, files_about, read_entered
from single_changes.places import Places
from single_changes.report import Listed, is_outside, read_list
from single_changes.shells import can_be_read, changes_in_file, modules

LIST = Path(__file__).parent / "listed_shells.toml"
LEAST = 0.9
"""Of the changes that matter so many must be noticed."""
WORKERS = 2
FEW = 8
"""Tests that are asked first: most changes end there."""
BUDGET = 90.0
"""Seconds of tests, as they were measured, that are asked about one change."""
SAMPLE, MINUTES, SEED = 200, 60, 1


class Outcome(NamedTuple):
    """What came of a change: the first test that noticed it, "" for none; how many were asked, and how many of all that
    enter its place that is."""

    change: Change
    noticed_by: str
    asked: int
    entering: int


def main(arguments: Sequence[str]) -> int:
    """Make the changes and report; 1 where too few of those that matter were noticed."""
    how = _parser().parse_args(arguments)
    os.nice(10)
    listed, files = read_list(LIST), modules()
    chosen = {name: file for name, file in files.items() if _is_asked_for(name, how.modules)}
    changes = [it for name, file in chosen.items() for it in changes_in_file(name, file) if not is_outside(it, listed)]
    if not how.modules:
        for name in (listed.same | listed.left).keys() - {it.name for it in changes}:
            print(f"listed, and no longer there: {name}")
    changes = [it for it in changes if how.like in it.name]
    sample = _drawn(changes, files, how.sample or len(changes), how.seed)
    print(f"{len(sample)} of {len(changes)} changes, seed {how.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="comity-mutants-"))
    try:
        copies = [Copy(folder / str(number)) for number in range(WORKERS)]
        entered = read_entered(copies, _say)
        matter = [it for it in sample if it.name not in listed.same]
        trial = Trial(copies, files, entered)
        outcomes = trial.make_all(matter, how.minutes * 60)
        unreliable = _fail_by_themselves(copies[0], outcomes)
        if doubtful := [it.change for it in outcomes if it.noticed_by in unreliable]:
            _say(f"once more, without tests that fail by themselves: {', '.join(sorted(unreliable))}")
            trial.left_out |= unreliable
            certain = [it for it in outcomes if it.noticed_by not in unreliable]
            outcomes = certain + trial.make_all(doubtful, how.minutes * 60)
            unreliable |= _fail_by_themselves(copies[0], outcomes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _report(outcomes, unreliable, files, listed, len(sample) - len(matter))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 tests --mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as comity_server.webhooks or comity.client")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="changes to make at most; 0: all")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no change is begun after so many minutes")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed draws another sample")
    parser.add_argument("--like", default="", metavar="TEXT", help="only changes whose name contains this text")
    return parser


def _is_asked_for(module: str, asked: Sequence[str]) -> bool:
    return not asked or any(module == it or module.startswith(f"{it}.") for it in asked)


def _drawn(changes: list[Change], files: dict[str, str], most: int, seed: int) -> list[Change]:
    """So many of the changes at most, by chance, of those that can be read."""
    drawn = random.Random(seed).sample(changes, len(changes))
    return list(islice((it for it in drawn if can_be_read(it, files[it.module])), most))


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Trial:
    """Makes changes in some copies at once."""

    def __init__(self, copies: Sequence[Copy], files: dict[str, str], entered: Entered) -> None:
        self._copies = copies
        self._files = files
        self._entered = entered
        self._places = Places(files)
        self._lock = Lock()
        self.left_out: set[str] = set()
        """Tests that are not asked."""

    def make_all(self, changes: Iterable[Change], seconds: float) -> list[Outcome]:
        """What came of each change that was begun in time."""
        until, waiting = time.monotonic() + seconds, SimpleQueue[Change]()
        outcomes: list[Outcome] = []
        for change in changes:
            waiting.put(change)

        def work(copy: Copy) -> None:
            while time.monotonic() < until:
                try:
                    change = waiting.get_nowait()
                except Empty:
                    return
                outcome = self._make(copy, change)
                with self._lock:
                    outcomes.append(outcome)
                    _say(f"{len(outcomes)} {outcome.noticed_by or 'NOT NOTICED'}: {_text(outcome, self._files)}")

        with ThreadPoolExecutor(len(self._copies)) as pool:
            list(pool.map(work, self._copies))
        return outcomes

    def _make(self, copy: Copy, change: Change) -> Outcome:
        file = self._files[change.module]
        places, about = self._places.of(change), files_about(file)
        tests = self._entered.of(places, about) or self._entered.of(self._places.callers(places), about)
        tests = [it for it in tests if it.name not in self.left_out]
        spent = accumulate(test.seconds for test in tests)
        asked = [test for test, so_far in zip(tests, spent, strict=True) if so_far - test.seconds < BUDGET]
        source = (copy.tree / file).read_bytes()
        copy.write(file, change.made_in(source))
        try:
            for some in (asked[:FEW], asked[FEW:]):
                if some and not _pass(copy, some):
                    return Outcome(change, (copy.failed() or ["nothing could run"])[0], len(asked), len(tests))
        finally:
            copy.write(file, source)
        return Outcome(change, "", len(asked), len(tests))


def _pass(copy: Copy, tests: Sequence[Test]) -> bool:
    """Whether the tests pass; a change may let one of them go on for ever."""
    longest, whole = max(it.seconds for it in tests), sum(it.seconds for it in tests)
    return copy.passes([it.name for it in tests], 60 + 5 * whole, "-x", "-o", f"timeout={20 + 5 * longest:.0f}")


def _fail_by_themselves(copy: Copy, outcomes: Sequence[Outcome]) -> set[str]:
    """Of the tests that noticed something, those that fail without any change."""
    tests = sorted({it.noticed_by for it in outcomes if "::" in it.noticed_by})
    return set() if not tests or copy.passes(tests, 1800) else set(copy.failed())


def _text(outcome: Outcome, files: dict[str, str]) -> str:
    change = outcome.change
    _, _, rest = change.name.partition(" | ")
    return f"{files[change.module]}:{change.lines[0]} | {rest} ({outcome.asked} of {outcome.entering} tests)"


def _report(outcomes: Sequence[Outcome], unreliable: set[str], files: dict[str, str], listed: Listed, same: int) -> int:
    noticed = [it for it in outcomes if it.noticed_by and it.noticed_by not in unreliable]
    print()
    for it in sorted(outcomes, key=lambda it: it.change.name):
        if it.noticed_by in unreliable:
            print(f"in doubt, its test fails by itself ({it.noticed_by}): {it.change.name}")
        elif not it.noticed_by:
            known = f": {listed.left[it.change.name]}" if it.change.name in listed.left else ""
            print(f"not noticed{known}: {_text(it, files)}\n    {it.change.name}")
    share = len(noticed) / max(1, len(outcomes))
    print(f"{len(outcomes)} changes made, {same} more listed as without effect, {len(noticed)} noticed: {share:.1%}")
    return int(share < LEAST)
