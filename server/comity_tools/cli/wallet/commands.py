"""`comity wallet`: a person's or a business's wallet in a terminal. Every command opens the file, does one thing over
HTTP, prints the result in a sentence, and closes the file."""

import json
from pathlib import Path
from typing import Any

import click

from comity.client import Connection, NameNotFound, OfferPreview, Proposal, Wallet, make_terms
from comity.client.models import Message, News, Token
from comity.client.petnames import find_by_name, find_id, namesakes
from comity.client.session import Faults
from comity.transparency.notes import VerifierKey
from comity_tools.cli.audit.receipt import cosignatures_option, witness_option, witness_policy
from comity_tools.cli.groups import Sections
from comity_tools.cli.json_output import json_option, print_json
from comity_tools.cli.parameters import Finite, TextFile
from comity_tools.cli.terminal import prints_every_character
from comity_tools.cli.text import say, utc_time
from comity_tools.cli.wallet import acts, feedback, rules, sentences, show, unlock
from comity_tools.cli.wallet import away as wallet_away
from comity_tools.cli.wallet.away import away_day
from comity_tools.cli.wallet.json_output import offer_value, proposal_value
from comity_tools.cli.wallet.session import WalletAccess, connection_command, run, short_id, wallet_command

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
    context.obj = WalletAccess(file, witness_policy(witnesses, cosignatures))


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
def create(access: WalletAccess, business: str | None, name: str | None, minutes: int | None) -> None:
    """Create a new wallet."""
    secret = access.secret(new=True)

    async def work() -> None:
        async with Wallet.create(access.file, business=business, name=name, **secret) as made:
            say(f"A new wallet is in {access.file}.")
            if made.public_key is not None:
                say(f"Its public key, for the operator who publishes {made.did}:")
                say(made.public_key)
            if minutes is not None:
                unlock.unlock_wallet(access.file, made.identity, minutes)

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
@wallet_command
async def offer(
    wallet: Wallet,
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
    text = make_terms(terms_id, terms_version, lang, terms)
    allow = {"purposes": allowed} if allowed else None
    link = await wallet.offer(home, [text], purposes, days=days, to=to, allow=allow)
    say(link)
    if qr:
        import segno

        segno.make(link).terminal(compact=prints_every_character())


@wallet.command()
@click.argument("link")
@json_option
@wallet_command
async def look(wallet: Wallet, link: str, as_json: bool) -> None:
    """Show the offer behind LINK. Nothing is signed."""
    preview = await wallet.fetch_offer(link)
    if as_json:
        print_json(offer_value(preview))
        return
    say(f"{preview.name or 'Somebody'} ({preview.did}) would like to connect, for {', '.join(preview.purposes)}.")
    offer = preview.signed.offer
    say(f"The server is run by {offer.operator}. The offer is valid until {utc_time(offer.exp)}.")
    for number, it in enumerate(preview.terms):
        say(f"Terms {number}: {it.id}, version {it.version} ({it.lang})")
        if it.text:
            say(f"  {it.text}")
    _print_promise(preview)
    for grant in preview.suggested_grants:
        say(f"Your defaults suggest to allow: {_grant_phrase(grant)}.")
    for warning in preview.warnings:
        say(f"Note: {warning}")


def _print_promise(preview: OfferPreview) -> None:
    if (allow := preview.promised_grant) is None:
        return
    rate = "" if allow.budget is None else f", {allow.budget.max} a {allow.budget.per}"
    about = f"{', '.join(allow.purposes)} by {', '.join(allow.channels)}{rate}"
    say(f"If you accept, you may write to them about {about}, for {allow.days} days; complaints are always allowed.")


def _grant_phrase(grant: dict[str, Any]) -> str:
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
@wallet_command
async def accept(
    wallet: Wallet, link: str, terms: str, grants: tuple[str, ...], only: tuple[str, ...], wait: float, again: bool
) -> None:
    """Accept the offer behind LINK. Only what you name is allowed."""
    preview = await wallet.fetch_offer(link)
    for warning in preview.warnings:
        say(f"Note: {warning}")
    wishes = [{"purposes": list(grants), "channels": ["app"], "days": 365}] if grants else []
    wishes += [grant for grant in preview.suggested_grants if grant["purposes"][0].partition(".")[0] in only]
    chosen = int(terms) if terms.isascii() and terms.isdigit() and len(terms) < 4 else terms
    party = await wallet.accept(preview, terms=chosen, grants=wishes, again=again)
    say(f"You signed. The connection opens when {party.name} has signed too.")
    for wish in wishes:
        say(f"Then you allow: {_grant_phrase(wish)}.")
    say(f"Its id is {short_id(party.cid)}.")
    if wait:
        await party.wait_until_open(timeout=wait)
        say(f"You and {party.name} are connected.")


@wallet.command()
@json_option
@wallet_command
async def proposals(wallet: Wallet, as_json: bool) -> None:
    """List those who have accepted your offers and wait for your signature: `call` names one, `countersign` signs."""
    found = await wallet.proposals()
    if as_json:
        print_json([proposal_value(it) for it in found])
        return
    for proposal in found:
        _print_proposal(proposal)
    if not found:
        say("Nobody waits for your signature.")


def _print_proposal(it: Proposal) -> None:
    name = "" if it.petname is None else f"{it.petname}, "
    offer, terms = it.signed.offer, it.terms
    say(f"{short_id(it.cid)}  received on {utc_time(it.at // 1000)}, can be signed until {utc_time(it.countersign_by)}")
    say(f"  who     {name}{it.did}")
    say(f"  offer   {it.signed.short}, of {utc_time(offer.iat)}, for {', '.join(offer.purposes)}")
    text = f"{terms.id}, version {terms.version} ({terms.lang})"
    say(f"  terms   {text}" + (f", OTHER TERMS than you offered: sha256 {terms.sha256}" if it.is_alternative else ""))


@wallet.command()
@click.argument("proposal", required=False)
@click.option("--call", "petname", help="Your name for the other side in this wallet.")
@again_option
@wallet_command
async def countersign(wallet: Wallet, proposal: str | None, petname: str | None, again: bool) -> None:
    """Sign PROPOSAL, as `proposals` lists it. This opens the connection.

    Without PROPOSAL, the only waiting one is signed, if it accepts terms that you offered.
    """
    target = await _find_proposal(wallet, proposal)
    if proposal is None and target.is_alternative:
        _print_proposal(target)
        raise click.ClickException("these are not the terms that you offered: to sign them, name the proposal")
    if petname is not None:
        await target.set_petname(petname)
    party = await target.countersign(again=again)
    say(f"You and {party.name} are connected, under {target.terms.id}, version {target.terms.version}.")
    say(f"They accepted your offer {target.signed.short} on {utc_time(target.at // 1000)}.")
    say(f"The id is {short_id(party.cid)}.")


@wallet.command()
@click.argument("proposal")
@click.option("--reason", help="A reason code (optional).")
@click.option("--silent", is_flag=True, help="Do not tell the other side.")
@wallet_command
async def decline(wallet: Wallet, proposal: str, reason: str | None, silent: bool) -> None:
    """Decline PROPOSAL."""
    target = await _find_proposal(wallet, proposal)
    await target.decline(reason, silent=silent)
    say(f"You declined {target.name}. They are {'not told' if silent else 'told'}.")


async def _find_proposal(wallet: Wallet, name_or_id: str | None) -> Proposal:
    """The proposal of that name or id; the only one, if None. Raises NotNamed, SeveralNamed, ClickException."""
    found = await wallet.proposals()
    if name_or_id is not None:
        return find_by_name(found, name_or_id, "proposal")
    if len(found) > 1:
        for proposal in found:
            _print_proposal(proposal)
        raise click.ClickException("several wait for your signature: name one, as in `countersign id:… --call NAME`")
    if not found:
        raise click.ClickException("nobody waits for your signature")
    return found[0]


@wallet.command(name="take-back")
@click.argument("connection")
@wallet_command
async def take_back(wallet: Wallet, connection: str) -> None:
    """Take your signature back, as long as the other side has not signed."""
    party = wallet.find_connection(connection)
    await wallet.withdraw_acceptance(party)
    say(f"Taken back: {party.name} can no longer sign it.")


@wallet.command()
@click.argument("connection")
@click.argument("name")
@wallet_command
async def call(wallet: Wallet, connection: str, name: str) -> None:
    """Give CONNECTION, or a waiting proposal, a NAME of your own. Nobody else sees it."""
    target: Connection | Proposal
    try:
        target = wallet.find_connection(connection)
    except NameNotFound:
        target = find_by_name(await wallet.proposals(), connection, "connection or proposal")
    await target.set_petname(name)
    say(f"{target.did} is called {name} from now on.")
    others = [it for it in wallet.connections() if it.cid != target.cid]
    for namesake in namesakes(others, name):
        say(f"Note: {short_id(namesake.cid)} ({namesake.phase}) has the same name.")


@wallet.command()
@click.option("--next", "make_next", is_flag=True, help="Print the next key; it is made if there is none yet.")
@click.option("--turn", is_flag=True, help="Use the next key in every open connection. It must be published first.")
@wallet_command
async def key(wallet: Wallet, make_next: bool, turn: bool) -> None:
    """Print a business's public key, for the operator who publishes it. Change it with --next and then --turn."""
    if wallet.public_key is None:
        raise click.ClickException("this is a person's wallet: it has a different key in every connection")
    if turn:
        say(f"The new key is in use in {await wallet.rotate_key()} open connections.")
    else:
        say(await wallet.make_next_key() if make_next else wallet.public_key)


# --- reading ---


@wallet.command()
@json_option
@wallet_command
async def sync(wallet: Wallet, as_json: bool) -> None:
    """Fetch the news, and check that the server shows what was signed."""
    faults = Faults()
    news: list[News] = []
    with faults.collect():
        news += await wallet.sync()
    for party in wallet.connections():
        if party.phase in ("open", "proposed"):
            with faults.collect():
                news += await party.sync()
    news += wallet.take_pending_news()
    if as_json:
        print_json({"news": news, "receipts_owed": wallet.pending_receipts})
    else:
        _print_news(wallet, news)
    faults.raise_first()


def _print_news(wallet: Wallet, news: list[News]) -> None:
    lost = [news_item for news_item in news if news_item.kind == "receipt_lost"]
    news = [news_item for news_item in news if news_item not in lost]
    loud = [news_item for news_item in news if not news_item.quiet]
    say(f"{len(news)} new." if len(loud) == len(news) else f"{len(news)} new, {len(news) - len(loud)} of them quiet.")
    if lost:
        say(f"{len(lost)} of your acts have no receipt and will never have one: their server lost that log.")
    if wallet.pending_receipts:
        say(f"{wallet.pending_receipts} of your acts wait for their receipts: the log does not cover them yet.")
    for item in loud:
        say(f"  {utc_time(item.at // 1000)}  {_news_sentence(wallet, item)}")


def _news_sentence(wallet: Wallet, news: News) -> str:
    if news.cid not in {party.cid for party in wallet.connections()}:
        return f"{news.kind} from an unknown connection"
    party = wallet.connection(news.cid)
    if (sentence := sentences.restore_sentence(party, news)) is not None:
        return sentence
    away = party.away_until() if news.kind == "mute" else None
    if away is not None:
        return f"{party.name} is away until {away_day(away)}"
    muted = sentences.find_their_mute(party, news.act) if news.kind == "mute" else None
    return muted or f"{news.kind} from {party.name}"


@wallet.command()
@click.argument("connection")
@json_option
@connection_command
async def timeline(wallet: Wallet, party: Connection, as_json: bool) -> None:
    """Show the history of CONNECTION."""
    found = await party.timeline()
    if as_json:
        print_json(list(found))
        return
    say(str(found))


@wallet.command()
@click.argument("connection")
@json_option
@connection_command
async def messages(wallet: Wallet, party: Connection, as_json: bool) -> None:
    """Show the messages of CONNECTION."""
    found = await party.messages()
    if as_json:
        print_json(found)
        return
    for message in found:
        say(_message_line(party, message))
    if not found:
        say("There are no messages.")


def _message_line(party: Connection, message: Message) -> str:
    who = "you" if message.by == "me" else party.name
    text = message.text if message.text is not None else f"({message.unreadable or 'no text'})"
    # Further lines are indented, or a text of the other side could pass for another message.
    text = text.replace("\n", "\n    ")
    more = {name: value for name, value in (message.body or {}).items() if name != "text"}
    beside = f" {json.dumps(more, ensure_ascii=False)}" if more else ""
    about = message.purpose + (f", {message.topic}" if message.topic else "")
    expires = "" if message.expires_at is None else f" until {utc_time(message.expires_at)}"
    state = "" if message.outcome == "delivered" else f" [{message.outcome}{expires}]"
    state += "" if message.reply_to is None else f" [answers {short_id(message.reply_to)}]"
    word = "" if message.feedback is None else f" [{message.feedback.replace('_', ' ')}]"
    when = utc_time((message.delivered_at or message.at) // 1000)
    return f"{short_id(message.id)}  {when}  {who} ({about}){state}{word}: {text}{beside}"


@wallet.command()
@click.argument("connection")
@click.option("--jwt", is_flag=True, help="Print the tokens themselves.")
@json_option
@connection_command
async def tokens(wallet: Wallet, party: Connection, jwt: bool, as_json: bool) -> None:
    """Show the permissions of both sides of CONNECTION, checked against the server's status list."""
    found = await party.tokens()
    if as_json:
        print_json(found)
        return
    for token in found:
        say(token.jwt if jwt else _token_line(party, token))
    if not found:
        say("Nothing is allowed in either direction.")


def _token_line(party: Connection, token: Token) -> str:
    who = f"{party.name} may contact you" if token.by == "me" else f"you may contact {party.name}"
    what = f"for {', '.join(token.purposes)} by {', '.join(token.channels)}"
    return f"{short_id(token.id)}  {who} {what}, until {utc_time(token.exp)} ({_STATUS[token.status]})"


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
@connection_command
async def receipt(wallet: Wallet, party: Connection, act: str, delivery: bool, out: Path | None) -> None:
    """Print the receipt of ACT, of either side: the proof that it is in the log."""
    known = find_id([line.act.id for line in party.records if line.act is not None], act, "act")
    text = await party.receipt(known, delivery=delivery)
    if out is None:
        click.echo(text, nl=False)
        return
    _write_new_file(out, text)
    say(f"The receipt is in {out}.")


def _write_new_file(out: Path, text: str) -> None:
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
@wallet_command
async def export(wallet: Wallet) -> None:
    """Print everything in the wallet except private keys, as JSON, with the receipts of all acts."""
    faults, missing = Faults(), 0
    with faults.collect():
        missing = await wallet.fetch_receipts()
    print_json(wallet.export())
    if missing:
        say(
            f"Note: {missing} acts or deliveries have no receipt: the log does not cover them yet, or is lost.",
            err=True,
        )
    faults.raise_first()


for module in (acts, feedback, rules, show, unlock, wallet_away):
    wallet.commands.update(module.group.commands)
