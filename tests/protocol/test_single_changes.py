"""No wrong implementation survives the vectors: a change to the rules makes some of them come out otherwise."""

import os
from pathlib import Path

import pytest

from single_changes.changes import changes_of
from single_changes.report import LEAST, all_changes, look, read_list

SAMPLE = 48
"""Changes that every run makes, of those that matter; `--long` makes them all."""


@pytest.mark.timeout(600)
def test_a_sample_of_single_changes_is_noticed_by_the_vectors() -> None:
    listed = read_list()
    changes = [it for it in all_changes(listed) if it.name not in listed.same | listed.left]
    sample = changes[:: len(changes) // SAMPLE]
    found = look(sample, listed, whole=False)
    assert len(found.unlisted) <= (1 - LEAST) * len(sample), found.text


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_every_single_change_is_noticed_by_the_vectors_or_listed_with_its_reason() -> None:
    os.nice(10)
    listed = read_list()
    found = look(all_changes(listed), listed, whole=True)
    assert (found.unlisted, found.stale) == ([], []), found.text
    assert found.share >= LEAST, found.text


def test_a_change_is_named_by_its_place_its_line_and_what_becomes_of_it(tmp_path: Path) -> None:
    module = tmp_path / "rule.py"
    module.write_text(
        "MOST = 32\n\n\ndef room(held):\n    if len(held) < MOST and held:\n        return True\n    raise Full\n"
    )
    names = {it.name for it in changes_of("rule", module)}
    line = "if len(held) < MOST and held:"
    assert names == {
        "rule.MOST | MOST = 32 | 32 -> 33",
        "rule.MOST | MOST = 32 | 32 -> 31",
        f"rule.room | {line} | < -> <=",
        f"rule.room | {line} | len(held) < MOST and held -> ((held))",
        f"rule.room | {line} | len(held) < MOST and held -> ((len(held) < MOST))",
        f"rule.room | {line} | len(held) < MOST and held -> ((len(held) < MOST) or (held))",
        f"rule.room | {line} | len(held) < MOST and held -> (False)",
        f"rule.room | {line} | len(held) < MOST and held -> (True)",
        "rule.room | return True | True -> False",
        "rule.room | raise Full | raise Full -> pass",
    }
