"""No wrong implementation survives the vectors: a change to the rules makes some of them come out otherwise; and what
changes the server and the client, to see whether the tests notice."""

import os
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import aiosql
import pytest

from comity_server.store import migrations
from single_changes import entered
from single_changes.changes import changes_of
from single_changes.copies import ROOT, Copy
from single_changes.entered import read_entered
from single_changes.mutants import Trial
from single_changes.report import LEAST, all_changes, look, read_list
from single_changes.shells import ShellFinder, changes_in_file, modules
from single_changes.sql import changes_of_sql

SAMPLE = 48
"""Changes that every run makes, of those that matter; `--long` makes them all."""


@pytest.mark.timeout(600)
def test_a_sample_of_single_changes_is_noticed_by_the_vectors() -> None:
    listed = read_list()
    changes = [it for it in all_changes(listed) if it.name not in listed.same | listed.left]
    sample = changes[:: len(changes) // SAMPLE]
    found = look(sample, listed, whole=False)
    assert len(found.unlisted) <= (1 - LEAST) * len(sample), found.text


@pytest.mark.long(short="test_a_sample_of_single_changes_is_noticed_by_the_vectors")
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


# --- of the server, its SQL and the client


def test_a_shell_s_loops_and_caught_faults_are_changed_and_its_words_for_people_are_not(tmp_path: Path) -> None:
    module = tmp_path / "timer.py"
    module.write_text(
        "async def run():\n"
        "    while True:\n"
        "        try:\n"
        "            await step()\n"
        "        except Full as error:\n"
        '            logger().warning("full", exc_info=error)\n'
        '            raise WalletFileError("there is no room in it")\n'
    )
    names = {it.name for it in changes_of("timer", module, ShellFinder)}
    assert names == {
        "timer.run | while True: | True -> (False)",
        "timer.run | while True: | True -> False",
        "timer.run | await step() | await step() -> pass",
        'timer.run | logger().warning("full", exc_info=error) | logger().warning("full", exc_info=error) -> raise',
        'timer.run | raise WalletFileError("there is no room in it") '
        '| raise WalletFileError("there is no room in it") -> pass',
    }


def test_of_a_statement_each_condition_assignment_and_comparison_is_changed(tmp_path: Path) -> None:
    module = tmp_path / "some.sql"
    module.write_text(
        "-- name: end_offer(at, short)*!\nUPDATE offers SET ended_at = :at WHERE short = :short AND uses > 1;\n"
    )
    line = "some.end_offer | UPDATE offers SET ended_at = :at WHERE short = :short AND uses > 1;"
    assert {it.name for it in changes_of_sql("some", module)} == {
        f"{line} |  -> 0 = 1 AND",
        f"{line} | :at -> CASE WHEN 0 = 1 THEN :at ELSE ended_at END",
        f"{line} | short = :short -> (1 = 1 OR (short = :short))",
        f"{line} | uses > 1 -> (1 = 1 OR (uses > 1))",
        f"{line} | = -> <>",
        f"{line} | AND -> OR",
        f"{line} | > -> >=",
        f"{line} | 1 -> 2",
    }


def test_every_statement_can_still_be_read_with_a_change_in_it(tmp_path: Path) -> None:
    path = tmp_path / "comity.db"
    path.touch()
    migrations.bring_up_to_date(path)
    with closing(sqlite3.connect(path)) as store:
        for module, file in modules().items():
            for change in changes_in_file(module, file)[::40] if file.endswith(".sql") else ():
                loaded = aiosql.from_str(change.made_in((ROOT / file).read_bytes()).decode(), "sqlite3")
                sql = getattr(loaded, change.name.partition(" | ")[0].rpartition(".")[2]).sql
                store.execute(f"EXPLAIN {sql}", dict.fromkeys(re.findall(r":(\w+)", sql), 1)).fetchall()


@pytest.mark.timeout(300)
def test_a_change_is_made_in_a_copy_and_noticed_by_a_test_that_enters_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test, file = "tests/server/test_server_shares.py", "server/comity_server/limits/shares.py"
    monkeypatch.setattr(entered, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(entered, "files_of_tests", lambda: [test])
    copy, files = Copy(tmp_path / "copy"), {"comity_server.limits.shares": file}
    known = read_entered([copy], lambda _: None)
    before = (ROOT / file).read_bytes()
    changes = changes_in_file("comity_server.limits.shares", file)
    (refuses,) = (it for it in changes if it.name.endswith("Pool.take | return True | True -> False"))
    nothing = replace(refuses, text=before[refuses.start : refuses.end])
    found = Trial([copy], files, known).make_all([refuses, nothing], 120)
    assert found[0].noticed_by.startswith(f"{test}::") and 0 < found[0].asked == found[0].entering
    assert found[1].noticed_by == ""
    assert (ROOT / file).read_bytes() == before == (copy.tree / file).read_bytes()
