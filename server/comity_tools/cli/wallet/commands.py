"""`comity wallet`: a person's or a business's wallet in a terminal. Every command opens the file, does one thing over
HTTP, prints the result in a sentence, and closes the file."""

import json
from pathlib import Path
from typing import Any

import click

from comity.client import NotNamed, Party, Proposal, ShownOffer, Wallet, own_terms
from comity.client.models import Message, News, Token
from comity.client.petnames import id_named, namesakes, party_named
from comity.client.session import Faults
from comity.transparency.notes import VerifierKey
from comity_tools.cli.audit.receipt import cosignatures_option, policy_of, witness_option
from comity_tools.cli.groups import Sections
from comity_tools.cli.json_output import json_option, say_json
from comity_tools.cli.parameters import Finite, TextFile
from comity_tools.cli.terminal import shows_all_signs
from comity_tools.cli.wallet import acts, feedback, rules, sentences, show, unlock
from comity_tools.cli.wallet import away as wallet_away
from comity_tools.cli.wallet.away import away_day
from comity_tools.cli.wallet.json_output import offer_value, proposal_value
from comity_tools.cli.wallet.session import Where, connected, day, opened, run, say, short

_SECTIONS = {
    "Connecting": "create offer look accept proposals countersign decline take-back call",
    "Reading": "show sync messages timeline tokens notes contests statement",
    "Who may contact you, and when": "grant withdraw mute unmute hours budget away back revoke",
    "Messages and favours": "send feedback ask answer done thank",
    "Notes and records": "remember forget milestone contacted renounce erasure",
    "In this wallet only": "block unblock blocks snooze wake snoozes defaults",
    "Keys and proofs": "receipt export key rotate mailbox accept-home-key unlock lock passphrase",
}


@click.group(cls=Sections, sections=_SECTIONS)
@click.option(
    "-w",
    "--wallet",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("comity.wallet"),
    show_default=True,
    help="The wallet file.",
)
@witness_option
@cosignatures_option
@click.pass_context
def wallet(context: click.Context, file: Path, witnesses: tuple[VerifierKey, ...], cosignatures: int | None) -> None:
    """Your wallet: connections, messages, favours, and ways to say no.

    The passphrase is read from COMITY_PASSPHRASE or asked for, unless you `unlock` the wallet for a while.
    (COMITY_WALLET_IDENTITY is the file's age identity, which opens it at once.)

    As CONNECTION, type your own name for it (`call`) or a part of that, the full name in its offer, or `id:` and at
    least 8 characters of its id. `show` lists your connections.

    With --witness, the log of a server must be cosigned.
    """
    context.obj = Where(file, policy_of(witnesses, cosignatures))


# --- connecting ---


@wallet.command()
@click.option("--business", metavar="DID", help="The did:web of the business that this wallet acts for.")
@click.option("--name", help="Your name, as your offers show it.")
@click.option(
    "--unlock",
    "minutes",
    is_flag=False,
    flag_value=15,
    type=unlock.MINUTES,
    metavar="[MINUTES]",
    help="Also unlock the wallet, as `unlock` does. Default: 15 minutes.",
)
@click.pass_obj
def create(where: Where, business: str | None, name: str | None, minutes: int | None) -> None:
    """Create a new wallet."""
    secret = where.secret(new=True)

    async def work() -> None:
        async with Wallet.create(where.file, business=business, name=name, **secret) as made:
            say(f"A new wallet is in {where.file}.")
            if made.public_key is not None:
                say(f"Its public key, for the operator who publishes {made.did}:")
                say(made.public_key)
            if minutes is not None:
                unlock.keep(where.file, made.identity, minutes)

    run(work)


@wallet.command()
@click.argument("home")
@click.option(
    "-p", "--purpose", "purposes", multiple=True, required=True, help="A purpose of your contact. May be repeated."
)
@click.option("--terms", type=TextFile(), required=True, help="A file with the text of the agreement (UTF-8).")
@click.option("--terms-id", default="own:terms", show_default=True, help="The id of the agreement.")
@click.option("--terms-version", default="1", show_default=True, help="The version of the agreement.")
@click.option("--lang", default="en", show_default=True, help="The language of the text.")
@click.option("--days", default=7.0, show_default=True, help="For how many days the offer is valid.")
@click.option("--to", metavar="DID", help="Send the offer to this business.")
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="PURPOSE",
    help="Allow whoever accepts to contact you for this, for a year. May be repeated.",
)
@click.option("--qr", is_flag=True, help="Also show the link as a QR code.")
@opened
async def offer(
    opened: Wallet,
    home: str,
    purposes: tuple[str, ...],
    terms: str,
    terms_id: str,
    terms_version: str,
    lang: str,
    days: float,
    to: str | None,
    allowed: tuple[str, ...],
    qr: bool,
) -> None:
    """Offer a connection at the server HOME (https://host). Prints the link to share."""
    text = own_terms(terms_id, terms_version, lang, terms)
    allow = {"purposes": allowed} if allowed else None
    link = await opened.offer(home, [text], purposes, days=days, to=to, allow=allow)
    say(link)
    if qr:
        import segno

        segno.make(link).terminal(compact=shows_all_signs())


@wallet.command()
@click.argument("link")
@json_option
@opened
async def look(opened: Wallet, link: str, as_json: bool) -> None:
    """Show the offer behind LINK. Nothing is signed."""
    shown = await opened.look(link)
    if as_json:
        say_json(offer_value(shown))
        return
    say(f"{shown.name or 'Somebody'} ({shown.did}) would like to connect, for {', '.join(shown.purposes)}.")
    say(f"The server is run by {shown.signed.offer.operator}. The offer is valid until {day(shown.signed.offer.exp)}.")
    for number, it in enumerate(shown.terms):
        say(f"Terms {number}: {it.id}, version {it.version} ({it.lang})")
        if it.text:
            say(f"  {it.text}")
    _say_what_it_allows(shown)
    for grant in shown.suggested:
        say(f"Your defaults suggest to allow: {_grant_in_words(grant)}.")
    for warning in shown.warnings:
        say(f"Note: {warning}")


def _say_what_it_allows(shown: ShownOffer) -> None:
    if (allow := shown.allowed) is None:
        return
    rate = "" if allow.budget is None else f", {allow.budget.max} a {allow.budget.per}"
    about = f"{', '.join(allow.purposes)} by {', '.join(allow.channels)}{rate}"
    say(f"If you accept, you may write to them about {about}, for {allow.days} days; complaints are always allowed.")


def _grant_in_words(grant: dict[str, Any]) -> str:
    rate = "" if grant.get("budget") is None else f", {grant['budget'][0]} a {grant['budget'][1]}"
    return f"{', '.join(grant['purposes'])} by {', '.join(grant['channels'])}{rate}, for {grant['days']} days"


again_option = click.option("--again", is_flag=True, help="Connect although you already have a connection with them.")


@wallet.command()
@click.argument("link")
@click.option("--terms", default="0", help="Which of the offered agreements, by number or id.")
@click.option(
    "--grant",
    "grants",
    multiple=True,
    metavar="PURPOSE",
    help="Allow this purpose as soon as the connection is open. May be repeated.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="CLASS",
    help="Allow what your `defaults` suggest for this class of purposes. May be repeated.",
)
@click.option("--wait", type=Finite(0, 86_400), default=0.0, help="Seconds to wait for the other side's signature.")
@again_option
@opened
async def accept(
    opened: Wallet, link: str, terms: str, grants: tuple[str, ...], only: tuple[str, ...], wait: float, again: bool
) -> None:
    """Accept the offer behind LINK. Only what you name is allowed."""
    shown = await opened.look(link)
    for warning in shown.warnings:
        say(f"Note: {warning}")
    wishes = [{"purposes": list(grants), "channels": ["app"], "days": 365}] if grants else []
    wishes += [grant for grant in shown.suggested if grant["purposes"][0].partition(".")[0] in only]
    chosen = int(terms) if terms.isascii() and terms.isdigit() and len(terms) < 4 else terms
    party = await opened.accept(shown, terms=chosen, grants=wishes, again=again)
    say(f"You signed. The connection opens when {party.name} has signed too.")
    for wish in wishes:
        say(f"Then you allow: {_grant_in_words(wish)}.")
    say(f"Its id is {short(party.cid)}.")
    if wait:
        await party.opened(timeout=wait)
        say(f"You and {party.name} are connected.")


@wallet.command()
@json_option
@opened
async def proposals(opened: Wallet, as_json: bool) -> None:
    """List those who have accepted your offers and wait for your signature: `call` names one, `countersign` signs."""
    found = await opened.proposals()
    if as_json:
        say_json([proposal_value(it) for it in found])
        return
    for it in found:
        _tell_proposal(it)
    if not found:
        say("Nobody waits for your signature.")


def _tell_proposal(it: Proposal) -> None:
    name = "" if it.petname is None else f"{it.petname}, "
    offer, terms = it.signed.offer, it.terms
    say(f"{short(it.cid)}  received on {day(it.at // 1000)}, can be signed until {day(it.countersign_by)}")
    say(f"  who     {name}{it.did}")
    say(f"  offer   {it.signed.short}, of {day(offer.iat)}, for {', '.join(offer.purposes)}")
    text = f"{terms.id}, version {terms.version} ({terms.lang})"
    say(f"  terms   {text}" + (f", OTHER TERMS than you offered: sha256 {terms.sha256}" if it.is_alternative else ""))


@wallet.command()
@click.argument("proposal", required=False)
@click.option("--call", "petname", help="Your name for the other side in this wallet.")
@again_option
@opened
async def countersign(opened: Wallet, proposal: str | None, petname: str | None, again: bool) -> None:
    """Sign PROPOSAL, as `proposals` lists it. This opens the connection.

    Without PROPOSAL, the only waiting one is signed, if it accepts terms that you offered.
    """
    named = await _proposal(opened, proposal)
    if proposal is None and named.is_alternative:
        _tell_proposal(named)
        raise click.ClickException("these are not the terms that you offered: to sign them, name the proposal")
    if petname is not None:
        await named.call(petname)
    party = await named.countersign(again=again)
    say(f"You and {party.name} are connected, under {named.terms.id}, version {named.terms.version}.")
    say(f"They accepted your offer {named.signed.short} on {day(named.at // 1000)}.")
    say(f"The id is {short(party.cid)}.")


@wallet.command()
@click.argument("proposal")
@click.option("--reason", help="A reason code (optional).")
@click.option("--silent", is_flag=True, help="Do not tell the other side.")
@opened
async def decline(opened: Wallet, proposal: str, reason: str | None, silent: bool) -> None:
    """Decline PROPOSAL."""
    named = await _proposal(opened, proposal)
    await named.decline(reason, silent=silent)
    say(f"You declined {named.name}. They are {'not told' if silent else 'told'}.")


async def _proposal(opened: Wallet, typed: str | None) -> Proposal:
    """The proposal that `typed` names; the only one, if it is None. Raises NotNamed, SeveralNamed, ClickException."""
    found = await opened.proposals()
    if typed is not None:
        return party_named(found, typed, "proposal")
    if len(found) > 1:
        for it in found:
            _tell_proposal(it)
        raise click.ClickException("several wait for your signature: name one, as in `countersign id:… --call NAME`")
    if not found:
        raise click.ClickException("nobody waits for your signature")
    return found[0]


@wallet.command(name="take-back")
@click.argument("connection")
@opened
async def take_back(opened: Wallet, connection: str) -> None:
    """Take your signature back, as long as the other side has not signed."""
    party = opened.find(connection)
    await opened.take_back(party)
    say(f"Taken back: {party.name} can no longer sign it.")


@wallet.command()
@click.argument("connection")
@click.argument("name")
@opened
async def call(opened: Wallet, connection: str, name: str) -> None:
    """Give CONNECTION, or a waiting proposal, a NAME of your own. Nobody else sees it."""
    named: Party | Proposal
    try:
        named = opened.find(connection)
    except NotNamed:
        named = party_named(await opened.proposals(), connection, "connection or proposal")
    await named.call(name)
    say(f"{named.did} is called {name} from now on.")
    others = [it for it in opened.connections() if it.cid != named.cid]
    for it in namesakes(others, name):
        say(f"Note: {short(it.cid)} ({it.phase}) has the same name.")


@wallet.command()
@click.option("--next", "make_next", is_flag=True, help="Print the next key; it is made if there is none yet.")
@click.option("--turn", is_flag=True, help="Use the next key in every open connection. It must be published first.")
@opened
async def key(opened: Wallet, make_next: bool, turn: bool) -> None:
    """Print a business's public key, for the operator who publishes it. Change it with --next and then --turn."""
    if opened.public_key is None:
        raise click.ClickException("this is a person's wallet: it has a different key in every connection")
    if turn:
        say(f"The new key is in use in {await opened.turn_key()} open connections.")
    else:
        say(await opened.next_key() if make_next else opened.public_key)


# --- reading ---


@wallet.command()
@json_option
@opened
async def sync(opened: Wallet, as_json: bool) -> None:
    """Fetch the news, and check that the server shows what was signed."""
    faults = Faults()
    news: list[News] = []
    with faults.told_later():
        news += await opened.sync()
    for party in opened.connections():
        if party.phase in ("open", "proposed"):
            with faults.told_later():
                news += await party.sync()
    news += opened.untold()
    if as_json:
        say_json({"news": news, "receipts_owed": opened.receipts_owed})
    else:
        _tell_news(opened, news)
    faults.tell()


def _tell_news(opened: Wallet, news: list[News]) -> None:
    lost = [it for it in news if it.kind == "receipt_lost"]
    news = [it for it in news if it not in lost]
    loud = [it for it in news if not it.quiet]
    say(f"{len(news)} new." if len(loud) == len(news) else f"{len(news)} new, {len(news) - len(loud)} of them quiet.")
    if lost:
        say(f"{len(lost)} of your acts have no receipt and will never have one: their server lost that log.")
    if opened.receipts_owed:
        say(f"{opened.receipts_owed} of your acts wait for their receipts: the log does not cover them yet.")
    for it in loud:
        say(f"  {day(it.at // 1000)}  {_told_news(opened, it)}")


def _told_news(opened: Wallet, news: News) -> str:
    if news.cid not in {party.cid for party in opened.connections()}:
        return f"{news.kind} from an unknown connection"
    party = opened.party(news.cid)
    if (told := sentences.of_restore(party, news)) is not None:
        return told
    away = party.away_until() if news.kind == "mute" else None
    if away is not None:
        return f"{party.name} is away until {away_day(away)}"
    muted = sentences.their_mute(party, news.act) if news.kind == "mute" else None
    return muted or f"{news.kind} from {party.name}"


@wallet.command()
@click.argument("connection")
@json_option
@connected
async def timeline(opened: Wallet, party: Party, as_json: bool) -> None:
    """Show the history of CONNECTION."""
    found = await party.timeline()
    if as_json:
        say_json(list(found))
        return
    say(str(found))


@wallet.command()
@click.argument("connection")
@json_option
@connected
async def messages(opened: Wallet, party: Party, as_json: bool) -> None:
    """Show the messages of CONNECTION."""
    found = await party.messages()
    if as_json:
        say_json(found)
        return
    for message in found:
        say(_told(party, message))
    if not found:
        say("There are no messages.")


def _told(party: Party, message: Message) -> str:
    who = "you" if message.by == "me" else party.name
    text = message.text if message.text is not None else f"({message.unreadable or 'no text'})"
    # Further lines are indented, or a text of the other side could pass for another message.
    text = text.replace("\n", "\n    ")
    more = {name: value for name, value in (message.body or {}).items() if name != "text"}
    beside = f" {json.dumps(more, ensure_ascii=False)}" if more else ""
    about = message.purpose + (f", {message.topic}" if message.topic else "")
    expires = "" if message.expires_at is None else f" until {day(message.expires_at)}"
    state = "" if message.outcome == "delivered" else f" [{message.outcome}{expires}]"
    state += "" if message.reply_to is None else f" [answers {short(message.reply_to)}]"
    word = "" if message.feedback is None else f" [{message.feedback.replace('_', ' ')}]"
    when = day((message.delivered_at or message.at) // 1000)
    return f"{short(message.id)}  {when}  {who} ({about}){state}{word}: {text}{beside}"


@wallet.command()
@click.argument("connection")
@click.option("--jwt", is_flag=True, help="Print the tokens themselves.")
@json_option
@connected
async def tokens(opened: Wallet, party: Party, jwt: bool, as_json: bool) -> None:
    """Show the permissions of both sides of CONNECTION, checked against the server's status list."""
    found = await party.tokens()
    if as_json:
        say_json(found)
        return
    for it in found:
        say(it.jwt if jwt else _allowed(party, it))
    if not found:
        say("Nothing is allowed in either direction.")


def _allowed(party: Party, token: Token) -> str:
    who = f"{party.name} may contact you" if token.by == "me" else f"you may contact {party.name}"
    what = f"for {', '.join(token.purposes)} by {', '.join(token.channels)}"
    return f"{short(token.id)}  {who} {what}, until {day(token.exp)} ({_STATUS[token.status]})"


_STATUS = {
    "valid": "in force",
    "ask": "in force, unless a mute, topic or contest forbids it",
    "invalid": "not in force",
    None: "not checked",
}
"""The status of a token in the status list, in words."""


@wallet.command()
@click.argument("connection")
@click.argument("act")
@click.option("--delivery", is_flag=True, help="The receipt for the delivery of a message.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this new file (.tlog-proof).")
@connected
async def receipt(opened: Wallet, party: Party, act: str, delivery: bool, out: Path | None) -> None:
    """Print the receipt of ACT, of either side: the proof that it is in the log."""
    known = id_named([line.act.id for line in party.lines if line.act is not None], act, "act")
    text = await party.receipt(known, delivery=delivery)
    if out is None:
        click.echo(text, nl=False)
        return
    _write(out, text)
    say(f"The receipt is in {out}.")


def _write(out: Path, text: str) -> None:
    """Writes a new file. A file that cannot be written completely is removed: half a receipt proves nothing. Raises
    ClickException."""
    is_ours = False
    try:
        with out.open("x", encoding="utf-8", newline="") as file:
            is_ours = True
            file.write(text)
    except OSError as fault:
        if is_ours:
            out.unlink(missing_ok=True)
        raise click.ClickException(f"cannot write {out}: {fault.strerror}") from None


@wallet.command()
@opened
async def export(opened: Wallet) -> None:
    """Print everything in the wallet except private keys, as JSON, with the receipts of all acts."""
    faults, missing = Faults(), 0
    with faults.told_later():
        missing = await opened.fetch_receipts()
    say_json(opened.export())
    if missing:
        say(
            f"Note: {missing} acts or deliveries have no receipt: the log does not cover them yet, or is lost.",
            err=True,
        )
    faults.tell()


wallet.commands.update(show.looking.commands)
wallet.commands.update(unlock.unlocking.commands)
wallet.commands.update(acts.acts.commands)
wallet.commands.update(feedback.feedback_commands.commands)
wallet.commands.update(wallet_away.absence.commands)
wallet.commands.update(rules.rules.commands)
