"""What was noticed, held against the list of what need not be: `listed.toml`.

outside   functions that are no rules another implementation must share: nothing in them is changed
same      changes after which everything behaves as before
left      changes that no vector notices though they matter
"""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from single_changes.changes import Change, changes_of
from single_changes.noticing import Vectors, notice_all, path_of, rule_modules

LIST = Path(__file__).parent / "listed.toml"
LEAST = 0.95
"""Of the changes that matter so many must be noticed."""
WORKERS = 2


class Listed(NamedTuple):
    """The list: places outside, and the names of changes, each with its reason."""

    outside: dict[str, str]
    same: dict[str, str]
    left: dict[str, str]


def read_list(path: Path = LIST) -> Listed:
    """The list in a file. Every entry has a reason."""
    content: dict[str, list[dict[str, Any]]] = tomllib.loads(path.read_text(encoding="utf-8"))

    def reasons(table: str, member: str) -> dict[str, str]:
        return {name: entry["reason"] for entry in content.get(table, []) for name in entry[member]}

    return Listed(reasons("outside", "places"), reasons("same", "changes"), reasons("left", "changes"))


def changes_in(modules: Iterable[str], listed: Listed) -> list[Change]:
    """The single changes of some modules, without those in places outside."""
    found = [change for module in modules for change in changes_of(module, path_of(module))]
    return [change for change in found if not is_outside(change, listed)]


def is_outside(change: Change, listed: Listed) -> bool:
    """Whether a change lies in a place that is listed as outside: a whole module, a class, a function or a name."""
    place = change.name.partition(" | ")[0]
    return any(place == it or place.startswith(f"{it}.") for it in listed.outside)


class Report(NamedTuple):
    """What came of it: how many changes there were, those that nothing noticed, and what is wrong with the list."""

    changes: int
    noticed: int
    same: int
    unlisted: list[str]
    stale: list[str]

    @property
    def share(self) -> float:
        """How many of the changes that matter were noticed, from 0 to 1."""
        return self.noticed / max(1, self.changes - self.same)

    @property
    def text(self) -> str:
        """For people."""
        lines = [f"not noticed, and not listed: {name}" for name in self.unlisted]
        lines += [f"listed, and noticed or no longer there: {name}" for name in self.stale]
        counts = f"{self.changes} changes, {self.same} without effect, {self.noticed} noticed: {self.share:.1%}"
        return "\n".join([*lines, counts])


def report(changes: Sequence[Change], noticed: Sequence[bool], listed: Listed, *, whole: bool) -> Report:
    """What came of some changes; `whole`: of all there are, so that a listed change among none of them is gone."""
    found = dict(zip((it.name for it in changes), noticed, strict=True))
    named = {**listed.same, **listed.left}
    unlisted = [name for name, good in found.items() if not good and name not in named]
    stale = [name for name in named if found.get(name, whole)]
    same = sum(1 for name, good in found.items() if name in listed.same and not good)
    return Report(len(found), sum(noticed), same, unlisted, stale)


def look(changes: Sequence[Change], listed: Listed, *, whole: bool) -> Report:
    """Make each of the changes, and report."""
    return report(changes, notice_all(Vectors(), changes, WORKERS), listed, whole=whole)


def all_changes(listed: Listed) -> list[Change]:
    """Every single change of every module of rules."""
    return changes_in(rule_modules(), listed)
