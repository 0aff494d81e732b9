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
from comity_tools.cli.groups import Sections
from comity_tools.cli.json_output import json_option, print_json
from comity_tools.cli.operator.client import SendCommand, data_option, port_option, run_with_server, send_command


@click.group(cls=Sections)
def keys() -> None:
    """Show and rotate keys: signing keys of businesses, the master key that encrypts them, and the server's own key."""


@keys.command()
@json_option
@data_option
@port_option
def status(as_json: bool, **options: object) -> None:
    """Show which master key is in use, what it encrypts, and the businesses whose signing keys the server stores.

    The keys themselves are never shown.
    """
    answer = send_command(options, STATUS, Nothing())
    if as_json:
        print_json(answer)
        return
    click.echo(f"master key\t{answer.masters[0]}\tin {answer.source}")
    for name in answer.masters[1:]:
        click.echo(f"older key\t{name}\tstill needed to decrypt older secrets")
    for line in answer.sealed:
        older = f", and {line.older} under older keys" if line.older else ""
        click.echo(f"encrypted\t{line.what}\t{line.current}{older}")
    for business in answer.businesses:
        click.echo(f"business\t{business.name}")
        for kid in business.kids:
            click.echo(f"\t{kid}")


@keys.command(name="rotate-master")
@data_option
@port_option
def rotate_master(**options: object) -> None:
    """Replace the master key with a new one, and encrypt everything again.

    A master key in a file (by default in the data folder) is replaced there. A master key in COMITY_MASTER_KEY you
    replace yourself: start the server with the new key in front of the old one, run this command, then remove the old
    key. The command can be interrupted at any moment and run again.
    """
    answer = send_command(options, ROTATE_MASTER, Nothing())
    click.echo(f"The master key is {answer.master}, in {answer.source}; {answer.count} secrets were encrypted again.")
    if answer.source == "COMITY_MASTER_KEY":
        click.echo("The keys after the first one are no longer used: remove them.")


@keys.command()
@click.argument("name")
@data_option
@port_option
def rotate(name: str, **options: object) -> None:
    """Give a business a new signing key, and change its open connections to it.

    The command can be interrupted at any moment. Run again, it continues with the same new key until all older
    connections use it.
    """

    async def work(send: SendCommand) -> tuple[str | None, Turned]:
        # After an interrupted run there are connections older than the newest key that do not use it yet.
        before = await _rotate_all(send, name)
        if before.late:
            return None, before
        new_key = await send(NEXT_KEY, OfBusiness(name))
        return new_key.kid, await _rotate_all(send, name)

    kid, totals = run_with_server(options, work)
    click.echo(kid if kid is not None else "An earlier rotation was unfinished. It is finished now.")
    click.echo(f"{totals.turned} connections were changed to the new key.")
    if totals.left:
        raise click.ClickException(
            f"{totals.left} connections keep their old key: the server does not store it, or they accept no act now"
        )


@keys.command(name="rotate-home")
@click.option(
    "--broken",
    is_flag=True,
    help="The old key is lost or may be stolen: it does not sign for the new one.",
)
@data_option
@port_option
def rotate_home(*, broken: bool, **options: object) -> None:
    """Give this server a new key, with which it signs events and status lists from now on.

    The old key signs a statement about the new one, and wallets accept it by themselves. With --broken it does not
    sign, and each wallet asks its owner before it accepts the new key. Use --broken only if the old key was lost or
    stolen.
    """

    async def work(send: SendCommand) -> str:
        return (await send(ROTATE_HOME, HomeRotation(broken))).kid

    click.echo(run_with_server(options, work, needs_key=not broken))
    if broken:
        click.echo("The old key is declared broken. Tell the people who use this server: their wallets will ask them.")


async def _rotate_all(send: SendCommand, name: str) -> Turned:
    """Change all of the business's connections to its newest key, page by page."""
    total, place = Turned(), Place(name)
    while True:
        page = await send(TURN, place)
        total.turned += page.turned
        total.late += page.late
        total.left += page.left
        if page.after is None:
            return total
        place = Place(name, page.after)
