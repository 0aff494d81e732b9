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

from comity_tools.cli.terminal import shows_all_signs

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


def say_json(value: object) -> None:
    """Prints a value."""
    click.echo(text_of(value))


@contextmanager
def failure_as_json(as_json: bool) -> Iterator[None]:
    """Prints the error that ends a checking command as JSON if `as_json`, and exits with the same code."""
    try:
        yield
    except click.ClickException as fault:
        if not as_json:
            raise
        say_json({"ok": False, "error": fault.message})
        sys.exit(fault.exit_code)


def text_of(value: object) -> str:
    """JSON for people and programs. Characters that the terminal lacks, or that could control it, are escaped."""
    text = json.dumps(plain_value(value), indent=2, ensure_ascii=not shows_all_signs())
    return "".join(it if it.isprintable() or it == "\n" else json.dumps(it)[1:-1] for it in text)


def plain_value(value: object) -> Any:
    """The value as dictionaries and lists; dataclasses, named tuples, structs and models become dictionaries."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {it.name: plain_value(getattr(value, it.name)) for it in dataclasses.fields(value)}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, msgspec.Struct):
        return {name: plain_value(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): plain_value(it) for key, it in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain_value(value._asdict())
    if isinstance(value, tuple | list):
        return [plain_value(it) for it in value]
    return value
