"""The reference pages that are made from the code: commands, settings, error codes, the SDK."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import click

import comity.client
from comity.errors import CODES
from comity_server.api.business.docs.error_guide import ADVICE
from comity_server.config import PREFIX, Config
from comity_tools.cli import main


def pages() -> dict[str, str]:
    """File name → Markdown of each generated page."""
    return {name: "\n".join(lines()) + "\n" for name, lines in PAGES.items()}


# --- commands


def commands() -> Iterator[str]:
    """Every command with its text, usage and options."""
    yield "# Commands"
    yield "\n`comity -h` shows the same in a terminal. `COMITY_DATA` names the data folder. Commands that list or show"
    yield "something take `--json`."
    yield from _command(main, click.Context(main, info_name="comity"))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    # The whole program is the page; its groups and their commands are headings below it.
    path = context.command_path
    depth = min(path.count(" "), 2)
    if depth:
        yield f"\n{'#' * (depth + 1)} `{path}`"
    yield f"\n{_escaped(inspect.cleandoc(command.help or ''))}"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n```text\n{path} {usage}\n```"
    records = [param.get_help_record(context) for param in command.params if not getattr(param, "hidden", False)]
    options = [record for record in records if record is not None]
    if options:
        yield "\n| option | |\n|---|---|"
        for names, text in options:
            yield f"| `{names.replace('|', chr(92) + '|')}` | {_escaped(text)} |"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            if not child.hidden:
                yield from _command(child, click.Context(child, info_name=name, parent=context))


def _escaped(text: str) -> str:
    """Text for people as Markdown: outside of backticks nothing is markup."""
    parts = re.split(r"(`[^`]*`)", text.replace("\b", ""))
    return "".join(part.replace("|", r"\|") if part.startswith("`") else part.translate(_MARKUP) for part in parts)


_MARKUP = {ord(sign): f"&#{ord(sign)};" for sign in "<>*_|[]"}


# --- settings


def settings() -> Iterator[str]:
    """Every setting with its default and what it means."""
    yield "# Settings"
    yield "\nEnvironment variables of `comity serve`. Any other name that begins with `COMITY_` stops the start."
    documented = {name: text for name, _, text in attributes(Config)}
    yield "\n| setting | default | |\n|---|---|---|"
    for name, field in Config.model_fields.items():
        default = field.default
        shown = "" if default in (None, "") or "Secret" in type(default).__name__ else f"`{default}`"
        yield f"| `{PREFIX}{name.upper()}` | {shown} | {_escaped(' '.join(documented.get(name, '').split()))} |"


def attributes(owner: type) -> Iterator[tuple[str, str, str]]:
    """(name, type, docstring) of each attribute in the definition of a class."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    except (OSError, TypeError):
        return
    statements = getattr(body, "body", [])
    for definition, text in pairwise([*statements, ast.Pass()]):
        if isinstance(definition, ast.AnnAssign) and isinstance(definition.target, ast.Name):
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            yield definition.target.id, ast.unparse(definition.annotation), str(text.value.value) if is_text else ""


# --- error codes


def errors() -> Iterator[str]:
    """Every code of a refusal with its status, meaning and cure."""
    yield "# Error codes"
    yield "\nA refusal is a problem document (RFC 9457). Go by its `code`; the text is for people."
    for section, codes in ADVICE.items():
        yield f"\n## {section}"
        for code, advice in codes.items():
            status, title = CODES[code]
            yield f"\n### `{code}`\n\n{status}: {title}\n\n{advice.means}\n\n*{advice.do}*"


# --- the SDK


def sdk() -> Iterator[str]:
    """Everything that `comity.client` exports, with its docstring."""
    yield "# The SDK"
    yield f"\n{_docstring(comity.client)}"
    for name in sorted(comity.client.__all__):
        thing = getattr(comity.client, name)
        if inspect.isclass(thing):
            yield from _class(name, thing)
        elif inspect.isfunction(thing):
            yield f"\n## {name}"
            yield from _function(name, thing)
        else:
            yield f"\n## {name}\n\n```python\n{name} = {_format_default(thing)}\n```"


def _class(name: str, thing: type) -> Iterator[str]:
    yield f"\n## {name}"
    text = _docstring(thing)
    # A dataclass without a docstring has its signature there.
    yield "" if text.startswith(f"{name}(") else f"\n{text}"
    fields = [field for field in attributes(thing) if not field[0].startswith("_")]
    if fields:
        has_texts = any(text for _, _, text in fields)
        yield "\n| attribute | type |" + " |\n|---|---|---|" * has_texts + "\n|---|---|" * (not has_texts)
        for field, kind, text in fields:
            cells = [f"`{field}`", f"`{kind}`".replace("|", r"\|"), _escaped(" ".join(text.split()))][: 2 + has_texts]
            yield f"| {' | '.join(cells)} |"
    for member, value in vars(thing).items():
        if member.startswith("_"):
            continue
        if isinstance(value, property):
            yield f"\n### {name}.{member}\n\n{_docstring(value)}"
        elif callable(getattr(value, "__func__", value)) and _docstring(value):
            yield f"\n### {name}.{member}"
            yield from _function(member, getattr(value, "__func__", value))


def _function(name: str, function: Callable[..., Any]) -> Iterator[str]:
    prefix = "async def" if inspect.iscoroutinefunction(function) else "def"
    yield f"\n```python\n{prefix} {name}{_format_default(inspect.signature(function))}\n```\n\n{_docstring(function)}"


def _docstring(thing: object) -> str:
    return inspect.getdoc(thing) or ""


def _format_default(value: object) -> str:
    """A signature or alias without the names of modules, and without quotes around its types."""
    text = re.sub(r"(: |-> )(['\"])(.*?)\2", r"\1\3", str(value))
    return re.sub(r"\b(?:[a-z_]+\.)+([A-Za-z_]\w*)", r"\1", text)


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "cli.md": commands,
    "settings.md": settings,
    "errors.md": errors,
    "sdk.md": sdk,
}
