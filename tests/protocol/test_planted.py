"""The harnesses that all else leans on: a defect planted in a copy of the protocol must not get past them."""

from pathlib import Path

import pytest

from support.planted_defects import copy_of_the_protocol, plant, run_tests

GATE = "tests/protocol/test_gate.py"
INVARIANTS = "tests/protocol/test_invariants.py"
RECOVERY = "tests/protocol/test_recovery.py"
STATES = "tests/protocol/test_random_states.py"
AGAIN = "tests/protocol/test_decided_again.py"
ALIKE = "test_not_now_looks_alike_whether_she_muted_sleeps_or_has_had_enough"
CONTESTS = "tests/protocol/test_contests.py"
HOLES = "tests/protocol/test_holes.py"
REVOKE = f"{INVARIANTS}::test_after_a_revoke_nothing_is_accepted_said_or_delivered_ever_again"

# What the defect is: the test that must notice it, the module, and the text that is put otherwise.
DEFECTS = {
    "the gate forgets mutes": (
        f"{GATE}::test_a_muted_shop_may_not_write", "rules/gate.py",
        "_mute_block(door, purpose, channel, now)\n        or ", "",
    ),
    "the sender is told a hidden end": (
        f"{GATE}::{ALIKE}", "rules/gate.py",
        "ends_at=self.ends_at if self.end_shown else None", "ends_at=self.ends_at",
    ),
    "a hidden end shortens a verdict": (
        f"{GATE}::{ALIKE}", "rules/gate.py",
        "block.ends_at if block.end_shown else None)", "block.ends_at)",
    ),
    "an unmute takes the other side's mutes back": (
        f"{INVARIANTS}::test_nobody_widens_what_the_other_let_in", "rules/fold.py",
        "door = connection.door(side)\n    remaining = tuple(",
        "side = other(side)\n    door = connection.door(side)\n    remaining = tuple(",
    ),
    "a revoke is recorded and ends nothing": (
        REVOKE, "rules/fold.py",
        'return replace(connection, phase="ended",', 'return replace(connection, phase="open",',
    ),
    "a safety notice passes while a door recovers": (
        f"{RECOVERY}::test_nobody_is_reached_for_anything_until_both_have_confirmed", "rules/gate.py",
        "if connection.recovering:", 'if connection.recovering and purpose != "safety":',
    ),
    "one side confirms for both": (
        f"{RECOVERY}::test_nobody_is_told_offline_what_the_gate_does_not_say", "rules/fold.py",
        "recovering=tuple(name for name in connection.recovering if name != side)", "recovering=()",
    ),
    "what comes back is put behind what is there": (
        f"{RECOVERY}::test_a_revoke_comes_back_before_everything_that_led_to_it", "rules/recovery.py",
        "sorted((*kept, *candidates), key=lambda record: record.event.at)", "(*kept, *candidates)",
    ),
    "a setting shows that a chain of acts was kept": (
        f"{RECOVERY}::test_a_sides_next_act_shows_that_its_chain_was_kept_whole_and_a_setting_does_not",
        "rules/fold.py",
        "settings = replace(door.settings, seq=event.seq + 1, head=event.act)",
        "settings = replace(door.settings, seq=event.seq + 1, head=event.act)"
        "\n        connection = _confirm_side(connection, event.side)",
    ),
    "a withdrawal is refused over its clock": (
        f"{INVARIANTS}::test_either_side_can_always_say_no_whatever_its_clock_says", "documents/acts.py",
        'NARROWING = frozenset({"withdraw", ', "NARROWING = frozenset({",
    ),
    "what waits is not looked at when its grant ends": (
        f"{INVARIANTS}::test_nothing_is_let_go_before_it_is_due_and_something_is_when_it_is", "rules/decide.py",
        'ends = [verdict.ends_at, gate.granted_until(connection, side, message.purpose, "app", now)]',
        "ends = [verdict.ends_at]",
    ),
    "a contest is not looked at by the gate": (
        f"{STATES}::test_a_gate_written_from_the_rules_words_says_the_same[short]", "rules/gate.py",
        "if active and (covering := ", "if not active and (covering := ",
    ),
    "what waits does not wake up when a contest ends": (
        f"{CONTESTS}::test_held_messages_are_decided_again_when_the_contest_ends", "rules/decide.py",
        "            ends += [contest.until * 1000 for contest in contests if contest.until * 1000 > now]\n", "",
    ),
    "a contest is not in the status list": (
        f"{HOLES}::test_a_mail_house_is_told_to_ask_about_what_was_contested_and_all_above_it", "rules/gate.py",
        "        ends.append(contests.narrowed_until(door, grant.purposes) * 1000)\n", "        pass\n",
    ),
    "a contest does not count under the word that it names": (
        f"{CONTESTS}::test_the_contested_message_was_her_sales_message_of_this_month", "rules/budgets.py",
        "    return bool(active) and any(", "    return not active and any(",
    ),
    "a public side silences complaints by contests": (
        f"{CONTESTS}::test_a_business_cannot_contest_its_customers_complaints_into_silence", "rules/contests.py",
        "return is_pairwise(receiver.did) and not is_pairwise(sender.did)", "return True",
    ),
    "a hidden end is told in place of a budget's": (
        f"{CONTESTS}::test_a_hidden_end_is_not_read_out_of_the_shown_end_of_a_budget", "rules/gate.py",
        "for hold in holds)\n", "for hold in holds if hold.end_shown)\n",
    ),
    "one contest covers a whole root": (
        f"{STATES}::test_a_gate_written_from_the_rules_words_says_the_same[short]", "rules/contests.py",
        "if len(families[_family(contest)]) > 1 else", "if families[_family(contest)] else",
    ),
    "a contest holds a safety notice": (
        f"{STATES}::test_a_contest_never_widens_a_verdict_and_never_touches_an_exempt_purpose[short]",
        "rules/contests.py",
        "return purpose not in EXEMPT_PURPOSES and (", "return (purpose in EXEMPT_PURPOSES) or (",
    ),
    "what was asked is forgotten over the contests": (
        f"{STATES}::test_a_contest_never_widens_a_verdict_and_never_touches_an_exempt_purpose[short]", "rules/gate.py",
        "_strictest(verdicts, context.now)", "_strictest(verdicts[1:] or verdicts, context.now)",
    ),
    "a purchase is of its very word alone": (
        f"{STATES}::test_the_topic_rule_refuses_all_that_it_refused_before_unless_she_asked_for_it[short]",
        "rules/topics.py",
        "covers(milestone.topic, topic)", "milestone.topic == topic",
    ),
    "a contested message is told a budget where another waits at a mute": (
        f"{STATES}::test_a_gate_written_from_the_rules_words_says_the_same[short]", "rules/gate.py",
        "[hold for hold in holds if hold.reason in PRIVATE_REASONS]",
        '[it for it in holds if it.reason == "over_budget"]',
    ),
    "a shown end tells whether a hidden one comes before it": (
        f"{STATES}::test_no_question_tells_a_hidden_end_a_limit_or_hours[short]", "rules/gate.py",
        "is_shown = is_shown and mute.until is not None", "shown = mute.until is not None",
    ),
    "words that wait tell a limit of hers": (
        f"{STATES}::test_no_refusal_of_an_act_tells_a_hidden_end_a_limit_or_hours[short]", "rules/guards.py",
        'if verdict.reason == "over_budget" else "words_wait"', 'if verdict.reason != "muted" else "words_wait"',
    ),
    "the server judges a message without its topic": (
        f"{AGAIN}::test_an_auditor_with_all_records_decides_every_message_as_the_server_did[short]", "rules/guards.py",
        'verdict_on(case, payload.purpose, "app", payload.topic)',
        'verdict_on(case, payload.purpose, "app", "unheard_of")',
    ),
    "what waits is let go as if it were a complaint": (
        f"{AGAIN}::test_the_side_that_is_written_to_decides_so_from_what_it_has_itself[short]", "rules/decide.py",
        'gate.may(state, side, message.purpose, "app", message.topic, at, zones)\n    # A message',
        'gate.may(state, side, "complaint", "app", None, at, zones)\n    # A message',
    ),
    "a verdict is kept beyond the end of a contest": (
        f"{STATES}::test_until_a_verdict_is_said_to_be_settled_nothing_of_it_changes[short]", "rules/gate.py",
        "yield active_contest.contest.until * 1000", "yield None",
    ),
    "a verdict is kept when there is room again": (
        f"{STATES}::test_until_a_verdict_is_said_to_be_settled_nothing_of_it_changes[short]", "rules/gate.py",
        "yield room_frees_at(door, across, now)", "yield None",
    ),
    "a verdict is kept when an exempt notice has room again": (
        f"{STATES}::test_until_a_verdict_is_said_to_be_settled_nothing_of_it_changes[short]", "rules/gate.py",
        "yield exempt_frees_at(deliveries, purpose, now)", "yield None",
    ),
}  # fmt: skip


MERKLE = "tests/protocol/test_merkle.py"
NOTES = "tests/protocol/test_notes.py"
ENTRIES = "tests/protocol/test_log_entries.py"
RECEIPTS = "tests/protocol/test_receipts.py"

# Of the log, all planted at once for the sake of speed: each test leans on one of these places alone, so that each
# defect by itself fails its own test and no other of them.
LOG_DEFECTS = {
    "an entry could pass for two hashes": (
        f"{MERKLE}::test_a_leaf_is_never_a_node", "transparency/merkle.py",
        'sha256(b"\\x00" + entry)', "sha256(entry)",
    ),
    "any number will do for an entry": (
        f"{MERKLE}::test_a_proof_is_of_no_other_number", "transparency/merkle.py",
        "    if not 0 <= index < size or len(proof) > LONGEST_PROOF:\n        return False\n    at,",
        "    return any(_holds(leaf, it, size, proof, root) for it in range(size))\n\n\n"
        "def _holds(leaf, index, size, proof, root):\n    at,",
    ),
    "two trees of one size are the same": (
        f"{MERKLE}::test_trees_of_one_size_are_the_same_or_they_are_two", "transparency/merkle.py",
        "return not proof and old_root == new_root", "return not proof",
    ),
    "a tile has paths that it should not have": (
        "tests/protocol/test_tiles.py::test_every_path_that_is_read_is_the_one_path_of_its_tile",
        "transparency/tiles.py",
        "or tile.width > WIDTH ", "",
    ),
    "a witness's time is anybody's": (
        f"{NOTES}::test_a_cosignature_is_of_its_time_too", "transparency/notes.py",
        'f"cosignature/v1\\ntime {time}\\n{text}"', 'f"cosignature/v1\\ntime 0\\n{text}"',
    ),
    "a bad line is passed over after a good one": (
        f"{NOTES}::test_a_bad_line_of_a_known_key_spoils_the_whole_note", "transparency/notes.py",
        "if key is not None:\n            valid", "if key is not None and key not in valid:\n            valid",
    ),
    "one witness counts twice": (
        f"{NOTES}::test_a_witness_with_two_keys_or_two_names_is_one_witness", "transparency/checkpoints.py",
        "    return len(groups)", "    return len(tuple(keys))",
    ),
    "nobody counts the witnesses": (
        f"{RECEIPTS}::test_a_policy_that_asks_for_witnesses_takes_no_receipt_without_them", "transparency/receipts.py",
        "if not is_witnessed(signed, policy):", "if False:",
    ),
    "a tag stays for ever": (
        f"{ENTRIES}::test_a_connection_keeps_its_tag_for_a_week_and_no_longer", "transparency/entries.py",
        "epoch.to_bytes(4,", "(0).to_bytes(4,",
    ),
    "the log tells a setting from an act": (
        f"{ENTRIES}::test_settings_all_look_alike[hours]", "transparency/entries.py",
        "return Kind.PRIVATE\n", "return Kind.ACT\n",
    ),
    "an act leads to its entry without a salt": (
        f"{ENTRIES}::test_a_reader_who_tries_every_word_finds_nothing_in_the_log", "transparency/entries.py",
        "sha256(salt + at.to_bytes(", "sha256(at.to_bytes(",
    ),
}  # fmt: skip


def test_the_defects_planted_in_the_log_are_all_caught(tmp_path: Path) -> None:
    copy = copy_of_the_protocol(tmp_path)
    for _, module, old, new in LOG_DEFECTS.values():
        plant(copy, module, old, new)
    tests = [test for test, *_ in LOG_DEFECTS.values()]
    run = run_tests(copy, *tests, f"--maxfail={len(tests)}")
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout
    failed = {line.split(" ")[1] for line in run.stdout.splitlines() if line.startswith("FAILED ")}
    assert failed == set(tests), run.stdout


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_caught(tmp_path: Path, defect: str) -> None:
    file, module, old, new = DEFECTS[defect]
    run = run_tests(copy_of_the_protocol(tmp_path, {module: (old, new)}), file)
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout


def test_the_copy_without_a_defect_passes(tmp_path: Path) -> None:
    """Else what is caught above might be the copying. All of them pass by themselves in this very run."""
    run = run_tests(copy_of_the_protocol(tmp_path), *(DEFECTS[name][0] for name in list(DEFECTS)[:2]), REVOKE)
    assert run.returncode == pytest.ExitCode.OK, run.stdout
