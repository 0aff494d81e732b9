"""`comity keys`: the keys that the server stores, and the master key that encrypts them."""

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
    """Show and rotate keys: signing keys of businesses, the master key that encrypts them, and the server's own key."""


@keys.command()
@json_option
@data_option
@port_option
def status(as_json: bool, **given: object) -> None:
    """Show which master key is in use, what it encrypts, and the businesses whose signing keys the server stores.

    The keys themselves are never shown.
    """
    told = asked(given, STATUS, Nothing())
    if as_json:
        say_json(told)
        return
    click.echo(f"master key\t{told.masters[0]}\tin {told.source}")
    for name in told.masters[1:]:
        click.echo(f"older key\t{name}\tstill needed to decrypt older secrets")
    for line in told.sealed:
        older = f", and {line.older} under older keys" if line.older else ""
        click.echo(f"encrypted\t{line.what}\t{line.current}{older}")
    for business in told.businesses:
        click.echo(f"business\t{business.name}")
        for kid in business.kids:
            click.echo(f"\t{kid}")


@keys.command(name="rotate-master")
@data_option
@port_option
def rotate_master(**given: object) -> None:
    """Replace the master key with a new one, and encrypt everything again.

    A master key in a file (by default in the data folder) is replaced there. A master key in COMITY_MASTER_KEY you
    replace yourself: start the server with the new key in front of the old one, run this command, then remove the old
    key. The command can be interrupted at any moment and run again.
    """
    told = asked(given, ROTATE_MASTER, Nothing())
    click.echo(f"The master key is {told.master}, in {told.source}; {told.count} secrets were encrypted again.")
    if told.source == "COMITY_MASTER_KEY":
        click.echo("The keys after the first one are no longer used: remove them.")


@keys.command()
@click.argument("name")
@data_option
@port_option
def rotate(name: str, **given: object) -> None:
    """Give a business a new signing key, and change its open connections to it.

    The command can be interrupted at any moment. Run again, it continues with the same new key until all older
    connections use it.
    """

    async def work(ask: Ask) -> tuple[str | None, Turned]:
        # After an interrupted run there are connections older than the newest key that do not use it yet.
        before = await _all(ask, name)
        if before.late:
            return None, before
        made = await ask(NEXT_KEY, OfBusiness(name))
        return made.kid, await _all(ask, name)

    kid, done = operate(given, work)
    click.echo(kid if kid is not None else "An earlier rotation was unfinished. It is finished now.")
    click.echo(f"{done.turned} connections were changed to the new key.")
    if done.left:
        raise click.ClickException(
            f"{done.left} connections keep their old key: the server does not store that key, or they accept no act now"
        )


@keys.command(name="rotate-home")
@click.option(
    "--broken",
    is_flag=True,
    help="The old key is lost or may be stolen: it does not sign for the new one.",
)
@data_option
@port_option
def rotate_home(*, broken: bool, **given: object) -> None:
    """Give this server a new key, with which it signs events and status lists from now on.

    The old key signs a statement about the new one, and wallets accept it by themselves. With --broken it does not
    sign, and each wallet asks its owner before it accepts the new key. Use --broken only if the old key was lost or
    stolen.
    """

    async def work(ask: Ask) -> str:
        return (await ask(ROTATE_HOME, HomeRotation(broken))).kid

    click.echo(operate(given, work, needs_key=not broken))
    if broken:
        click.echo("The old key is declared broken. Tell the people who use this server: their wallets will ask them.")


async def _all(ask: Ask, name: str) -> Turned:
    """Change all of the business's connections to its newest key, page by page."""
    sum_, place = Turned(), Place(name)
    while True:
        page = await ask(TURN, place)
        sum_.turned += page.turned
        sum_.late += page.late
        sum_.left += page.left
        if page.after is None:
            return sum_
        place = Place(name, page.after)
