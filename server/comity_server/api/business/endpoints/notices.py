"""Notices of a business for all of its customers (spec/away.md, NOTICE-1 to NOTICE-8)."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from comity.crypto.keys import Signer
from comity.documents.agreements import CLOCK_SKEW
from comity.documents.names import check_names
from comity.documents.notices import (
    LONGEST_AWAY,
    MOST_NOTICES,
    NOTICES_IN,
    AwayNotice,
    NoticeTexts,
    PlanNotice,
    SignedNotice,
    away_notice,
    is_in_force,
    open_notice,
    parse_stored_notice,
    sign_notice,
)
from comity.documents.types import describe_faults
from comity.errors import Malformed, Refused
from comity.transparency.entries import public_tag_key
from comity_server.api.business.acts import newest_signer
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.route import Call, Reply, Route
from comity_server.businesses.directory import Business
from comity_server.schema import Due, Hash, Instant, Model, instant, seconds
from comity_server.store.business import BusinessRows
from comity_server.writer.unit_of_work import UnitOfWork

Kind = Literal["away", "plan"]


class NewAway(Model):
    """Your absence. Customers see it when they open the connection or write to you. Their messages still arrive."""

    starts_at: Annotated[Due, Field(description="The start of your absence.", examples=["2027-06-01T00:00:00+02:00"])]
    ends_at: Annotated[
        Due,
        Field(
            description="The end of your absence, at most 92 days later. Now or earlier: ends the published notice.",
            examples=["2027-06-14T00:00:00+02:00"],
        ),
    ]
    texts: Annotated[
        NoticeTexts,
        Field(
            description="A sentence in each language, at most 200 characters. Links are shown as text.",
            examples=[{"en": "We are at the sea. Urgent repairs: 020 123 456."}],
        ),
    ]


class PublishedNotice(Model):
    """A notice that all of your customers can read until a later one of its kind replaces it."""

    id: Annotated[Hash, Field(description="The SHA-256 of the signed text.")]
    object: Literal["notice"] = "notice"
    status: Annotated[
        Literal["active", "ended"],
        Field(description="`active`: customers see the notice. One that ends an earlier notice is `ended`."),
    ]
    kind: Kind
    ends_at: Annotated[Instant, Field(description="The end of your absence.")] | None = None
    jws: Annotated[str, Field(description="The signed notice (JWS).")]


async def update_away(call: Call) -> Reply:
    """Publishes or ends an away notice that the server composes and signs, or that the business signed."""
    return await _update(call, "away")


async def update_plan(call: Call) -> Reply:
    """Publishes a plan that the business signed."""
    return await _update(call, "plan")


async def _update(call: Call, kind: Kind) -> Reply:
    sent = None if call.jws is None else open_notice(call.jws, call.server.directory.find_key)
    if sent is None and call.body is None:
        raise Malformed("the body must be the signed notice")
    if sent is not None and sent.notice.kind != kind:
        raise Malformed(f"this route takes a notice of the kind {kind}", errors=(("/kind", f"must be {kind}"),))
    if sent is not None and isinstance(sent.notice, PlanNotice):
        labels = {f"/initiatives/{place}/label": it.label for place, it in enumerate(sent.notice.initiatives)}
        check_names({"/title": sent.notice.title, **labels})
    if sent is None:
        newest_signer(call)

    async def decide(unit: UnitOfWork) -> Reply:
        signed = sent or _compose_notice(call, unit.now // 1000)
        await publish(call.server.store.business, call.business, signed, unit)
        until = signed.notice.until * 1000 if isinstance(signed.notice, AwayNotice) else None
        published = PublishedNotice(
            id=signed.id,
            status="active" if is_in_force(signed.notice, unit.now) else "ended",
            kind=signed.notice.kind,
            ends_at=None if until is None else instant(until),
            jws=signed.raw,
        )
        return Reply.of(published)

    return await run_idempotent(call, decide)


def _compose_notice(call: Call, now: int) -> SignedNotice:
    """Composes the notice of the body, and signs it at `now` (s) with the newest kept key. Raises Malformed,
    Refused("signing_key_not_kept")."""
    wanted: NewAway = call.body
    starts, until = seconds(wanted.starts_at), seconds(wanted.ends_at)
    return compose_away(newest_signer(call), starts, until, wanted.texts, now)


def compose_away(signer: Signer, starts: int, until: int, texts: Mapping[str, str], now: int) -> SignedNotice:
    """Composes an away notice (times in s). An `until` that has passed counts as now."""
    if until <= now:
        starts = until = now
    if until - starts > LONGEST_AWAY:
        raise Malformed("the absence is too long", errors=(("/ends_at", "must be at most 92 days after `starts_at`"),))
    try:
        return sign_notice(away_notice(signer.did, now, starts, until, texts), signer)
    except ValidationError as fault:
        raise Malformed("the notice is not valid", errors=describe_faults(fault)) from None


async def publish(rows: BusinessRows, business: Business, signed: SignedNotice, unit: UnitOfWork) -> None:
    """Publish a notice of a hosted business in this transaction, with its log entry. Publishing the same notice again
    changes nothing.

    Raises Refused("not_found") for a notice of another business, and for the end of one if none is in force,
    Refused("key_replaced" | "iat_out_of_range" | "too_many_notices").
    """
    notice = signed.notice
    if notice.iss != business.did:
        raise Refused("not_found", "The notice is not one of this business.")
    known = {stored.id for stored in await rows.notices(business.name)}
    if signed.id in known | {row["id"] for row in unit.batch.put_notice}:
        return
    if signed.kid != _newest_kid(business, unit):
        raise Refused("key_replaced")
    if abs(notice.iat * 1000 - unit.now) > CLOCK_SKEW * 1000:
        raise Refused("iat_out_of_range")
    says_something = is_in_force(notice, unit.now)
    if says_something:
        await _check_count(rows, business, unit)
    elif not _is_one_in_force(business, unit):
        raise Refused("not_found", "No notice is in force.")
    place = unit.log.place()
    unit.log.notice(signed.id, signed.raw, unit.now, public_tag_key(business.did))
    row = {"name": business.name, "id": signed.id, "kind": notice.kind, "raw": signed.raw, "added_at": unit.now}
    unit.batch.put_notice.append({**row, "counts": int(says_something), **place.members})


def _is_one_in_force(business: Business, unit: UnitOfWork) -> bool:
    """True if an away notice is in force, which may be one of this transaction."""
    fresh = [row for row in unit.batch.put_notice if row["name"] == business.name and row["kind"] == "away"]
    if fresh:
        return is_in_force(parse_stored_notice(fresh[-1]["raw"]), unit.now)
    return unit.context.notices.away_notice(business.did, unit.now) is not None


def _newest_kid(business: Business, unit: UnitOfWork) -> str:
    """The newest published key of the business, which alone may sign a notice (NOTICE-6)."""
    fresh = [row["kid"] for row in unit.batch.put_business_key if row["name"] == business.name]
    published = unit.context.directory.get(business.name) or business
    return str([*published.keys, *fresh][-1])


async def _check_count(rows: BusinessRows, business: Business, unit: UnitOfWork) -> None:
    """Raises Refused("too_many_notices") if the business published the largest number within a year (NOTICE-5)."""
    count, first = await rows.notices_since(business.name, unit.now - NOTICES_IN * 1000)
    fresh = [row for row in unit.batch.put_notice if row["name"] == business.name and row["counts"]]
    if count + len(fresh) >= MOST_NOTICES:
        free_at = (unit.now if first is None else first) + NOTICES_IN * 1000
        raise Refused("too_many_notices", retry_after=(free_at - unit.now) // 1000 + 1)


_TAG = "notices"
_CODES = ("not_found", "key_replaced", "iat_out_of_range", "too_many_notices")
ROUTES = (
    Route(
        "PUT",
        "/notices/away",
        "permissions:write",
        update_away,
        "updateAwayNotice",
        "Publish or end your absence",
        _TAG,
        description="A notice for all of your customers, shown when one opens the connection or writes. It is not a "
        "message, and messages of customers still arrive. A later notice replaces it; an `ends_at` of now ends it. At "
        "most 24 in 365 days. The notice is signed and is in the public log.",
        body=NewAway,
        answer=PublishedNotice,
        signed_text=True,
        codes=(*_CODES, "signing_key_not_kept"),
    ),
    Route(
        "PUT",
        "/notices/plan",
        "permissions:write",
        update_plan,
        "updatePlanNotice",
        "Publish your plan for your customers",
        _TAG,
        description="Goals and initiatives with their dates, signed by you (`application/jwt`). The public log proves "
        "that a goal is older than its result.",
        answer=PublishedNotice,
        signed_text=True,
        codes=_CODES,
    ),
)
