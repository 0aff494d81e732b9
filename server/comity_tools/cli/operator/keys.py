"""`comity keys`: the keys that the server keeps, and the one that seals them."""

import click

from comity_server.operator.commands import (
    NEXT_KEY,
    ROTATE_HOME,
    ROTATE_MASTER,
    STATUS,
    TURN,
    HomeRotation,
    Nothing,
    OfBusiness,
    Place,
)
from comity_server.operator.signing_key_rotation import Turned
from comity_tools.cli.json_output import json_option, say_json
from comity_tools.cli.operator.client import Ask, asked, data_option, operate, port_option


@click.group()
def keys() -> None:
    """The signing keys that are kept for businesses, the master key that seals them, and the server's own key."""


@keys.command()
@json_option
@data_option
@port_option
def status(as_json: bool, **given: object) -> None:
    """Tell which master key is in use, what it seals, and whose signing keys are kept. Never a key itself."""
    told = asked(given, STATUS, Nothing())
    if as_json:
        say_json(told)
        return
    click.echo(f"master key\t{told.masters[0]}\tin {told.source}")
    for name in told.masters[1:]:
        click.echo(f"older key\t{name}\topens what it sealed")
    for line in told.sealed:
        older = f", and {line.older} under older keys" if line.older else ""
        click.echo(f"sealed\t{line.what}\t{line.current}{older}")
    for business in told.businesses:
        click.echo(f"kept\t{business.name}")
        for kid in business.kids:
            click.echo(f"\t{kid}")


@keys.command(name="rotate-master")
@data_option
@port_option
def rotate_master(**given: object) -> None:
    """Put a new master key in the place of the one in use, and seal everything anew.

    A master key in a file (in the data folder, where nothing else is set) is replaced there. One in COMITY_MASTER_KEY
    is yours to replace: start the server with the new one in front of the old one, call this, and take the old one
    away. It can be stopped at any moment and called again.
    """
    told = asked(given, ROTATE_MASTER, Nothing())
    click.echo(f"The master key is {told.master}, in {told.source}; {told.count} secrets were sealed anew.")
    if told.source == "COMITY_MASTER_KEY":
        click.echo("The keys behind the first one seal nothing any more: take them away.")


@keys.command()
@click.argument("name")
@data_option
@port_option
def rotate(name: str, **given: object) -> None:
    """Give a business a new signing key, and turn its open connections to it.

    It can be stopped at any moment. Called again, it goes on with the key that it made, and makes no other before the
    connections that are older than that key have all been turned.
    """

    async def work(ask: Ask) -> tuple[str | None, Turned]:
        # Was an earlier run stopped? Then there are connections that are older than the newest key, and not turned.
        before = await _all(ask, name)
        if before.late:
            return None, before
        made = await ask(NEXT_KEY, OfBusiness(name))
        return made.kid, await _all(ask, name)

    kid, done = operate(given, work)
    click.echo(kid if kid is not None else "An earlier rotation was not finished; it is now.")
    click.echo(f"{done.turned} connections were turned.")
    if done.left:
        raise click.ClickException(
            f"{done.left} connections were left: they are at a key that is not kept here, or could take no act now."
            " Those go on with the keys that they have"
        )


@keys.command(name="rotate-home")
@click.option(
    "--broken",
    is_flag=True,
    help="The key before is lost, or others may have it: it does not vouch for the new one.",
)
@data_option
@port_option
def rotate_home(*, broken: bool, **given: object) -> None:
    """Give this server a new key, by which it signs events and status lists from now on.

    The key before signs the statement about the new one, and wallets go on by themselves. With --broken it does not:
    then each wallet asks its owner before it believes the new key. Use it where the key was lost or stolen, and only
    there.
    """

    async def work(ask: Ask) -> str:
        return (await ask(ROTATE_HOME, HomeRotation(broken))).kid

    click.echo(operate(given, work, needs_key=not broken))
    if broken:
        click.echo("The key before is stated as broken. Tell the people who use this server: their wallets will ask.")


async def _all(ask: Ask, name: str) -> Turned:
    """Turn all of the business's connections to its newest key, page by page."""
    sum_, place = Turned(), Place(name)
    while True:
        page = await ask(TURN, place)
        sum_.turned += page.turned
        sum_.late += page.late
        sum_.left += page.left
        if page.after is None:
            return sum_
        place = Place(name, page.after)
