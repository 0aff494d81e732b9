"""Output of commands to a terminal that cannot show every character, or to a full disk (WHO-9)."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

import click

_ACTING_GROUPS = ("wallet", "business", "keys", "serve", "witness")
PRINTING_COMMANDS = frozenset(
    {
        "blocks",
        "contests",
        "export",
        "list",
        "look",
        "messages",
        "notes",
        "proposals",
        "receipt",
        "show",
        "snoozes",
        "statement",
        "status",
        "timeline",
        "tokens",
    }
)
"""The commands of these groups that only print: if they cannot print, they have failed."""


@contextmanager
def printable_output() -> Iterator[None]:
    """Inside the context, characters that the terminal lacks are printed as `?`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Output(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Output(io.TextIOBase):
    """A text stream that prints `?` for a character that its encoding lacks. It has no `buffer`, which click would use
    instead."""

    def __init__(self, real: TextIO) -> None:
        self._real = real
        self._is_lost = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream below."""
        return self._real.encoding or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """How characters that cannot be encoded are handled."""
        return "replace"

    def write(self, text: str) -> int:
        """Prints a text. Raises as `_lose` does."""
        # click writes empty bytes and an empty text to find out what kind of stream this is.
        if not isinstance(text, str):
            raise TypeError("a text stream takes texts")
        if text and not self._is_lost:
            try:
                self._real.write(text.encode(self.encoding, "replace").decode(self.encoding))
            except OSError as fault:
                self._lose(fault)
        return len(text)

    def flush(self) -> None:
        """Prints buffered text. Raises as `_lose` does."""
        if not self._is_lost:
            try:
                self._real.flush()
            except OSError as fault:
                self._lose(fault)

    def close(self) -> None:
        """Does nothing: the stream below belongs to the caller, and may be closed before this one is collected."""

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._real.isatty()

    def fileno(self) -> int:
        """The descriptor below."""
        return self._real.fileno()

    def writable(self) -> bool:
        """True."""
        return True

    def _lose(self, fault: OSError) -> None:
        """Stops printing. After an act that succeeded, this is a warning. Raises ClickException in a command that only
        prints, OSError if the reader has closed the pipe."""
        self._is_lost = True
        # Text that is still in the buffer would make the interpreter's exit fail.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._real.fileno())
        if not _is_act():
            if fault.errno == errno.EPIPE:
                raise fault
            raise click.ClickException(f"cannot print: {fault.strerror}")
        if sys.stderr is not self:
            click.echo(f"The command succeeded, but its output could not be printed: {fault.strerror}", err=True)


def _is_act() -> bool:
    context = click.get_current_context(silent=True)
    if context is None:
        return False
    names = context.command_path.split()
    return any(name in _ACTING_GROUPS for name in names[1:2]) and context.info_name not in PRINTING_COMMANDS


def prints_every_character() -> bool:
    """Whether the terminal can print every character."""
    return (sys.stdout.encoding or "").lower().replace("-", "").replace("_", "") == "utf8"
