"""`comity wallet`: a person's or a business's wallet in a terminal. Every command opens the file, does one thing over
HTTP, tells it in a sentence, and closes the file."""

import asyncio
import functools
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click
import stamina

from comity.client import Party, Wallet, own_terms
from comity.client.told import Message, Token
from comity.errors import ComityError, Refused

Work = Callable[..., Awaitable[None]]


class _Where:
    """Which wallet, and how it is opened."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def secret(self, *, new: bool = False) -> dict[str, Any]:
        """The passphrase, asked for where the environment has none. Never an option: others can read a command line."""
        if identity := os.environ.get("COMITY_WALLET_IDENTITY"):
            return {"identity": identity}
        found = os.environ.get("COMITY_PASSPHRASE")
        asked = found or click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True)
        return {"passphrase": str(asked)}


@click.group()
@click.option(
    "-w",
    "--wallet",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("comity.wallet"),
    show_default=True,
    help="The wallet's file.",
)
@click.pass_context
def wallet(context: click.Context, file: Path) -> None:
    """A wallet of your own: connections, messages, favours, and a way to say no.

    The passphrase comes from COMITY_PASSPHRASE or is asked for (COMITY_WALLET_IDENTITY: the file's age identity, which
    opens it at once). A CONNECTION is named by the beginning of its id or by
    a part of the other side's name; `show` lists them.
    """
    context.obj = _Where(file)


def _run(work: Callable[[], Awaitable[None]]) -> None:
    # Tries again are not told to a person who waits for one sentence.
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        asyncio.run(_plainly(work))
    except Refused as refused:
        raise click.ClickException(f"{refused.detail or refused.title.rstrip('.')} ({refused.code})") from None
    except ComityError as error:
        raise click.ClickException(str(error)) from None
    except TimeoutError:
        raise click.ClickException("nothing came in time") from None


async def _plainly(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except BaseExceptionGroup as group:
        # One reason is enough for one line.
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


def _opened(work: Work) -> Callable[..., None]:
    """A command that works on the open wallet."""

    def command(where: _Where, /, **given: Any) -> None:
        async def with_wallet() -> None:
            async with Wallet.open(where.file, **where.secret()) as opened:
                await work(opened, **given)

        _run(with_wallet)

    functools.update_wrapper(command, work)
    return click.pass_obj(command)


def _connected(work: Work) -> Callable[..., None]:
    """A command that works on one connection (its first argument); reads its news first."""

    async def with_party(opened: Wallet, connection: str, **given: Any) -> None:
        party = _find(opened, connection)
        if party.phase in ("proposed", "open"):
            await party.sync()
        await work(opened, party, **given)

    functools.update_wrapper(with_party, work)
    return _opened(with_party)


def _find(opened: Wallet, name: str) -> Party:
    parties = opened.connections()
    found = [it for it in parties if it.cid.startswith(name)]
    found = found or [it for it in parties if name.casefold() in it.name.casefold()]
    open_ones = [it for it in found if it.phase in ("open", "proposed")] if len(found) > 1 else found
    if len(open_ones) != 1:
        raise click.ClickException(
            f"no connection is called {name}" if not found else f"several connections are called {name}"
        )
    return open_ones[0]


def _say(text: str) -> None:
    # What others wrote must not drive the terminal.
    click.echo("".join(it if it.isprintable() or it in "\n\t" else "\N{REPLACEMENT CHARACTER}" for it in text))


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


# --- connecting ---


@wallet.command()
@click.option("--business", metavar="DID", help="The did:web of the business that this wallet acts for.")
@click.option("--name", help="What offers are signed with, for people to read.")
@click.pass_obj
def create(where: _Where, business: str | None, name: str | None) -> None:
    """Make a new wallet."""
    secret = where.secret(new=True)

    async def work() -> None:
        async with Wallet.create(where.file, business=business, name=name, **secret) as made:
            _say(f"A new wallet is in {where.file}.")
            if made.public_key is not None:
                _say(f"Its public key, for whoever publishes {made.did}:")
                _say(made.public_key)

    _run(work)


@wallet.command()
@click.argument("home")
@click.option("-p", "--purpose", "purposes", multiple=True, required=True, help="What you would like to come for.")
@click.option("--terms", type=click.File(encoding="utf-8"), required=True, help="The agreement's text.")
@click.option("--terms-id", default="own:terms", show_default=True, help="The name of the agreement.")
@click.option("--terms-version", default="1", show_default=True)
@click.option("--lang", default="en", show_default=True, help="The language of the text.")
@click.option("--days", default=7.0, show_default=True, help="How long the offer stands.")
@click.option("--to", metavar="DID", help="Put it at this business's door.")
@click.option("--qr", is_flag=True, help="Show the link as a QR code, too.")
@_opened
async def offer(
    opened: Wallet,
    home: str,
    purposes: tuple[str, ...],
    terms: Any,
    terms_id: str,
    terms_version: str,
    lang: str,
    days: float,
    to: str | None,
    qr: bool,
) -> None:
    """Offer a connection at the server HOME (https://host); prints the link to pass on."""
    text = own_terms(terms_id, terms_version, lang, terms.read())
    link = await opened.offer(home, [text], purposes, days=days, to=to)
    _say(link)
    if qr:
        import segno

        segno.make(link).terminal(compact=True)


@wallet.command()
@click.argument("link")
@_opened
async def look(opened: Wallet, link: str) -> None:
    """Show the offer behind LINK; signs nothing."""
    shown = await opened.look(link)
    _say(f"{shown.name or 'Somebody'} ({shown.did}) would like to connect, for {', '.join(shown.purposes)}.")
    _say(f"The server is run by {shown.signed.offer.operator}. The offer stands until {_day(shown.signed.offer.exp)}.")
    for number, it in enumerate(shown.terms):
        _say(f"Terms {number}: {it.id}, version {it.version} ({it.lang})")
        if it.text:
            _say(f"  {it.text}")
    for warning in shown.warnings:
        _say(f"Mind: {warning}")


@wallet.command()
@click.argument("link")
@click.option("--terms", default="0", help="Which of the offered agreements, by number or id.")
@click.option("--grant", "grants", multiple=True, metavar="PURPOSE", help="Allow this as soon as it is open.")
@click.option("--wait", default=0.0, help="Seconds to wait for the other side's signature.")
@_opened
async def accept(opened: Wallet, link: str, terms: str, grants: tuple[str, ...], wait: float) -> None:
    """Accept the offer behind LINK."""
    shown = await opened.look(link)
    for warning in shown.warnings:
        _say(f"Mind: {warning}")
    wishes = [{"purposes": list(grants)}] if grants else []
    party = await opened.accept(shown, terms=int(terms) if terms.isdigit() else terms, grants=wishes)
    _say(f"You signed. It is a connection when {party.name} has signed, too.")
    _say(f"Its id is {party.cid}.")
    if wait:
        await party.opened(timeout=wait)
        _say(f"You and {party.name} are connected.")


@wallet.command()
@_opened
async def proposals(opened: Wallet) -> None:
    """List who has accepted your offers and waits for your signature."""
    found = await opened.proposals()
    for it in found:
        other = " with OTHER TERMS than you offered" if it.is_alternative else ""
        _say(f"{it.cid[:12]}  {it.did} accepts{other}: {it.terms.id}, until {_day(it.countersign_by)}")
    if not found:
        _say("Nobody waits for your signature.")


@wallet.command()
@click.argument("proposal", default="")
@click.option("--call", "petname", help="What to call the other side in this wallet.")
@_opened
async def countersign(opened: Wallet, proposal: str, petname: str | None) -> None:
    """Sign the other half of PROPOSAL (the only one, where none is named): the connection is open."""
    party = await (await _proposal(opened, proposal)).countersign()
    if petname is not None:
        await party.call(petname)
    _say(f"You and {party.name} are connected. The id is {party.cid}.")


@wallet.command()
@click.argument("proposal")
@click.option("--reason", help="A reason code; none is needed.")
@click.option("--silent", is_flag=True, help="Tell the other side nothing at all.")
@_opened
async def decline(opened: Wallet, proposal: str, reason: str | None, silent: bool) -> None:
    """Decline PROPOSAL."""
    await (await _proposal(opened, proposal)).decline(reason, silent=silent)
    _say("Declined.")


async def _proposal(opened: Wallet, name: str) -> Any:
    found = [it for it in await opened.proposals() if it.cid.startswith(name)]
    if len(found) != 1:
        none = f"no proposal is called {name}" if name else "nobody waits for your signature"
        raise click.ClickException(f"several begin with {name}" if found else none)
    return found[0]


@wallet.command(name="take-back")
@click.argument("connection")
@_opened
async def take_back(opened: Wallet, connection: str) -> None:
    """Take your half back, as long as the other side has not signed."""
    await opened.take_back(_find(opened, connection))
    _say("Taken back.")


@wallet.command()
@click.argument("connection")
@click.argument("name")
@_opened
async def call(opened: Wallet, connection: str, name: str) -> None:
    """Call CONNECTION by a NAME of your own; nobody else learns it."""
    await _find(opened, connection).call(name)
    _say(f"It is called {name} from now on.")


@wallet.command()
@_opened
async def key(opened: Wallet) -> None:
    """Print a business's public key, for whoever publishes its document."""
    if opened.public_key is None:
        raise click.ClickException("this is a person's wallet: it has another key in every connection")
    _say(opened.public_key)


# --- the door ---


@wallet.command()
@click.argument("connection")
@click.argument("purposes", nargs=-1, required=True)
@click.option("--channel", "channels", multiple=True, default=("app",), show_default=True)
@click.option("--days", default=365.0, show_default=True)
@_connected
async def grant(
    opened: Wallet, party: Party, purposes: tuple[str, ...], channels: tuple[str, ...], days: float
) -> None:
    """Allow CONNECTION to come for PURPOSES."""
    token = await party.grant(purposes, channels, days=days)
    _say(f"{party.name} may come for {', '.join(purposes)} by {', '.join(channels)}.")
    _say(f"The token is {token[:12]}; `withdraw` takes it back.")


@wallet.command()
@click.argument("connection")
@click.argument("token")
@_connected
async def withdraw(opened: Wallet, party: Party, token: str) -> None:
    """Take TOKEN back from CONNECTION."""
    mine = [it.id for it in party.state.door(party.side).grants if it.id.startswith(token)]
    if len(mine) != 1:
        raise click.ClickException(f"no token of yours is called {token}")
    await party.withdraw(mine[0])
    _say(f"Taken back: {party.name} may no longer come for that.")


@wallet.command()
@click.argument("connection")
@click.option("--days", type=float)
@click.option("--hours", type=float)
@click.option("-p", "--purpose", "purposes", multiple=True, help="Only this purpose.")
@click.option("--channel", "channels", multiple=True, help="Only this channel.")
@click.option("--show-end", is_flag=True, help="Let the other side see when it ends.")
@_connected
async def mute(
    opened: Wallet,
    party: Party,
    days: float | None,
    hours: float | None,
    purposes: tuple[str, ...],
    channels: tuple[str, ...],
    show_end: bool,
) -> None:
    """Stop CONNECTION for a while, or, without an end, until `unmute`."""
    shown: Literal["end", "not_now"] = "end" if show_end else "not_now"
    await party.mute(days=days, hours=hours, purposes=purposes or None, channels=channels or None, shown=shown)
    _say(f"{party.name} is muted and told: not now.")


@wallet.command()
@click.argument("connection")
@_connected
async def unmute(opened: Wallet, party: Party) -> None:
    """Let CONNECTION reach you again."""
    await party.unmute()
    _say(f"{party.name} may reach you again.")


@wallet.command()
@click.argument("connection")
@click.option("--days", type=float)
@click.option("--hours", type=float)
@_connected
async def snooze(opened: Wallet, party: Party, days: float | None, hours: float | None) -> None:
    """Keep quiet about CONNECTION; nothing is signed or sent, messages arrive quietly."""
    await party.snooze(days=days, hours=hours)
    _say(f"Your wallet keeps quiet about {party.name}. E-mail, phone and post go on: only a mute stops those.")


@wallet.command()
@click.argument("connection")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@_connected
async def revoke(opened: Wallet, party: Party, yes: bool) -> None:
    """End CONNECTION, for good, both ways, at once."""
    if not yes:
        click.confirm(f"End the connection with {party.name} for good?", abort=True, err=True)
    await party.revoke()
    _say(f"The connection with {party.name} has ended.")


@wallet.command()
@click.argument("did")
@_opened
async def block(opened: Wallet, did: str) -> None:
    """Refuse further offers of the business DID; nothing is signed or sent."""
    await opened.block(did)
    _say(f"Offers of {did} are refused from now on.")


# --- words and favours ---


@wallet.command()
@click.argument("connection")
@click.argument("purpose")
@click.argument("text")
@click.option("--topic")
@click.option("--if-muted", type=click.Choice(["hold", "drop", "fail"]), default="hold", show_default=True)
@_connected
async def send(
    opened: Wallet,
    party: Party,
    purpose: str,
    text: str,
    topic: str | None,
    if_muted: Literal["hold", "drop", "fail"],
) -> None:
    """Write TEXT to CONNECTION, for PURPOSE."""
    message = await party.message(purpose, text, topic=topic, if_muted=if_muted)
    told = {"held": "It waits: not now.", "dropped": "Not now, so it was dropped."}
    _say(told.get(message.outcome, "Delivered."))


@wallet.command()
@click.argument("connection")
@click.argument("kind")
@click.argument("text")
@click.option("--effort", type=click.Choice(["minute", "hour", "money"]), default="minute", show_default=True)
@click.option("--in-return", help="What you offer in return.")
@_connected
async def ask(
    opened: Wallet,
    party: Party,
    kind: str,
    text: str,
    effort: Literal["minute", "hour", "money"],
    in_return: str | None,
) -> None:
    """Ask CONNECTION a favour of some KIND (hold, review, lend …)."""
    await party.ask(kind, text, effort=effort, in_return=in_return)
    _say(f"You asked {party.name}. It may say yes, no or not now, and needs no reason.")


@wallet.command()
@click.argument("connection")
@click.argument("word", type=click.Choice(["yes", "no", "not_now"]))
@click.argument("text", required=False)
@_connected
async def answer(opened: Wallet, party: Party, word: Literal["yes", "no", "not_now"], text: str | None) -> None:
    """Answer what CONNECTION asked."""
    favour = _favour(party, mine=False, status="asked")
    await favour.answer(word, text)
    _say(f"You said {word.replace('_', ' ')}.")


@wallet.command()
@click.argument("connection")
@_connected
async def done(opened: Wallet, party: Party) -> None:
    """Say that the favour CONNECTION asked for is done."""
    await _favour(party, mine=False, status="promised").done()
    _say("Done: the other side knows.")


@wallet.command()
@click.argument("connection")
@click.argument("text", required=False)
@_connected
async def thank(opened: Wallet, party: Party, text: str | None) -> None:
    """Thank CONNECTION for the favour it did."""
    await _favour(party, mine=True, status="done").thank(text)
    _say(f"You thanked {party.name}.")


def _favour(party: Party, *, mine: bool, status: str) -> Any:
    found = [it for it in party.favours() if it.mine == mine and it.status == status]
    if not found:
        raise click.ClickException(f"no favour of {party.name} is in that state")
    return found[-1]


# --- looking ---


@wallet.command()
@click.argument("connection", required=False)
@_opened
async def show(opened: Wallet, connection: str | None) -> None:
    """List the connections, or tell about one."""
    parties = [_find(opened, connection)] if connection else opened.connections()
    if connection and parties[0].phase in ("open", "proposed"):
        await parties[0].sync()
    for it in parties:
        _say(f"{it.cid[:12]}  {it.phase:9} {it.name}")
    if not parties:
        _say("There are no connections yet.")
    if connection and parties[0].phase in ("open", "ended"):
        _tell_doors(parties[0])


def _tell_doors(party: Party) -> None:
    _say(f"  id      {party.cid}\n  you     {party.own_did}\n  other   {party.did}")
    for favour in party.favours():
        _say(f"  favour  {'you asked' if favour.mine else 'asked of you'}: {favour.text} ({favour.status})")


@wallet.command()
@_opened
async def sync(opened: Wallet) -> None:
    """Read what is new, and check that the server says what was signed."""
    news = await opened.sync()
    for party in opened.connections():
        if party.phase in ("open", "proposed"):
            await party.sync()
    loud = [it for it in news if not it.quiet]
    _say(f"{len(news)} new." if len(loud) == len(news) else f"{len(news)} new, {len(news) - len(loud)} of them quiet.")
    for it in loud:
        name = opened.party(it.cid).name if it.cid in {party.cid for party in opened.connections()} else "?"
        _say(f"  {_day(it.at // 1000)}  {it.kind} from {name}")


@wallet.command()
@click.argument("connection")
@_connected
async def timeline(opened: Wallet, party: Party) -> None:
    """Tell what happened with CONNECTION."""
    _say(str(await party.timeline()))


@wallet.command()
@click.argument("connection")
@_connected
async def messages(opened: Wallet, party: Party) -> None:
    """Show the messages of CONNECTION."""
    found = await party.messages()
    for message in found:
        _say(_told(party, message))
    if not found:
        _say("There are no messages.")


def _told(party: Party, message: Message) -> str:
    who = "you" if message.by == "me" else party.name
    text = message.text if message.text is not None else f"({message.unreadable})"
    state = "" if message.outcome == "delivered" else f" [{message.outcome}]"
    return f"{_day((message.delivered_at or message.at) // 1000)}  {who} ({message.purpose}){state}: {text}"


@wallet.command()
@click.argument("connection")
@click.option("--jwt", is_flag=True, help="Print the tokens themselves.")
@_connected
async def tokens(opened: Wallet, party: Party, jwt: bool) -> None:
    """Show who may do what with CONNECTION, held against the server's status list."""
    found = await party.tokens()
    for it in found:
        _say(it.jwt if jwt else _allowed(party, it))
    if not found:
        _say("Nothing is allowed, either way.")


def _allowed(party: Party, token: Token) -> str:
    who = f"{party.name} may come to you" if token.by == "me" else f"you may come to {party.name}"
    what = f"for {', '.join(token.purposes)} by {', '.join(token.channels)}"
    return f"{token.id[:12]}  {who} {what}, until {_day(token.exp)} ({token.status})"


@wallet.command()
@_opened
async def export(opened: Wallet) -> None:
    """Print everything that the wallet holds, but no private key, as JSON."""
    _say(json.dumps(opened.export(), indent=2, ensure_ascii=False))
