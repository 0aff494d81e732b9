"""`comity receipt`: checks offline what a receipt proves, with nothing but the log's key."""

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
from comity.transparency.checkpoints import Policy, count_witnesses
from comity.transparency.entries import MINUTE, Kind, entry_of_act, entry_of_delivery, entry_tag
from comity.transparency.notes import COSIGNATURE, ED25519, VerifierKey, parse_vkey
from comity.transparency.receipts import MOST_RECEIPT, Receipt, open_receipt
from comity_tools.cli.groups import Sections
from comity_tools.cli.json_output import failure_as_json, json_option, print_json
from comity_tools.cli.text import plain, say, utc_time

KINDS: dict[Kind, str] = {
    Kind.ACT: "an act",
    Kind.MUTE_ALL: "a mute of everything",
    Kind.MUTE_PART: "a mute of some purposes or channels",
    Kind.UNMUTE: "the end of a mute of everything, or of all mutes",
    Kind.REVOKE: "the end of a connection",
    Kind.DELIVERED: "the delivery of a message",
    Kind.DELIVERED_EXEMPT: "the delivery of a message that mutes do not stop",
    Kind.ERASED: "an erased entry",
    Kind.KEY: "the key of a business or a server",
    Kind.PRIVATE: "a private setting",
    Kind.MUTE_OVER: "the expiry of a mute of everything, noted at a delivery",
    Kind.UNMUTE_PART: "the end of a mute of some purposes or channels",
    Kind.DISCLOSED: "a copy of a connection's records that the server gave to somebody",
    Kind.CONTEST: "a contest: a message was not what its sender called it",
    Kind.NOTICE: "a notice that a business published",
}
"""Each kind of entry, in words."""
_MOST_KEY = 1024
_MOST_SHOWN = 200


class UsageFault(click.ClickException):
    """An argument that cannot be used: one line, exit code 2."""

    exit_code = 2


def fail(why: str) -> NoReturn:
    """Ends the command with the reason in one line and exit code 1."""
    raise click.ClickException(" ".join(plain(why).split()))


@contextmanager
def fail_if_invalid(what: str) -> Iterator[None]:
    """Ends the command with one line if the text that is opened inside is not valid."""
    try:
        yield
    except Refused as fault:
        fail(f"{what} is not valid: {fault.detail or fault.title.rstrip('.')}")


def read_file(path: Path, most: int) -> bytes:
    """The content of a file. Raises UsageFault if it cannot be read or is longer than `most` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as fault:
        raise UsageFault(f"{path} cannot be read: {fault.strerror}") from None
    if len(data) > most:
        raise UsageFault(f"{path} is too large: more than {most} bytes")
    return data


def key_option(kind: int) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A click callback for an option whose values are verifier keys of that kind, or files with one."""

    def read(text: str) -> VerifierKey:
        try:
            key = parse_vkey(text.strip())
        except Malformed:
            try:
                key = parse_vkey(read_file(Path(text), _MOST_KEY).decode("utf-8").strip())
            except (UsageFault, Malformed, ValueError):
                shown = plain(text) if 0 < len(text) <= _MOST_SHOWN else "the value" if text else "an empty text"
                raise UsageFault(f"{shown} is neither a verifier key nor a file with one") from None
        if key.kind != kind:
            wanted = (
                "a log's key is needed, not a witness's"
                if kind == ED25519
                else "a witness's key is needed, not a log's"
            )
            raise UsageFault(f"{key.name} is a key of the wrong kind: {wanted}")
        return key

    def convert(_context: click.Context, _option: click.Parameter, value: Any) -> Any:
        return tuple(map(read, value)) if isinstance(value, tuple) else None if value is None else read(value)

    return convert


def witness_policy(witnesses: tuple[VerifierKey, ...], cosignatures: int | None) -> Policy:
    """The policy that so many of these witnesses must have cosigned; all if no number is given. Raises UsageFault."""
    least = len(witnesses) if cosignatures is None else cosignatures
    if least > count_witnesses(witnesses):
        raise UsageFault(f"--cosignatures is {least}, but only {len(witnesses)} witnesses are given (--witness)")
    return Policy(least, witnesses)


witness_option = click.option(
    "--witness",
    "witnesses",
    metavar="VKEY|FILE",
    multiple=True,
    callback=key_option(COSIGNATURE),
    help="The key of a witness that you trust. May be repeated.",
)
cosignatures_option = click.option(
    "--cosignatures",
    metavar="K",
    type=click.IntRange(0),
    help="How many of these witnesses must have cosigned. Default: all.",
)
vkey_option = click.option("--vkey", metavar="VKEY|FILE", callback=key_option(ED25519), help="The log's verifier key.")


@click.group(cls=Sections)
def receipt() -> None:
    """Check a receipt: the proof that an act is in a log."""


@receipt.command()
@click.argument("file", type=click.Path(path_type=Path))
@vkey_option
@click.option("--act", type=click.Path(path_type=Path), metavar="FILE", help="The act (.jws) that the receipt is for.")
@click.option("--tag-key", metavar="KEY", help="The tag key (base64url) of the act's connection.")
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
    """Check the receipt in FILE (.tlog-proof) offline, and show what it proves and what it does not.

    Exit code: 0 if the receipt is valid, 1 if it is not, 2 if a file cannot be read or an option is wrong.
    """
    with failure_as_json(as_json):
        policy = witness_policy(witnesses, cosignatures)
        proof = read_receipt(file, vkey, policy)
        if proof.opening.at // MINUTE != proof.entry.time:
            fail("the minute in the log is not the minute of the act")
        signed = None if act is None else _match_act(proof, act)
        if tag_key is not None and entry_tag(_tag_key(tag_key), proof.entry.time * MINUTE) != proof.entry.tag:
            fail("the receipt does not belong to the connection with that tag key")
    if as_json:
        print_json(_as_json(proof, act, signed, tag_key is not None, policy))
        return
    say("The receipt is valid. It proves:")
    for line in _proof_lines(proof, act, signed, tag_key is not None):
        say(f"  {line}")
    say("It does not prove:")
    for line in _unproved_lines(proof, act, signed, tag_key is not None, policy):
        say(f"  {line}")


def _as_json(
    proof: Receipt, act: Path | None, signed: SignedAct | None, tagged: bool, policy: Policy
) -> dict[str, Any]:
    """The proved facts as JSON values; the unproved ones in words."""
    entry, tree = proof.entry, proof.checkpoint
    return {
        "ok": True,
        "log": tree.origin,
        "size": tree.size,
        "index": proof.index,
        "kind": entry.kind.name.lower(),
        "side": entry.side,
        "minute": entry.time * 60,
        "until": entry.until * 3600 if entry.until else None,
        "at": None if act is None else proof.opening.at,
        "signed_by": None if signed is None else signed.payload.iss,
        "tagged": tagged,
        "witnesses": {key.name: time for key, time in tree.cosigned.items()},
        "not_proved": _unproved_lines(proof, act, signed, tagged, policy),
    }


def read_receipt(file: Path, vkey: VerifierKey | None, policy: Policy) -> Receipt:
    """The receipt in a file. Ends the command if it is not valid."""
    if vkey is None:
        raise UsageFault("the key of the log is missing: give --vkey")
    data = read_file(file, MOST_RECEIPT)
    with fail_if_invalid(f"the receipt in {file}"):
        return open_receipt(data, vkey, policy)


def _match_act(proof: Receipt, path: Path) -> SignedAct | None:
    """The act that the receipt is for, with its signature checked; None if the act's key is not known here (only a
    did:key contains its key). Ends the command if the receipt is for something else, if the act's signature is not
    valid, or if the log's entry does not follow from the act (LOG-11)."""
    data, entry, opening = read_file(path, MAX_BODY + 2).strip(), proof.entry, proof.opening
    if not proof.is_of(data):
        fail(f"the receipt is not for {path}")
    if entry.kind is Kind.KEY:
        # A statement of the server, which has no signature of its own.
        return None
    try:
        act = open_act(data, key_of_kid)
    except Refused as fault:
        if fault.code == "unknown_key":
            return None
        fail(f"the act in {path} is not valid: {fault.detail or fault.title.rstrip('.')}")
    side = entry.side or "first"
    if act.kind == "message" and entry.kind in (Kind.DELIVERED, Kind.DELIVERED_EXEMPT):
        purpose: str = getattr(act.payload, "purpose", "")
        expected = entry_of_delivery(act.raw, purpose, side, b"", opening.salt, opening.at)
    else:
        expected = entry_of_act(act, side, b"", opening.salt, opening.at)
        if entry.kind is Kind.UNMUTE_PART and isinstance(act.payload, Unmute) and act.payload.mute is not None:
            # Only the named mute, which is not given here, shows whether it was a mute of a part.
            expected = expected._replace(kind=entry.kind)
    if expected._replace(tag=entry.tag) != entry:
        fail("the log's entry does not match the act")
    return act


def _tag_key(text: str) -> bytes:
    try:
        key = b64u_decode(text)
    except Malformed:
        key = b""
    if len(key) != 32:
        raise UsageFault("--tag-key must be 32 bytes in base64url")
    return key


def _proof_lines(proof: Receipt, act: Path | None, signed_act: SignedAct | None, tagged: bool) -> list[str]:
    entry, signed = proof.entry, proof.checkpoint
    side = "" if entry.side is None else f" of the {entry.side} side"
    lines = [
        f"log      {signed.origin} signed a tree of {signed.size} entries; this is entry {proof.index}",
        f"entry    {KINDS[entry.kind]}{side}, in the minute of {utc_time(entry.time * 60)}",
    ]
    if entry.until:
        lines.append(f"until    at least {utc_time(entry.until * 3600)}")
    if act is not None:
        lines.append(f"act      {act} is exactly the act in the log, accepted at {_exact_time(proof.opening.at)}")
    if signed_act is not None:
        lines.append(f"signed   by {signed_act.payload.iss}")
    if tagged:
        lines.append("tag      the act belongs to the connection with that tag key")
    for key, time in sorted(signed.cosigned.items(), key=lambda it: it[0].text):
        lines.append(f"witness  {key.name} cosigned this tree on {utc_time(time)}")
    return lines


def _exact_time(at: int) -> str:
    """A time in milliseconds, to the millisecond."""
    try:
        return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%d %H:%M:%S}.{at % 1000:03} UTC"
    except (ValueError, OverflowError, OSError):
        return utc_time(at // 1000)


def _unproved_lines(
    proof: Receipt, act: Path | None, signed_act: SignedAct | None, tagged: bool, policy: Policy
) -> list[str]:
    lines = []
    if act is None:
        lines.append("which act it is, or its exact time: no --act was given")
    elif signed_act is None:
        lines.append("who signed the act: check the signature of the act itself")
    if not tagged:
        lines.append("which connection it belongs to: that takes the connection's tag key (--tag-key)")
    if not proof.checkpoint.cosigned:
        reason = "no --witness was given" if not policy.witnesses else "none of the given witnesses did"
        lines.append(f"that everybody is shown the same log: no witness cosigned it ({reason})")
    is_named = signed_act is not None and isinstance(signed_act.payload, Unmute) and signed_act.payload.mute is not None
    claim = "that the kind and the side are" if signed_act is None or is_named else "that the side is"
    lines.append(f"{claim} true: the log states it, and an auditor can compare it with the connection")
    return lines
