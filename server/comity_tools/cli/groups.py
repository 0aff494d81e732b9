"""Groups of commands whose help is in sections."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click


def system_fault(fault: OSError, otherwise: Path | None = None) -> str:
    """The system's reason, with the file or address that the error names, or `otherwise`."""
    named = otherwise if fault.filename is None else fault.filename
    return f"{fault.strerror or fault}" + ("" if named is None else f": {named}")


class Sections(click.Group):
    """A group that lists its commands in sections; commands of no section are listed under "More"."""

    def __init__(self, *args: Any, sections: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = {title: names.split() for title, names in (sections or {}).items()}

    def about(self, ctx: click.Context, name: str) -> str:
        """The help text of a command, in one sentence."""
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str(limit=400)

    def in_sections(self, ctx: click.Context) -> Iterator[tuple[str, list[str]]]:
        """(title, names) of each section that has commands."""
        left = self.list_commands(ctx)
        for title, names in self.sections.items():
            found = [name for name in names if name in left]
            left = [name for name in left if name not in found]
            if found:
                yield title, found
        if left:
            yield "More" if self.sections else "Commands", left

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections."""
        longest = max(map(len, self.list_commands(ctx)))
        for title, names in self.in_sections(ctx):
            with formatter.section(title):
                # One column for all sections: names are padded to the longest.
                formatter.write_dl([(name.ljust(longest), self.about(ctx, name)) for name in names])
