"""Output as JSON: one value, with the names of the SDK, and nothing else."""

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
import msgspec
from pydantic import BaseModel

from comity_tools.cli.terminal import prints_every_character

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


def print_json(value: object) -> None:
    """Prints a value."""
    click.echo(format_json(value))


@contextmanager
def failure_as_json(as_json: bool) -> Iterator[None]:
    """Prints the error that ends a checking command as JSON if `as_json`, and exits with the same code."""
    try:
        yield
    except click.ClickException as fault:
        if not as_json:
            raise
        print_json({"ok": False, "error": fault.message})
        sys.exit(fault.exit_code)


def format_json(value: object) -> str:
    """JSON for people and programs. Characters that the terminal lacks, or that could control it, are escaped."""
    text = json.dumps(to_plain(value), indent=2, ensure_ascii=not prints_every_character())
    return "".join(it if it.isprintable() or it == "\n" else json.dumps(it)[1:-1] for it in text)


def to_plain(value: object) -> Any:
    """The value as dictionaries and lists; dataclasses, named tuples, structs and models become dictionaries."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, msgspec.Struct):
        return {name: to_plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): to_plain(it) for key, it in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return to_plain(value._asdict())
    if isinstance(value, tuple | list):
        return [to_plain(it) for it in value]
    return value
