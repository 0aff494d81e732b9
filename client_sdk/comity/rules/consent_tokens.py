"""Checks a consent token offline (spec/grant.md, section "Offline").

A business, or its mail provider, needs no network and no state of the connection: only the token, a status list, and
evidence that the grant was accepted. The evidence is its receipt, or the signed acceptance with the agreement.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from comity.crypto.jws import FindKey, OpenedJws, no_other_keys, open_jws
from comity.crypto.keys import PublicKey, did_of_host
from comity.documents.acts import GRANT_TYP, Grant, SignedAct, parse_verified_payload
from comity.documents.agreements import SignedAgreement
from comity.documents.events import Accepted, SignedEvent
from comity.documents.status_lists import GrantStatus, SignedStatusList
from comity.documents.types import Side, covers
from comity.transparency.checkpoints import SignedCheckpoint
from comity.transparency.entries import MINUTE, Kind, LogEntry

TokenReason = Literal[
    "granted",
    "wrong_audience",
    "no_grant",
    "expired",
    "not_accepted",
    "list_missing",
    "list_out_of_date",
    "invalid",
    "ask",
]
"""Why a token is valid or not; every reason but `granted` means no (GRANT-9)."""


_GRANT_TYPS = frozenset({GRANT_TYP})


class CommitmentOpening(Protocol):
    """The values that open an entry's commitment; `comity.transparency.receipts.Opening` is one."""

    @property
    def at(self) -> int:
        """The time (ms) in the commitment."""
        ...


class LoggedEntry(Protocol):
    """The contents of a valid receipt; `comity.transparency.receipts.Receipt` is one."""

    @property
    def index(self) -> int:
        """The index of the entry in the log."""
        ...

    @property
    def entry(self) -> LogEntry:
        """The entry."""
        ...

    @property
    def opening(self) -> CommitmentOpening:
        """The values that open its commitment."""
        ...

    @property
    def checkpoint(self) -> SignedCheckpoint:
        """The checkpoint that covers it."""
        ...

    def is_of(self, data: bytes) -> bool:
        """True if the commitment is about these bytes."""
        ...


@dataclass(frozen=True, slots=True)
class TokenVerdict:
    """True if the token allows its audience this purpose and channel, and the reason."""

    allowed: bool
    reason: TokenReason
    grant: Grant


def open_grant(raw: str | bytes, find_key: FindKey = no_other_keys) -> SignedAct:
    """Parses and verifies a consent token. A did:key issuer is its own key; `find_key` finds every other one.

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature").
    """
    jws = open_jws(raw, _GRANT_TYPS, find_key)
    return SignedAct(jws.raw, jws.id, jws.header.kid, jws.key, _parse_grant(jws))


def _parse_grant(jws: OpenedJws) -> Grant:
    payload = parse_verified_payload(jws)
    assert isinstance(payload, Grant)
    return payload


def check_token(
    raw: str | bytes,
    *,
    audience: str,
    purpose: str,
    channel: str,
    now: int,
    status_list: SignedStatusList | None,
    acceptance: SignedEvent | None = None,
    agreement: SignedAgreement | None = None,
    receipt: LoggedEntry | None = None,
    find_key: FindKey = no_other_keys,
) -> TokenVerdict:
    """Decides from these documents alone whether `audience` may use the token for `purpose` by `channel` at `now` (s)
    (GATE-18). The answer is for immediate use (GRANT-10).

    `status_list` is the verified list that the token names; without it, or if it is outdated, the answer is no. Anybody
    can sign a grant, an acceptance and a list under keys of their own. So the answer also is no without one of these:
    the verified `receipt`, from a log whose key the caller trusts; or, until there is one, both the `acceptance` (the
    home server's event about this act) and the `agreement`, which names the home server (GRANT-8, GRANT-11). `find_key`
    knows later keys of a did:web grantor than the agreement. Raises Malformed and Refused as `open_grant` does, and
    Malformed for an index outside the list.
    """
    jws = open_jws(raw, _GRANT_TYPS, _agreed_key(agreement, find_key))
    grant = _parse_grant(jws)

    def no(reason: TokenReason) -> TokenVerdict:
        return TokenVerdict(False, reason, grant)

    if grant.aud != audience:
        return no("wrong_audience")
    if not _is_accepted(jws, grant, acceptance, agreement, receipt):
        return no("not_accepted")
    if now >= grant.exp:
        return no("expired")
    if channel not in grant.channels or not any(covers(granted, purpose) for granted in grant.purposes):
        return no("no_grant")
    reference = grant.status.status_list
    if status_list is None or status_list.claims.sub != reference.uri:
        return no("list_missing")
    # Only the home server's list counts: any did:key can sign a list for that URL.
    issuer = status_list.claims.iss
    if acceptance is not None and issuer != acceptance.event.iss:
        return no("list_missing")
    if receipt is not None and not is_log_of(receipt.checkpoint.origin, issuer):
        return no("list_missing")
    if not status_list.is_current(now):
        return no("list_out_of_date")
    value = status_list.at(reference.idx)
    if value != GrantStatus.VALID:
        return no("ask" if value == GrantStatus.ASK else "invalid")
    return TokenVerdict(True, "granted", grant)


def _agreed_key(agreement: SignedAgreement | None, find_key: FindKey) -> FindKey:
    """A finder for the key of a did:web grantor: the one in the agreement, or a later one that the caller knows."""
    if agreement is None:
        return find_key
    parties = (agreement.agreement.offerer, agreement.agreement.accepter)
    agreed = {party.kid: PublicKey.of_multibase(party.key) for party in parties}
    return lambda kid: agreed.get(kid) or find_key(kid)


def _is_accepted(
    jws: OpenedJws,
    grant: Grant,
    acceptance: SignedEvent | None,
    agreement: SignedAgreement | None,
    receipt: LoggedEntry | None,
) -> bool:
    """True if the documents show that the grant was accepted (GRANT-8) and belong together (GRANT-11)."""
    if receipt is None and (acceptance is None or agreement is None):
        return False
    if acceptance is not None and not _is_acceptance_of(acceptance, jws.id, grant.cid):
        return False
    if receipt is not None and not _is_logged(receipt, jws.raw, acceptance, _granting_side(grant, agreement)):
        return False
    return agreement is None or _fits_agreement(agreement, grant.cid, acceptance, receipt)


def _fits_agreement(
    agreement: SignedAgreement, cid: str, acceptance: SignedEvent | None, receipt: LoggedEntry | None
) -> bool:
    """True if the connection `cid` was made by this agreement, as its home server and that server's log show."""
    home = agreement.agreement.home.did
    if agreement.cid != cid:
        return False
    if receipt is not None and not is_log_of(receipt.checkpoint.origin, home):
        return False
    return acceptance is None or acceptance.event.iss == home


def is_log_of(origin: str, home: str) -> bool:
    """True if the log of that name is this home server's. The log of a business that the server hosts has a longer name
    (LOG-19)."""
    host, _, path = origin.partition("/")
    return home == did_of_host(host) and (path == "log" or path.startswith("log/"))


def _granting_side(grant: Grant, agreement: SignedAgreement | None) -> Side | None:
    """The side that gave the grant, by the names in the agreement; None without one, or if both names changed since."""
    terms = None if agreement is None else agreement.agreement
    if terms is None:
        return None
    if terms.offerer.did == grant.iss or terms.accepter.did == grant.aud:
        return "first"
    return "second" if terms.accepter.did == grant.iss or terms.offerer.did == grant.aud else None


def _is_logged(receipt: LoggedEntry, raw: str, acceptance: SignedEvent | None, side: Side | None) -> bool:
    """True if the receipt is about this token, its entry matches it (LOG-11), and its position, time and side match the
    acceptance."""
    entry, at = receipt.entry, receipt.opening.at
    if entry.kind is not Kind.ACT or not receipt.is_of(raw.encode("ascii")):
        return False
    if entry.time != at // MINUTE or side not in (None, entry.side):
        return False
    event = None if acceptance is None else acceptance.event
    if not isinstance(event, Accepted):
        return True
    accepted_at_place = event.log, event.index, event.at, event.side
    return accepted_at_place == (receipt.checkpoint.origin, receipt.index, at, entry.side)


def _is_acceptance_of(acceptance: SignedEvent, act_id: str, cid: str) -> bool:
    event = acceptance.event
    return isinstance(event, Accepted) and event.act == act_id and event.cid == cid and event.kind == "grant"
