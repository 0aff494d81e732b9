"""Lines for people: printed without control characters, with times in UTC."""

from datetime import UTC, datetime

import click


def say(text: str, *, err: bool = False) -> None:
    """Prints a line, with `err` on standard error."""
    click.echo(plain(text), err=err)


def plain(text: str) -> str:
    """The text without control characters, which could control a terminal: a server or the other side wrote it."""
    return "".join(it if it.isprintable() or it in "\n\t" else "\N{REPLACEMENT CHARACTER}" for it in text)


def utc_time(seconds: int) -> str:
    """A time as people read it; a time outside the calendar as a number."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return f"second {seconds} since 1970, which is outside the calendar"
