"""Who does not know a command finds it: by `-h`, in sections, by a near name."""

import pytest
from click import Group
from click.testing import CliRunner

from comity_tools.cli import _COMMANDS, _SECTIONS, main
from comity_tools.cli.groups import Sections
from comity_tools.cli.wallet.commands import wallet


@pytest.mark.parametrize("words", [(), ("wallet",), ("wallet", "mute"), ("business", "key"), ("log", "follow")])
def test_a_short_h_helps_everywhere(words: tuple[str, ...]) -> None:
    short, long = (CliRunner().invoke(main, [*words, option]) for option in ("-h", "--help"))
    assert (short.exit_code, short.output) == (0, long.output) and "-h, --help" in short.output


def test_every_command_stands_in_one_section_of_the_help() -> None:
    assert sorted(" ".join(_SECTIONS.values()).split()) == sorted(_COMMANDS)
    assert isinstance(wallet, Sections)
    listed = [name for names in wallet.sections.values() for name in names]
    assert len(set(listed)) == len(listed) and set(wallet.commands) <= set(listed)
    told = CliRunner().invoke(main, ["wallet", "-h"]).output
    assert "More:" not in told
    for title in wallet.sections:
        assert f"\n{title}:\n" in told


def test_a_misspelt_command_or_option_is_answered_with_what_is_near() -> None:
    assert isinstance(main, Group)
    for words, near in (
        (("walet",), "wallet"),
        (("wallet", "revok"), "revoke"),
        (("wallet", "mute", "Shop", "--purpos", "care"), "--purpose"),
        (("keys", "rotate-hom"), "rotate-home"),
    ):
        said = CliRunner().invoke(main, words)
        assert said.exit_code == 2 and "Did you mean" in said.stderr and near in said.stderr, words
