"""`comity business`."""

from datetime import UTC, datetime

import click

from comity_server.businesses.roles import ROLES, SCOPES
from comity_server.operator.commands import (
    AWAY,
    CREATE,
    CREATE_KEY,
    END_KEY,
    LIST,
    LIST_KEYS,
    Absence,
    ApiKeyLine,
    KeyToPublish,
    Nothing,
    OfBusiness,
    OneKey,
    WantedKey,
)
from comity_tools.cli.groups import Sections
from comity_tools.cli.json_output import json_option, print_json, to_plain
from comity_tools.cli.operator.client import data_option, port_option, send_command
from comity_tools.cli.parameters import Day
from comity_tools.cli.text import say


@click.group(cls=Sections)
def business() -> None:
    """Manage the businesses on this server."""


@business.command()
@click.argument("name")
@click.option("--did-key", help="The business's public key (did:key:z6Mk…), if it keeps its private key.")
@data_option
@port_option
def create(name: str, did_key: str | None, **options: object) -> None:
    """Create the business NAME, or publish another key of an existing one.

    Prints the DID, the name of the key and, for a new business, the owner's API key, which is shown only once. Without
    --did-key the server makes the signing key of a new business and stores it encrypted.
    """
    answer = send_command(options, CREATE, KeyToPublish(name, did_key))
    click.echo(f"{answer.did}\n{answer.kids[0]}")
    if answer.api_key is not None:
        click.echo(answer.api_key)
        click.echo("The last line is the owner's API key. It is not stored and not shown again.", err=True)


@business.command(name="list")
@json_option
@data_option
@port_option
def list_(as_json: bool, **options: object) -> None:
    """List the businesses, their keys, and until when they are away."""
    businesses = send_command(options, LIST, Nothing())
    if as_json:
        print_json([{"name": it.name, "did": it.did, "kids": it.kids, "away": it.away} for it in businesses])
        return
    for answer in businesses:
        click.echo(f"{answer.name}\t{answer.did}")
        for kid in answer.kids:
            click.echo(f"\t{kid}")
        if answer.away is not None:
            starts, until = (
                f"{datetime.fromtimestamp(start, UTC):%Y-%m-%d}" for start in (answer.away.starts, answer.away.until)
            )
            say(f"\taway from {starts} until {until}")
            for language, text in answer.away.texts.items():
                say(f"\t{language}\t{text}")


@business.command()
@click.argument("name")
@click.option("--until", type=Day(), required=True, help="The day on which the business is back.")
@click.option("--from", "starts", type=Day(), help="The first day. Default: now.")
@click.option(
    "--text",
    "texts",
    multiple=True,
    metavar="LANG=TEXT",
    help="A sentence in one language, such as en=At the sea. May be repeated.",
)
@data_option
@port_option
def away(name: str, until: datetime, starts: datetime | None, texts: tuple[str, ...], **options: object) -> None:
    """Announce to all customers of NAME that it is away. Their messages still arrive. `back` ends the absence."""
    texts_by_language = _by_language(texts)
    first = 0 if starts is None else int(starts.replace(tzinfo=UTC).timestamp())
    send_command(options, AWAY, Absence(name, first, int(until.replace(tzinfo=UTC).timestamp()), texts_by_language))
    since = "" if starts is None else f" from {starts:%Y-%m-%d}"
    say(f"All customers of {name} can read that it is away{since} until {until:%Y-%m-%d}.")


def _by_language(texts: tuple[str, ...]) -> dict[str, str]:
    """Language → text. Raises UsageError unless there is one text for each language."""
    found: dict[str, str] = {}
    for text in texts:
        language, _, sentence = text.partition("=")
        if not language or not sentence.strip() or language in found:
            raise click.UsageError(f"--text {text!r}: give one LANG=TEXT for each language, such as en=At the sea")
        found[language] = sentence
    return found


@business.command()
@click.argument("name")
@data_option
@port_option
def back(name: str, **options: object) -> None:
    """Announce to all customers of NAME that it is back."""
    send_command(options, AWAY, Absence(name, 0, 0, {}))
    say(f"{name} is back.")


@business.group(cls=Sections)
def key() -> None:
    """Manage the API keys of a business."""


@key.command(name="create")
@click.argument("name")
@click.option("--role", type=click.Choice(list(ROLES)), default="owner", show_default=True, help="What the key may do.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(sorted(SCOPES)),
    multiple=True,
    help="Limit the key to this scope of its role. May be repeated.",
)
@click.option("--label", default="operator", show_default=True, help="A name for people.")
@click.option("--staff", help="Who uses the key. The server stores a pseudonym of this text (a seat), not the text.")
@data_option
@port_option
def create_key(name: str, role: str, scopes: tuple[str, ...], label: str, staff: str | None, **options: object) -> None:
    """Create an API key, and print its id and the key itself, which is shown only once."""
    new_key = send_command(options, CREATE_KEY, WantedKey(name, role, label, list(scopes) or None, staff))
    click.echo(f"{new_key.id}\n{new_key.key}")


@key.command(name="list")
@click.argument("name")
@json_option
@data_option
@port_option
def list_keys(name: str, as_json: bool, **options: object) -> None:
    """List the API keys of a business, including ended ones. The keys themselves are not stored."""
    keys = send_command(options, LIST_KEYS, OfBusiness(name))
    if as_json:
        rows = [to_plain(line) for line in keys]
        print_json([{name: value for name, value in line.items() if name != "key"} for line in rows])
        return
    for line in keys:
        _print_key(line)


@key.command()
@click.argument("name")
@click.argument("key_id")
@data_option
@port_option
def end(name: str, key_id: str, **options: object) -> None:
    """End an API key at once. This works for the owner's last key too."""
    _print_key(send_command(options, END_KEY, OneKey(name, key_id)))


def _print_key(line: ApiKeyLine) -> None:
    if line.expires_at is None:
        ends = "no end"
    else:
        ends = f"{'until' if line.in_force else 'ended'} {line.expires_at}"
    used = "never used" if line.last_used_at is None else f"used {line.last_used_at}"
    say("\t".join((line.id, line.role, ends, used, line.seat or "no seat", line.label)))
    if frozenset(line.scopes) != next(scopes for role, scopes in ROLES.items() if role == line.role):
        say("\t" + " ".join(line.scopes))
