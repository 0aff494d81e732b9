"""Would the lies be noticed if a wallet did not look? An SDK that skips a check is run against them, and fails."""

from pathlib import Path

import pytest

from support.planted_defects import copy_of_the_protocol, run_tests

STATE = (
    "client/connection/queries.py",
    "    if not any(_matches_answer(connection, state, answer) for state in connection.queue.history.states()):\n",
    "    if False:\n",
    "test_lying_server.py::test_answers_to_a_customer_who_compares",
    "believed|unnoticed",
)
DOOR = (
    "client/connection/history.py",
    '            raise Contradiction("a message was delivered against this side\'s permissions")\n',
    "            pass\n",
    "test_lying_server_that_signs.py::test_lies_to_the_side_that_is_written_to",
    "DID NOT RAISE",
)
HISTORY = (
    "client/log/known_logs.py",
    "            if check_consistency(old.size, old.root, new.size, new.root, proof):\n",
    "            if True:\n",
    "test_lying_server_log.py::test_two_histories_are_a_fork_and_the_file_about_it_is_enough_for_anybody",
    "DID NOT RAISE",
)
PLACE = (
    "client/connection/receipts.py",
    "    if receipt.entry.tag != expected.tag:\n",
    "    if False:\n",
    "test_lying_server_log.py::test_false_statements_of_the_log_itself_are_noticed",
    "DID NOT RAISE",
)


@pytest.mark.parametrize(("module", "check", "instead", "test", "says"), [STATE, DOOR, HISTORY, PLACE])
def test_a_wallet_that_does_not_look_is_caught(
    tmp_path: Path, module: str, check: str, instead: str, test: str, says: str
) -> None:
    copy = copy_of_the_protocol(tmp_path, {module: (check, instead)})
    ran = run_tests(copy, f"tests/faults/{test}")
    assert ran.returncode == 1, ran.stdout
    assert any(word in ran.stdout for word in says.split("|")), ran.stdout
