"""Checking a consent token offline (spec/grant.md, section "Offline").

What a business, or its mail house, does with a grant in hand: no network, no state of the connection, only the token,
a status list, and what shows that the grant was accepted: its receipt, or the signed acceptance with the agreement.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from comity.crypto.jws import FindKey, OpenedJws, no_other_keys, open_jws
from comity.crypto.keys import PublicKey, did_of_host
from comity.documents.acts import GRANT_TYP, Grant, SignedAct, believe_payload
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
"""Why a token is good or not; all but `granted` mean no (GRANT-9)."""


_GRANT_TYPS = frozenset({GRANT_TYP})


class Opened(Protocol):
    """What opens an entry's commitment; `comity.transparency.receipts.Opening` is one."""

    @property
    def at(self) -> int:
        """The time (ms) that was committed to."""
        ...


class Logged(Protocol):
    """What a receipt that holds says of an entry; `comity.transparency.receipts.Receipt` is one."""

    @property
    def index(self) -> int:
        """Its number in the log."""
        ...

    @property
    def entry(self) -> LogEntry:
        """The entry."""
        ...

    @property
    def opening(self) -> Opened:
        """What opens its commitment."""
        ...

    @property
    def checkpoint(self) -> SignedCheckpoint:
        """The checkpoint that covers it."""
        ...

    def is_of(self, data: bytes) -> bool:
        """Whether these bytes are what was committed to."""
        ...


@dataclass(frozen=True, slots=True)
class TokenVerdict:
    """Whether the token lets its audience come for that purpose by that channel, and why (not)."""

    allowed: bool
    reason: TokenReason
    grant: Grant


def open_grant(raw: str | bytes, find_key: FindKey = no_other_keys) -> SignedAct:
    """The grant in a token whose signature held. A did:key issuer is its own key; others go through `find_key`.

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature").
    """
    opened = open_jws(raw, _GRANT_TYPS, find_key)
    return SignedAct(opened.raw, opened.id, opened.header.kid, opened.key, _believe_grant(opened))


def _believe_grant(opened: OpenedJws) -> Grant:
    payload = believe_payload(opened)
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
    receipt: Logged | None = None,
    find_key: FindKey = no_other_keys,
) -> TokenVerdict:
    """Whether `audience` may use the token for `purpose` by `channel` at `now` (s), by what is in hand alone (GATE-18).
    Good for what is done at once (GRANT-10).

    `status_list` is the opened list that the token names; without it, or with one out of date, the answer is no.
    Anyone can sign a grant under a key of his own, and an acceptance and a list under another: so the answer is no
    without the opened `receipt`, under a log's key that the caller trusts, or, until there is one, both the
    `acceptance` (the home server's event about this very act) and the `agreement`, which names the home server
    (GRANT-8, GRANT-11). `find_key` knows the keys of a did:web giver that came after the one in the agreement.
    Raises Malformed and Refused as `open_grant` does, and Malformed for an index outside the list.
    """
    opened = open_jws(raw, _GRANT_TYPS, _agreed_key(agreement, find_key))
    grant = _believe_grant(opened)

    def no(reason: TokenReason) -> TokenVerdict:
        return TokenVerdict(False, reason, grant)

    if grant.aud != audience:
        return no("wrong_audience")
    if not _is_accepted(opened, grant, acceptance, agreement, receipt):
        return no("not_accepted")
    if now >= grant.exp:
        return no("expired")
    if channel not in grant.channels or not any(covers(granted, purpose) for granted in grant.purposes):
        return no("no_grant")
    reference = grant.status.status_list
    if status_list is None or status_list.claims.sub != reference.uri:
        return no("list_missing")
    # A list is the home server's or nobody's: any did:key could have signed another one for that address.
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
    """The key of a did:web giver: the one that the agreement names, or a later one that the caller knows."""
    if agreement is None:
        return find_key
    parties = (agreement.agreement.offerer, agreement.agreement.accepter)
    agreed = {party.kid: PublicKey.of_multibase(party.key) for party in parties}
    return lambda kid: agreed.get(kid) or find_key(kid)


def _is_accepted(
    opened: OpenedJws,
    grant: Grant,
    acceptance: SignedEvent | None,
    agreement: SignedAgreement | None,
    receipt: Logged | None,
) -> bool:
    """Whether what is in hand shows that the grant was accepted (GRANT-8), and fits together (GRANT-11)."""
    if receipt is None and (acceptance is None or agreement is None):
        return False
    if acceptance is not None and not _accepts(acceptance, opened.id, grant.cid):
        return False
    if receipt is not None and not _is_logged(receipt, opened.raw, acceptance, _giver(grant, agreement)):
        return False
    return agreement is None or _belongs(agreement, grant.cid, acceptance, receipt)


def _belongs(agreement: SignedAgreement, cid: str, acceptance: SignedEvent | None, receipt: Logged | None) -> bool:
    """Whether what was given in the connection `cid` was given under this agreement: its home server and that one's
    log say so."""
    home = agreement.agreement.home.did
    if agreement.cid != cid:
        return False
    if receipt is not None and not is_log_of(receipt.checkpoint.origin, home):
        return False
    return acceptance is None or acceptance.event.iss == home


def is_log_of(origin: str, home: str) -> bool:
    """Whether the log of that name is this home server's, whose name is that of the log's host: a business that the
    server hosts has a longer one (LOG-19)."""
    host, _, path = origin.partition("/")
    return home == did_of_host(host) and (path == "log" or path.startswith("log/"))


def _giver(grant: Grant, agreement: SignedAgreement | None) -> Side | None:
    """Whose grant it is by the names in the agreement; None where none is at hand, or both took others since."""
    terms = None if agreement is None else agreement.agreement
    if terms is None:
        return None
    if terms.offerer.did == grant.iss or terms.accepter.did == grant.aud:
        return "first"
    return "second" if terms.accepter.did == grant.iss or terms.offerer.did == grant.aud else None


def _is_logged(receipt: Logged, raw: str, acceptance: SignedEvent | None, side: Side | None) -> bool:
    """Whether the receipt is this token's, its entry says what follows from it (LOG-11), and its place, time and side
    are those that the acceptance states."""
    entry, at = receipt.entry, receipt.opening.at
    if entry.kind is not Kind.ACT or not receipt.is_of(raw.encode("ascii")):
        return False
    if entry.time != at // MINUTE or side not in (None, entry.side):
        return False
    event = None if acceptance is None else acceptance.event
    if not isinstance(event, Accepted):
        return True
    stated = event.log, event.index, event.at, event.side
    return stated == (receipt.checkpoint.origin, receipt.index, at, entry.side)


def _accepts(acceptance: SignedEvent, act_id: str, cid: str) -> bool:
    event = acceptance.event
    return isinstance(event, Accepted) and event.act == act_id and event.cid == cid and event.kind == "grant"
