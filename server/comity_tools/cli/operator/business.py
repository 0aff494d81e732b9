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
from comity_tools.cli.json_output import json_option, plain_value, say_json
from comity_tools.cli.operator.client import asked, data_option, port_option
from comity_tools.cli.parameters import Day
from comity_tools.cli.wallet.session import say


@click.group()
def business() -> None:
    """The businesses whose did:web this host serves."""


@business.command()
@click.argument("name")
@click.option("--did-key", help="Its public key as did:key:z6Mk…, where the private one stays with the business.")
@data_option
@port_option
def create(name: str, did_key: str | None, **given: object) -> None:
    """Publish the key of a business, its first or a further one.

    Prints its DID, the name of its key, and for a new business an API key of its owner: that is shown this once.
    Without --did-key, the server makes a signing key for a new business and keeps it, sealed.
    """
    told = asked(given, CREATE, KeyToPublish(name, did_key))
    click.echo(f"{told.did}\n{told.kids[0]}")
    if told.api_key is not None:
        click.echo(told.api_key)
        click.echo("The last line is the owner's API key, shown this once: it is not kept.", err=True)


@business.command(name="list")
@json_option
@data_option
@port_option
def list_(as_json: bool, **given: object) -> None:
    """List the businesses, their keys, and what they say of being away."""
    found = asked(given, LIST, Nothing())
    if as_json:
        say_json([{"name": it.name, "did": it.did, "kids": it.kids, "away": it.away} for it in found])
        return
    for told in found:
        click.echo(f"{told.name}\t{told.did}")
        for kid in told.kids:
            click.echo(f"\t{kid}")
        if told.away is not None:
            starts, until = (
                f"{datetime.fromtimestamp(it, UTC):%Y-%m-%d}" for it in (told.away.starts, told.away.until)
            )
            say(f"\taway from {starts} until {until}")
            for language, text in told.away.texts.items():
                say(f"\t{language}\t{text}")


@business.command()
@click.argument("name")
@click.option("--until", type=Day(), required=True, help="The day on which you are back.")
@click.option("--from", "starts", type=Day(), help="The first day; now where none is given.")
@click.option("--text", "texts", multiple=True, metavar="LANG=TEXT", help="A sentence in a language, as en=At the sea.")
@data_option
@port_option
def away(name: str, until: datetime, starts: datetime | None, texts: tuple[str, ...], **given: object) -> None:
    """Tell all customers of NAME that it is away; their messages arrive all the same. `back` ends it."""
    said = _by_language(texts)
    first = 0 if starts is None else int(starts.replace(tzinfo=UTC).timestamp())
    asked(given, AWAY, Absence(name, first, int(until.replace(tzinfo=UTC).timestamp()), said))
    since = "" if starts is None else f" from {starts:%Y-%m-%d}"
    say(f"Every customer of {name} reads that it is away{since} until {until:%Y-%m-%d}.")


def _by_language(texts: tuple[str, ...]) -> dict[str, str]:
    """Language → text. Raises UsageError for what is not one text for each language."""
    found: dict[str, str] = {}
    for text in texts:
        language, _, said = text.partition("=")
        if not language or not said.strip() or language in found:
            raise click.UsageError(f"--text {text!r}: one LANG=TEXT for each language is wanted, as en=At the sea")
        found[language] = said
    return found


@business.command()
@click.argument("name")
@data_option
@port_option
def back(name: str, **given: object) -> None:
    """Tell all customers of NAME that it is back."""
    asked(given, AWAY, Absence(name, 0, 0, {}))
    say(f"{name} is back.")


@business.group()
def key() -> None:
    """The API keys of a business."""


@key.command(name="create")
@click.argument("name")
@click.option("--role", type=click.Choice(list(ROLES)), default="owner", show_default=True, help="What it may do.")
@click.option("--scope", "scopes", type=click.Choice(sorted(SCOPES)), multiple=True, help="To narrow the role.")
@click.option("--label", default="operator", show_default=True, help="What people call it.")
@click.option("--staff", help="Whose it is, in the business's own words; only a seat is kept of them.")
@data_option
@port_option
def create_key(name: str, role: str, scopes: tuple[str, ...], label: str, staff: str | None, **given: object) -> None:
    """Make an API key, and print its id and the key itself: that is shown this once."""
    made = asked(given, CREATE_KEY, WantedKey(name, role, label, list(scopes) or None, staff))
    click.echo(f"{made.id}\n{made.key}")


@key.command(name="list")
@click.argument("name")
@json_option
@data_option
@port_option
def list_keys(name: str, as_json: bool, **given: object) -> None:
    """List the API keys of a business, those that ended too. The keys themselves are not kept."""
    found = asked(given, LIST_KEYS, OfBusiness(name))
    if as_json:
        kept = [plain_value(line) for line in found]
        say_json([{name: value for name, value in line.items() if name != "key"} for line in kept])
        return
    for line in found:
        _tell(line)


@key.command()
@click.argument("name")
@click.argument("key_id")
@data_option
@port_option
def end(name: str, key_id: str, **given: object) -> None:
    """End an API key at once, the last one of the owner too."""
    _tell(asked(given, END_KEY, OneKey(name, key_id)))


def _tell(line: ApiKeyLine) -> None:
    if line.expires_at is None:
        ends = "no end"
    else:
        ends = f"{'until' if line.in_force else 'ended'} {line.expires_at}"
    used = "never used" if line.last_used_at is None else f"used {line.last_used_at}"
    say("\t".join((line.id, line.role, ends, used, line.seat or "no seat", line.label)))
    if frozenset(line.scopes) != next(scopes for role, scopes in ROLES.items() if role == line.role):
        say("\t" + " ".join(line.scopes))
