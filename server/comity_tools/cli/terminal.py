"""What commands print, on a terminal that cannot show every sign and on a disk that is full (WHO-9)."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

import click

_ACTING = ("wallet", "business", "keys", "serve", "witness")
LOOKS = frozenset(
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
"""The commands of those that do nothing but print: not to be able to is their failure."""


@contextmanager
def printable() -> Iterator[None]:
    """Lets everything be printed as far as it can be, while inside."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Output(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Output(io.TextIOBase):
    """A text stream that prints `?` for a sign that its encoding lacks. Without `buffer`: click would go round it."""

    def __init__(self, real: TextIO) -> None:
        self._real = real
        self._is_lost = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream below."""
        return self._real.encoding or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """What becomes of other signs."""
        return "replace"

    def write(self, text: str) -> int:
        """Prints a text. Raises as `_lose` does."""
        # click finds out with empty bytes and an empty text what kind of stream this is.
        if not isinstance(text, str):
            raise TypeError("a text stream takes texts")
        if text and not self._is_lost:
            try:
                self._real.write(text.encode(self.encoding, "replace").decode(self.encoding))
            except OSError as fault:
                self._lose(fault)
        return len(text)

    def flush(self) -> None:
        """Prints what waits. Raises as `_lose` does."""
        if not self._is_lost:
            try:
                self._real.flush()
            except OSError as fault:
                self._lose(fault)

    def close(self) -> None:
        """Nothing: the stream below is not this one's to close, and may have ended before this one is collected."""

    def isatty(self) -> bool:
        """Whether a person looks on."""
        return self._real.isatty()

    def fileno(self) -> int:
        """The descriptor below."""
        return self._real.fileno()

    def writable(self) -> bool:
        """Always."""
        return True

    def _lose(self, fault: OSError) -> None:
        """The rest is not printed. For an act that was done this is said, and no failure. Raises ClickException for a
        command that was to print, OSError where its reader has left."""
        self._is_lost = True
        # What is in the buffer still would make the interpreter's end fail.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._real.fileno())
        if not _is_act():
            if fault.errno == errno.EPIPE:
                raise fault
            raise click.ClickException(f"cannot print: {fault.strerror}")
        if sys.stderr is not self:
            click.echo(f"It was done, but this could not be printed: {fault.strerror}", err=True)


def _is_act() -> bool:
    context = click.get_current_context(silent=True)
    if context is None:
        return False
    names = context.command_path.split()
    return any(it in _ACTING for it in names[1:2]) and context.info_name not in LOOKS


def shows_all_signs() -> bool:
    """Whether every sign can be printed as it is."""
    return (sys.stdout.encoding or "").lower().replace("-", "").replace("_", "") == "utf8"
