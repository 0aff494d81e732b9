"""What a business says to all of its customers at once (spec/away.md, NOTICE-1 to NOTICE-8)."""

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
    believe_notice,
    is_in_force,
    open_notice,
    seal_notice,
)
from comity.documents.types import faults
from comity.errors import Malformed, Refused
from comity.transparency.entries import public_tag_key
from comity_server.api.business.acts import newest_signer
from comity_server.api.business.idempotency import change
from comity_server.api.business.route import Call, Reply, Route
from comity_server.businesses.directory import Business
from comity_server.schema import Due, Hash, Instant, Model, instant, seconds
from comity_server.store.business import BusinessRows
from comity_server.writer.unit_of_work import UnitOfWork

Kind = Literal["away", "plan"]


class NewAway(Model):
    """That you are away: every customer sees it when she opens the connection or writes to you. Messages arrive."""

    starts: Annotated[Due, Field(alias="from", description="From when on.", examples=["2027-06-01T00:00:00+02:00"])]
    until: Annotated[
        Due,
        Field(
            description="Until when: at most 92 days later. Now, or earlier, ends what you published.",
            examples=["2027-06-14T00:00:00+02:00"],
        ),
    ]
    texts: Annotated[
        NoticeTexts,
        Field(
            description="A sentence in each language, of at most 200 characters; links are shown as text.",
            examples=[{"en": "We are at the sea. Urgent repairs: 020 123 456."}],
        ),
    ]


class PublishedNotice(Model):
    """A notice that every customer of yours can read from now on, until a later one of its kind takes its place."""

    notice: Annotated[Hash, Field(description="Its id: the SHA-256 of the signed text.")]
    kind: Kind
    until: Annotated[Instant, Field(description="When you are back.")] | None = None
    in_force: Annotated[bool, Field(description="Whether it is shown; one that ends an earlier one is not.")]
    jws: Annotated[str, Field(description="The notice itself, as it was signed.")]


async def put_away(call: Call) -> Reply:
    """Publish that the business is away, or that it is back: composed and signed here, or signed by the business."""
    return await _put(call, "away")


async def put_plan(call: Call) -> Reply:
    """Publish a plan, signed by the business."""
    return await _put(call, "plan")


async def _put(call: Call, kind: Kind) -> Reply:
    sent = None if call.jws is None else open_notice(call.jws, call.server.directory.find_key)
    if sent is None and call.body is None:
        raise Malformed("this route takes the signed notice")
    if sent is not None and sent.notice.kind != kind:
        raise Malformed(f"this route takes a notice of the kind {kind}", errors=(("/kind", f"must be {kind}"),))
    if sent is not None and isinstance(sent.notice, PlanNotice):
        labels = {f"/initiatives/{place}/label": it.label for place, it in enumerate(sent.notice.initiatives)}
        check_names({"/title": sent.notice.title, **labels})
    if sent is None:
        newest_signer(call)

    async def decide(group: UnitOfWork) -> Reply:
        signed = sent or _composed(call, group.now // 1000)
        await publish(call.server.store.business, call.business, signed, group)
        until = signed.notice.until * 1000 if isinstance(signed.notice, AwayNotice) else None
        told = PublishedNotice(
            notice=signed.id,
            kind=signed.notice.kind,
            until=None if until is None else instant(until),
            in_force=is_in_force(signed.notice, group.now),
            jws=signed.raw,
        )
        return Reply.of(told)

    return await change(call, decide)


def _composed(call: Call, now: int) -> SignedNotice:
    """The notice that the body describes, signed at `now` (s) with the newest kept key. Raises Malformed,
    Refused("signing_key_not_kept")."""
    wanted: NewAway = call.body
    starts, until = seconds(wanted.starts), seconds(wanted.until)
    return compose_away(newest_signer(call), starts, until, wanted.texts, now)


def compose_away(signer: Signer, starts: int, until: int, texts: Mapping[str, str], now: int) -> SignedNotice:
    """An away notice of the business (times in s). One that ends now, or ended, is made to end now."""
    if until <= now:
        starts = until = now
    if until - starts > LONGEST_AWAY:
        raise Malformed("nobody is away for so long", errors=(("/until", "at most 92 days after `from`"),))
    try:
        return seal_notice(away_notice(signer.did, now, starts, until, texts), signer)
    except ValidationError as fault:
        raise Malformed("that is no notice", errors=faults(fault)) from None


async def publish(rows: BusinessRows, business: Business, signed: SignedNotice, group: UnitOfWork) -> None:
    """Publish a notice of a hosted business in this group, with its entry in the log; the same one again changes
    nothing.

    Raises Refused("not_found") for another's notice, and for the end of one where none is in force,
    Refused("key_replaced" | "iat_out_of_range" | "too_many_notices").
    """
    notice = signed.notice
    if notice.iss != business.did:
        raise Refused("not_found")
    known = {it.id for it in await rows.notices(business.name)}
    if signed.id in known | {row["id"] for row in group.batch.put_notice}:
        return
    if signed.kid != _newest_kid(business, group):
        raise Refused("key_replaced")
    if abs(notice.iat * 1000 - group.now) > CLOCK_SKEW * 1000:
        raise Refused("iat_out_of_range")
    says_something = is_in_force(notice, group.now)
    if says_something:
        await _check_count(rows, business, group)
    elif not _is_one_in_force(business, group):
        raise Refused("not_found", "no notice is in force")
    place = group.log.place()
    group.log.notice(signed.id, signed.raw, group.now, public_tag_key(business.did))
    row = {"name": business.name, "id": signed.id, "kind": notice.kind, "raw": signed.raw, "added_at": group.now}
    group.batch.put_notice.append({**row, "counts": int(says_something), **place.members})


def _is_one_in_force(business: Business, group: UnitOfWork) -> bool:
    """Whether there is an away notice to be ended, perhaps one that is published in this very group."""
    fresh = [row for row in group.batch.put_notice if row["name"] == business.name and row["kind"] == "away"]
    if fresh:
        return is_in_force(believe_notice(fresh[-1]["raw"]), group.now)
    return group.grounds.notices.away_notice(business.did, group.now) is not None


def _newest_kid(business: Business, group: UnitOfWork) -> str:
    """The key of the business that was stated last: the one that may sign a notice (NOTICE-6)."""
    fresh = [row["kid"] for row in group.batch.put_business_key if row["name"] == business.name]
    published = group.grounds.directory.get(business.name) or business
    return str([*published.keys, *fresh][-1])


async def _check_count(rows: BusinessRows, business: Business, group: UnitOfWork) -> None:
    """Raises Refused("too_many_notices") where a year has as many as it may have (NOTICE-5)."""
    count, first = await rows.notices_since(business.name, group.now - NOTICES_IN * 1000)
    fresh = [row for row in group.batch.put_notice if row["name"] == business.name and row["counts"]]
    if count + len(fresh) >= MOST_NOTICES:
        free_at = (group.now if first is None else first) + NOTICES_IN * 1000
        raise Refused("too_many_notices", retry_after=(free_at - group.now) // 1000 + 1)


_TAG = "notices"
_CODES = ("not_found", "key_replaced", "iat_out_of_range", "too_many_notices")
ROUTES = (
    Route(
        "PUT",
        "/notices/away",
        "door:write",
        put_away,
        "publishAway",
        "Say that you are away, or back again",
        _TAG,
        description="One notice for all of your customers: it is shown when a customer opens the connection or writes, "
        "and is no message. What she writes arrives all the same. A later one takes its place; `until` now ends it. At "
        "most 24 in 365 days. It is signed, and stands in the public log.",
        body=NewAway,
        answer=PublishedNotice,
        signed_text=True,
        codes=(*_CODES, "signing_key_not_kept"),
    ),
    Route(
        "PUT",
        "/notices/plan",
        "door:write",
        put_plan,
        "publishPlan",
        "Publish what you mean to do for your customers",
        _TAG,
        description="Goals and initiatives with their dates, signed by you (`application/jwt`), so that everybody sees "
        "that a goal is older than its result.",
        answer=PublishedNotice,
        signed_text=True,
        codes=_CODES,
    ),
)
