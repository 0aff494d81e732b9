"""`comity token`: checks offline whether a consent token is valid."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import click

from comity.crypto.keys import PublicKey, did_of_kid, key_of_kid, keys_of_document
from comity.documents.agreements import SignedAgreement, open_agreement
from comity.documents.events import SignedEvent
from comity.documents.offers import HomeParty
from comity.documents.status_lists import MOST_LIST_BYTES, SignedStatusList, open_home_list
from comity.documents.types import Channel
from comity.encoding import MAX_BODY, parse_object
from comity.errors import Malformed
from comity.rules.consent_tokens import TokenReason, TokenVerdict, check_token, open_grant
from comity.transparency.checkpoints import NO_WITNESSES
from comity.transparency.notes import VerifierKey
from comity.transparency.receipts import Receipt
from comity.transparency.server_keys import HomeKeys, open_home_event
from comity_tools.cli.audit.receipt import UsageFault, fail, fail_if_invalid, read_file, read_receipt, vkey_option
from comity_tools.cli.audit.server_keys import read_home_keys
from comity_tools.cli.groups import Sections
from comity_tools.cli.json_output import failure_as_json, json_option, print_json
from comity_tools.cli.text import say, utc_time

REASONS: dict[TokenReason, str] = {
    "granted": "the token is valid",
    "wrong_audience": "the token was given to another party",
    "not_accepted": "nothing proves that the server accepted the token",
    "expired": "the token has expired",
    "no_grant": "the token does not cover this purpose and channel",
    "list_missing": "the status list is not the one that the token names, or its home server did not sign it",
    "list_out_of_date": "the status list is out of date: fetch it again",
    "invalid": "the token was withdrawn or replaced, or the connection has ended",
    "ask": "a mute, a contest or a topic may forbid it: ask the server",
}
"""Each reason of a verdict, in words (GRANT-9)."""

_file = click.Path(path_type=Path)


@click.group(cls=Sections)
def token() -> None:
    """Check a consent token that you were given."""


@token.command()
@click.argument("file", type=_file)
@click.option("--audience", required=True, metavar="DID", help="Who wants to make contact.")
@click.option("--purpose", required=True, help="The purpose of the contact.")
@click.option(
    "--channel",
    type=click.Choice(get_args(Channel)),
    default="app",
    show_default=True,
    help="The channel of the contact.",
)
@click.option("--status-list", type=_file, metavar="FILE", required=True, help="The status list that the token names.")
@click.option(
    "--document",
    "documents",
    type=_file,
    metavar="FILE",
    multiple=True,
    help="The did:web document of a business that gave the token. May be repeated.",
)
@click.option(
    "--home-key",
    "home_key",
    metavar="KID[=KEY]",
    help="The home server's key that you trust; needed without --agreement. Add =KEY if KID does not end in the key.",
)
@click.option(
    "--home-keys",
    "home_keys",
    type=_file,
    metavar="FILE",
    help="The home server's list of its keys (/.well-known/comity/keys); needed if it has changed its key.",
)
@click.option("--receipt", type=_file, metavar="FILE", help="The token's receipt (.tlog-proof).")
@vkey_option
@click.option("--acceptance", type=_file, metavar="FILE", help="The signed acceptance, if there is no receipt yet.")
@click.option("--agreement", type=_file, metavar="FILE", help="The agreement (JSON).")
@click.option(
    "--at",
    "at_time",
    type=click.DateTime(),
    metavar="YYYY-MM-DD[THH:MM:SS]",
    help="Check for this time (UTC) instead of now.",
)
@json_option
def verify(
    file: Path,
    audience: str,
    purpose: str,
    channel: str,
    status_list: Path,
    documents: tuple[Path, ...],
    home_key: str | None,
    home_keys: Path | None,
    receipt: Path | None,
    vkey: VerifierKey | None,
    acceptance: Path | None,
    agreement: Path | None,
    at_time: datetime | None,
    as_json: bool,
) -> None:
    """Check the consent token in FILE offline: may AUDIENCE contact its giver for PURPOSE by CHANNEL?

    A token is valid only with its receipt (--receipt, --vkey) or, if there is none yet, with the acceptance and the
    agreement. The home server's key is the one in the agreement, or the one given with --home-key.

    Exit code: 0 for yes, 1 for no, 2 if something is missing or cannot be read.
    """
    with failure_as_json(as_json):
        _check_options(receipt, vkey, acceptance, agreement, home_key)
        find_key = _find_keys(documents)
        proof = None if receipt is None else read_receipt(receipt, vkey, NO_WITNESSES)
        signed_agreement = None if agreement is None else _read_agreement(agreement)
        pinned = _parse_home_key(home_key) if signed_agreement is None else signed_agreement.agreement.home
        keys = read_home_keys(home_keys, pinned, vkey)
        signed_acceptance = None if acceptance is None else _read_acceptance(acceptance, keys)
        now = int((at_time.replace(tzinfo=UTC) if at_time else datetime.now(UTC)).timestamp())
        raw = read_file(file, MAX_BODY + 2).strip()
        with fail_if_invalid(f"the token in {file}"):
            listed = _read_status_list(status_list, raw, find_key, keys, signed_agreement)
            question = {"audience": audience, "purpose": purpose, "channel": channel, "now": now, "status_list": listed}
            proofs = {
                "acceptance": signed_acceptance,
                "agreement": signed_agreement,
                "receipt": proof,
                "find_key": find_key,
            }
            verdict = _require_allowed(check_token(raw, **question, **proofs))  # type: ignore[arg-type]
    result = _as_json(verdict, proof, listed)
    print_json(result) if as_json else _print_verdict(
        verdict, audience, purpose, channel, proof, listed, now if at_time else None
    )


def _require_allowed(verdict: TokenVerdict) -> TokenVerdict:
    if not verdict.allowed:
        fail(f"no: {REASONS[verdict.reason]} ({verdict.reason})")
    return verdict


def _check_options(
    receipt: Path | None,
    vkey: VerifierKey | None,
    acceptance: Path | None,
    agreement: Path | None,
    home_key: str | None,
) -> None:
    """Raises UsageFault if the options cannot prove that the token was accepted, or who signed its status list."""
    if receipt is None and (acceptance is None or agreement is None):
        raise UsageFault("a token alone proves nothing: give --receipt and --vkey, or --acceptance and --agreement")
    if receipt is None and vkey is not None:
        raise UsageFault("--vkey is for a receipt: give --receipt too, or leave out --vkey")
    if agreement is None and home_key is None:
        raise UsageFault("the home server's key is missing: give --agreement or --home-key")


def _as_json(verdict: TokenVerdict, proof: Receipt | None, listed: SignedStatusList) -> dict[str, Any]:
    entry = None if proof is None else {"log": proof.checkpoint.origin, "index": proof.index}
    grant = verdict.grant
    return {"ok": True, "giver": grant.iss, "until": grant.exp, "entry": entry, "as_of": listed.claims.iat}


def _print_verdict(
    verdict: TokenVerdict,
    audience: str,
    purpose: str,
    channel: str,
    proof: Receipt | None,
    listed: SignedStatusList,
    at: int | None,
) -> None:
    say(f"Yes: {audience} may make contact for {purpose} by {channel}, until {utc_time(verdict.grant.exp)}.")
    if at is not None:
        say(f"  at        {utc_time(at)} (--at), not now")
    say(f"  giver     {verdict.grant.iss}")
    if proof is not None:
        say(f"  receipt   entry {proof.index} of {proof.checkpoint.origin}: its server accepted exactly this token")
    else:
        say("  accepted  the home server signed the acceptance; there is no receipt yet")
    say(f"  status    as of {utc_time(listed.claims.iat)}; valid for a contact made at once, not later")


def _find_keys(documents: tuple[Path, ...]) -> Callable[[str], PublicKey | None]:
    """Finds keys in did:web documents; a did:key contains its key."""
    found: dict[str, PublicKey] = {}
    for path in documents:
        data = read_file(path, MAX_BODY)
        with fail_if_invalid(f"the document in {path}"):
            document = parse_object(data)
            found |= keys_of_document(str(document.get("id")), document)
    return lambda kid: found.get(kid) or key_of_kid(kid)


def _read_agreement(path: Path) -> SignedAgreement:
    data = read_file(path, MAX_BODY)
    with fail_if_invalid(f"the agreement in {path}"):
        return open_agreement(data)


def _read_acceptance(path: Path, keys: HomeKeys) -> SignedEvent:
    data = read_file(path, MAX_BODY + 2).strip()
    with fail_if_invalid(f"the acceptance in {path}"):
        return open_home_event(data, keys)


def _parse_home_key(text: str | None) -> HomeParty:
    """The home server's key in an option. Raises UsageFault."""
    kid, _, key = (text or "").partition("=")
    try:
        return HomeParty(did=did_of_kid(kid), kid=kid, key=key or kid.rpartition("#")[2])
    except (Malformed, ValueError):
        raise UsageFault(
            "--home-key must be the name of a did:web key, with =KEY after it if the name does not end in the key"
        ) from None


def _read_status_list(
    path: Path,
    token: bytes,
    find_key: Callable[[str], PublicKey | None],
    keys: HomeKeys,
    signed_agreement: SignedAgreement | None,
) -> SignedStatusList:
    """The status list in a file, checked to be the one that the token names."""
    data = read_file(path, MOST_LIST_BYTES + 2).strip()
    parties = (
        () if signed_agreement is None else (signed_agreement.agreement.offerer, signed_agreement.agreement.accepter)
    )
    agreed_keys = {party.kid: PublicKey.of_multibase(party.key) for party in parties}
    grant = open_grant(token, lambda kid: agreed_keys.get(kid) or find_key(kid))
    uri = grant.payload.status.status_list.uri  # type: ignore[union-attr]
    with fail_if_invalid(f"the status list in {path}"):
        return open_home_list(data, uri, keys)
