"""Parameter types of several commands: finite numbers, dates, and texts in files."""

import codecs
import math
import sys
from pathlib import Path
from typing import Any

import click

from comity.encoding import MAX_BODY

_OTHER_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


class Finite(click.FloatRange):
    """A number within bounds; "nan" and "inf" are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value} is not a number", param, ctx)


class Day(click.DateTime):
    """A date; its help shows YYYY-MM-DD, not the pattern of strptime."""

    def __init__(self) -> None:
        super().__init__(["%Y-%m-%d"])

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The format as people read it."""
        return "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The date. Fails with a sentence for anything else."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a date: write it as 2027-06-14", param, ctx)


class TextFile(click.ParamType[str]):
    """The text in a file (`-` is standard input), which is signed as it is: UTF-8, with LF at the end of each line."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text. Fails with a sentence for bytes that are not UTF-8 text."""
        try:
            data = sys.stdin.buffer.read(MAX_BODY + 1) if value == "-" else _read_start(Path(value))
        except OSError as error:
            self.fail(f"{value}: {error.strerror}", param, ctx)
        if (fault := _text_fault(data)) is not None:
            self.fail(f"{value} {fault}", param, ctx)
        return data.decode("utf-8").replace("\r\n", "\n")


def _read_start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BODY + 1)


def _text_fault(data: bytes) -> str | None:
    """Why the bytes are not a text that can be signed, as a phrase after the file's name; None if they are."""
    if len(data) > MAX_BODY:
        return f"is longer than {MAX_BODY} bytes"
    if data.startswith(codecs.BOM_UTF8):
        return "begins with a byte order mark: save it as UTF-8 without one"
    if data.startswith(_OTHER_BOMS):
        return "is UTF-16 or UTF-32: save it as UTF-8"
    if b"\0" in data:
        return "contains a NUL character: it is not a text, or not in UTF-8; save it as UTF-8"
    try:
        return None if data.decode("utf-8").strip() else "is empty"
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return f"is not UTF-8, in line {line}: save it as UTF-8"
