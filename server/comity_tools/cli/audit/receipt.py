"""`comity receipt`: what a receipt proves, checked offline with nothing but the log's key."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from comity.crypto.keys import key_of_kid
from comity.documents.acts import SignedAct, Unmute, open_act
from comity.encoding import MAX_BODY, b64u_decode
from comity.errors import Malformed, Refused
from comity.transparency.checkpoints import Policy, witnesses_in
from comity.transparency.entries import MINUTE, Kind, entry_of_act, entry_of_delivery, tag
from comity.transparency.notes import COSIGNATURE, ED25519, VerifierKey, read_vkey
from comity.transparency.receipts import MOST_RECEIPT, Receipt, open_receipt
from comity_tools.cli.json_output import failure_as_json, json_option, say_json
from comity_tools.cli.wallet.session import day, plain, say

KINDS: dict[Kind, str] = {
    Kind.ACT: "an act",
    Kind.MUTE_ALL: "a mute of everything",
    Kind.MUTE_PART: "a mute of some purposes or channels",
    Kind.UNMUTE: "the end of a mute of everything, or of all mutes",
    Kind.REVOKE: "the end of a connection",
    Kind.DELIVERED: "the delivery of a message",
    Kind.DELIVERED_EXEMPT: "the delivery of a message that no mute stops",
    Kind.ERASED: "something that was erased",
    Kind.KEY: "the key of a business",
    Kind.PRIVATE: "a setting, between one side and its server",
    Kind.MUTE_OVER: "that a mute of everything was over when something was delivered",
    Kind.UNMUTE_PART: "the end of a mute of some purposes or channels",
    Kind.DISCLOSED: "that the server made a copy of a connection for somebody",
    Kind.CONTEST: "that a message was not what its sender called it",
    Kind.NOTICE: "a notice that a business published",
}
"""What the log says of an entry, in words."""
_MOST_KEY = 1024
_MOST_SHOWN = 200


class Unusable(click.ClickException):
    """What was given cannot be used at all: told in one line, with exit code 2."""

    exit_code = 2


def does_not_hold(why: str) -> NoReturn:
    """Ends the command with the reason, in one line, and exit code 1."""
    raise click.ClickException(" ".join(plain(why).split()))


@contextmanager
def held(what: str) -> Iterator[None]:
    """Tells in one line of a text that does not hold."""
    try:
        yield
    except Refused as fault:
        does_not_hold(f"{what} does not hold: {fault.detail or fault.title.rstrip('.')}")


def content(path: Path, most: int) -> bytes:
    """A file, whole. Raises Unusable where it is not there, is no file, or is longer than any text of its kind."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as fault:
        raise Unusable(f"{path} cannot be read: {fault.strerror}") from None
    if len(data) > most:
        raise Unusable(f"{path} is too large to be one: more than {most} bytes")
    return data


def key_option(kind: int) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Reads an option that is a verifier key of that kind, or a file with one; or several of them."""

    def read(text: str) -> VerifierKey:
        try:
            key = read_vkey(text.strip())
        except Malformed:
            try:
                key = read_vkey(content(Path(text), _MOST_KEY).decode("utf-8").strip())
            except (Unusable, Malformed, ValueError):
                shown = plain(text) if 0 < len(text) <= _MOST_SHOWN else "what was given" if text else "an empty text"
                raise Unusable(f"{shown} is no verifier key, nor a file with one") from None
        if key.kind != kind:
            raise Unusable(f"{key.name} is a key of the other kind: logs and witnesses have their own")
        return key

    def convert(_context: click.Context, _option: click.Parameter, value: Any) -> Any:
        return tuple(map(read, value)) if isinstance(value, tuple) else None if value is None else read(value)

    return convert


def policy_of(witnesses: tuple[VerifierKey, ...], cosignatures: int | None) -> Policy:
    """How many of which witnesses: all of them where no number is given. Raises Unusable."""
    least = len(witnesses) if cosignatures is None else cosignatures
    if least > witnesses_in(witnesses):
        raise Unusable(f"{least} cosignatures cannot come from {len(witnesses)} witnesses")
    return Policy(least, witnesses)


witness_option = click.option(
    "--witness",
    "witnesses",
    metavar="VKEY|FILE",
    multiple=True,
    callback=key_option(COSIGNATURE),
    help="The key of a witness that counts; may be repeated.",
)
cosignatures_option = click.option(
    "--cosignatures", metavar="K", type=click.IntRange(0), help="How many of them must have cosigned; else all."
)
vkey_option = click.option("--vkey", metavar="VKEY|FILE", callback=key_option(ED25519), help="The log's key.")


@click.group()
def receipt() -> None:
    """Receipts: the proof that an act stands in a log."""


@receipt.command()
@click.argument("file", type=click.Path(path_type=Path))
@vkey_option
@click.option("--act", type=click.Path(path_type=Path), metavar="FILE", help="The act (.jws) that it should be of.")
@click.option("--tag-key", metavar="KEY", help="The tag key (base64url) of the connection that it should belong to.")
@witness_option
@cosignatures_option
@json_option
def verify(
    file: Path,
    vkey: VerifierKey | None,
    act: Path | None,
    tag_key: str | None,
    witnesses: tuple[VerifierKey, ...],
    cosignatures: int | None,
    as_json: bool,
) -> None:
    """Check the receipt in FILE (.tlog-proof) offline, and say what it proves and what it does not.

    Exits with 0 if it holds, with 1 if it does not, with 2 if it cannot be read or was not asked rightly.
    """
    with failure_as_json(as_json):
        policy = policy_of(witnesses, cosignatures)
        found = opened_receipt(file, vkey, policy)
        if found.opening.at // MINUTE != found.entry.time:
            does_not_hold("the log says another minute than was committed to")
        signed = None if act is None else _held_against(found, act)
        if tag_key is not None and tag(_tag_key(tag_key), found.entry.time * MINUTE) != found.entry.tag:
            does_not_hold("the receipt does not belong to the connection with that tag key")
    if as_json:
        say_json(_as_json(found, act, signed, tag_key is not None, policy))
        return
    say("The receipt holds. It proves:")
    for line in _proved(found, act, signed, tag_key is not None):
        say(f"  {line}")
    say("It does not prove:")
    for line in _unproved(found, act, signed, tag_key is not None, policy):
        say(f"  {line}")


def _as_json(
    found: Receipt, act: Path | None, signed: SignedAct | None, tagged: bool, policy: Policy
) -> dict[str, Any]:
    """What the receipt proves, and in words what it does not."""
    entry, tree = found.entry, found.checkpoint
    return {
        "ok": True,
        "log": tree.origin,
        "size": tree.size,
        "index": found.index,
        "kind": entry.kind.name.lower(),
        "side": entry.side,
        "minute": entry.time * 60,
        "until": entry.until * 3600 if entry.until else None,
        "at": None if act is None else found.opening.at,
        "signed_by": None if signed is None else signed.payload.iss,
        "tagged": tagged,
        "witnesses": {key.name: time for key, time in tree.cosigned.items()},
        "not_proved": _unproved(found, act, signed, tagged, policy),
    }


def opened_receipt(file: Path, vkey: VerifierKey | None, policy: Policy) -> Receipt:
    """The receipt in a file; one that does not hold ends the command."""
    if vkey is None:
        raise Unusable("a receipt is checked under the key of its log: give --vkey")
    data = content(file, MOST_RECEIPT)
    with held(f"the receipt in {file}"):
        return open_receipt(data, vkey, policy)


def _held_against(found: Receipt, path: Path) -> SignedAct | None:
    """The act that the receipt is of, where its key is in its own name (a did:key); else nothing but that it is the
    one. An act that it is not of, that was not signed as it says, or of which the log says something else, ends the
    command (LOG-11)."""
    data, entry, opening = content(path, MAX_BODY + 2).strip(), found.entry, found.opening
    if not found.is_of(data):
        does_not_hold(f"the receipt is of something else than {path}")
    if entry.kind is Kind.KEY:
        # A statement of a server's, which nobody signs.
        return None
    try:
        act = open_act(data, key_of_kid)
    except Refused as fault:
        if fault.code == "unknown_key":
            return None
        does_not_hold(f"the act in {path} does not hold: {fault.detail or fault.title.rstrip('.')}")
    side = entry.side or "first"
    if act.kind == "message" and entry.kind in (Kind.DELIVERED, Kind.DELIVERED_EXEMPT):
        purpose: str = getattr(act.payload, "purpose", "")
        follows = entry_of_delivery(act.raw, purpose, side, b"", opening.salt, opening.at)
    else:
        follows = entry_of_act(act, side, b"", opening.salt, opening.at)
        if entry.kind is Kind.UNMUTE_PART and isinstance(act.payload, Unmute) and act.payload.mute is not None:
            # Whether the mute that it names was of a part stands in that mute, which is not here.
            follows = follows._replace(kind=entry.kind)
    if follows._replace(tag=entry.tag) != entry:
        does_not_hold("the log says something else of this act than follows from it")
    return act


def _tag_key(text: str) -> bytes:
    try:
        key = b64u_decode(text)
    except Malformed:
        key = b""
    if len(key) != 32:
        raise Unusable("a tag key is 32 bytes in base64url")
    return key


def _proved(found: Receipt, act: Path | None, signed_act: SignedAct | None, tagged: bool) -> list[str]:
    entry, signed = found.entry, found.checkpoint
    side = "" if entry.side is None else f" of the {entry.side} side"
    lines = [
        f"log      {signed.origin} signed a tree of {signed.size} entries, and this is number {found.index} of it",
        f"entry    {KINDS[entry.kind]}{side}, in the minute of {day(entry.time * 60)}",
    ]
    if entry.until:
        lines.append(f"until    at least {day(entry.until * 3600)}")
    if act is not None:
        lines.append(f"act      {act} is, byte by byte, what was committed to, for {_moment(found.opening.at)}")
    if signed_act is not None:
        lines.append(f"signed   by {signed_act.payload.iss}")
    if tagged:
        lines.append("tag      it belongs to the connection with that tag key")
    for key, time in sorted(signed.cosigned.items(), key=lambda it: it[0].text):
        lines.append(f"witness  {key.name} cosigned that tree on {day(time)}")
    return lines


def _moment(at: int) -> str:
    """A time in milliseconds, to the millisecond."""
    try:
        return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%d %H:%M:%S}.{at % 1000:03} UTC"
    except (ValueError, OverflowError, OSError):
        return day(at // 1000)


def _unproved(
    found: Receipt, act: Path | None, signed_act: SignedAct | None, tagged: bool, policy: Policy
) -> list[str]:
    lines = []
    if act is None:
        lines.append("which act it is, nor its time to the millisecond: no --act was given")
    elif signed_act is None:
        lines.append("who signed the act: that is for its own signature to say")
    if not tagged:
        lines.append("which connection it belongs to: only who has its tag key can tell")
    if not found.checkpoint.cosigned:
        named = "none was asked for" if not policy.witnesses else "none that was named did"
        lines.append(f"that everybody is shown the same log: no witness cosigned ({named})")
    is_named = signed_act is not None and isinstance(signed_act.payload, Unmute) and signed_act.payload.mute is not None
    word = "that kind and side are" if signed_act is None or is_named else "that the side is"
    lines.append(f"{word} true: that is the log's word, which an auditor can hold against the connection")
    return lines
