"""The command `comity`. Subcommands live in modules of their own and are imported when they are used."""

import errno
import gc
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from comity_tools.cli.groups import Sections, system_fault
from comity_tools.cli.terminal import printable_output

_COMMANDS = {
    "serve": ("comity_tools.cli.serve", "Run the server."),
    "status": ("comity_tools.cli.operator.status", "Show the state of the running server."),
    "clock": ("comity_tools.cli.operator.clock", "Confirm that the server's clock is right."),
    "business": ("comity_tools.cli.operator.business", "Manage the businesses on this server."),
    "keys": ("comity_tools.cli.operator.keys", "Show and rotate keys: of businesses, the master key, the server's."),
    "openapi": ("comity_tools.cli.openapi", "Print the OpenAPI document of the business API."),
    "demo": ("comity_tools.cli.demo", "Play a story with a real server; every step is checked."),
    "wallet": ("comity_tools.cli.wallet.commands", "Your wallet: connect, write, allow, say no."),
    "log": ("comity_tools.cli.audit.log", "Check a public consent log."),
    "witness": ("comity_tools.cli.witness", "Run a witness, which cosigns the checkpoints of logs."),
    "receipt": ("comity_tools.cli.audit.receipt", "Check a receipt offline."),
    "token": ("comity_tools.cli.audit.token", "Check a consent token offline."),
    "fsck": ("comity_tools.cli.operator.fsck", "Check a data folder for damage."),
    "backup": ("comity_tools.cli.operator.backup", "Back up a data folder, also while the server runs."),
    "restore": ("comity_tools.cli.operator.restore", "Check a backup, or restore it into a data folder."),
    "soak": ("comity_tools.cli.soak", "Test a server under load and random faults."),
    "bench": ("comity_tools.cli.bench", "Measure speed, each figure beside a baseline."),
}
"""Name → (module, its help text). The module has a click command of the same name, with _ for -."""


_SECTIONS = {
    "For everybody": "wallet demo",
    "Proofs": "log receipt token witness",
    "Running a server": "serve status clock business keys backup restore fsck openapi soak bench",
}


class _Lazy(Sections):
    def main(self, *args: Any, **kwargs: Any) -> Any:
        with printable_output():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as fault:
            if fault.option_name.startswith("--"):
                raise
            # One id in 64 begins with a hyphen, and so may a name or a text.
            hint = "If an id, a name or a text begins with a hyphen, put `--` before it."
            raise click.UsageError(f"{fault.format_message()} {hint}", fault.ctx) from None
        except OSError as fault:
            # click handles a reader that has closed the pipe.
            if fault.errno == errno.EPIPE:
                raise
            raise click.ClickException(system_fault(fault)) from fault

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        # Imported modules stay in memory: collecting garbage among them, now and later, costs a sixth of a start.
        gc.disable()
        try:
            command: click.Command = getattr(import_module(_COMMANDS[cmd_name][0]), cmd_name.replace("-", "_"))
        finally:
            gc.freeze()
            gc.enable()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # click suggests only from commands that are loaded, and here none is.
        if args and args[0] not in _COMMANDS and (near := get_close_matches(args[0], _COMMANDS)):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {' or '.join(near)}?")
        return super().resolve_command(ctx, args)

    def about(self, ctx: click.Context, name: str) -> str:
        # From the table: help must not import every command that it lists.
        return _COMMANDS[name][1]


@click.group(cls=_Lazy, name="comity", sections=_SECTIONS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="comity")
def main() -> None:
    """Mutual connections between people and businesses."""
