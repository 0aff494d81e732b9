"""The command `comity`. Subcommands live in modules of their own and are imported when they are used."""

import errno
import gc
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from comity_tools.cli.groups import Sections, system_fault
from comity_tools.cli.terminal import printable

_COMMANDS = {
    "serve": ("comity_tools.cli.serve", "Serve connections."),
    "status": ("comity_tools.cli.operator.status", "Tell how the running server is."),
    "clock": ("comity_tools.cli.operator.clock", "The clock of the server, when it is in doubt."),
    "business": ("comity_tools.cli.operator.business", "The businesses whose did:web this host serves."),
    "keys": ("comity_tools.cli.operator.keys", "The keys that the server keeps, and the master key."),
    "openapi": ("comity_tools.cli.openapi", "Print the OpenAPI document of the business side."),
    "demo": ("comity_tools.cli.demo", "Live through a story with a real server."),
    "wallet": ("comity_tools.cli.wallet.commands", "A wallet of your own."),
    "log": ("comity_tools.cli.audit.log", "A consent log, looked at from outside."),
    "witness": ("comity_tools.cli.witness", "Cosign the checkpoints of logs."),
    "receipt": ("comity_tools.cli.audit.receipt", "What a receipt proves, offline."),
    "token": ("comity_tools.cli.audit.token", "Whether a consent token counts, offline."),
    "fsck": ("comity_tools.cli.operator.fsck", "Derive a data folder once more, and tell what does not fit."),
    "backup": ("comity_tools.cli.operator.backup", "Copy a data folder, while the server runs."),
    "restore": ("comity_tools.cli.operator.restore", "Look through a backup, and put it into a data folder."),
    "soak": ("comity_tools.cli.soak", "Let a server live under load and faults."),
    "bench": ("comity_tools.cli.bench", "Measure, each figure beside its baseline."),
}
"""Name → (module, what it does). The module has a click command of the same name, with _ for -."""


_SECTIONS = {
    "For everybody": "wallet demo",
    "Proofs": "log receipt token witness",
    "Running a server": "serve status clock business keys backup restore fsck openapi soak bench",
}


class _Lazy(Sections):
    def main(self, *args: Any, **kwargs: Any) -> Any:
        with printable():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as fault:
            if fault.option_name.startswith("--"):
                raise
            # One id in 64 begins so, and a name or a text may.
            hint = "An id, a name or a text that begins with a hyphen comes after `--`."
            raise click.UsageError(f"{fault.format_message()} {hint}", fault.ctx) from None
        except OSError as fault:
            # Of a reader that has left, click knows what to do.
            if fault.errno == errno.EPIPE:
                raise
            raise click.ClickException(system_fault(fault)) from fault

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        # What is imported stays: looking for garbage in it meanwhile, and ever after, costs a sixth of a start.
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
        # click suggests from the commands that it holds, and here it holds none.
        if args and args[0] not in _COMMANDS and (near := get_close_matches(args[0], _COMMANDS)):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {' or '.join(near)}?")
        return super().resolve_command(ctx, args)

    def about(self, ctx: click.Context, name: str) -> str:
        # From the table: help must not import everything that it lists.
        return _COMMANDS[name][1]


@click.group(cls=_Lazy, name="comity", sections=_SECTIONS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="comity")
def main() -> None:
    """Mutual connections between people and businesses."""
