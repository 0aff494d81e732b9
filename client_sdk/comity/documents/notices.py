"""Notices: statements of a public side to all its connections at once (spec/away.md, NOTICE-1 to NOTICE-8).

A notice is a signed text, not an act: it is in no chain, changes no state, and affects no permission. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, model_validator

from comity.crypto.jws import FindKey, open_jws, sign_jws
from comity.crypto.keys import PublicKey, Signer, did_of_kid
from comity.documents.offers import FormatVersion
from comity.documents.types import DAY, Did, Label, Language, Model, Seconds, Token, check_one_line, parse_model
from comity.encoding import b64u_decode
from comity.errors import Refused

NOTICE_TYP = "comity-notice+jwt"
LONGEST_AWAY = 92 * DAY
"""The most seconds from `from` to `until` of an away notice (NOTICE-2)."""
MOST_NOTICES = 24
"""The most notices of one business within NOTICES_IN; a notice that ends another does not count (NOTICE-5)."""
NOTICES_IN = 365 * DAY
"""Seconds in which they are counted."""
MOST_LANGUAGES = 8

Kind = Literal["away", "plan"]


def _check_distinct_languages(texts: dict[str, str]) -> dict[str, str]:
    if len({tag.casefold() for tag in texts}) < len(texts):
        raise ValueError("two texts are in the same language")
    return texts


NoticeText = Annotated[str, Field(max_length=200), AfterValidator(check_one_line)]
"""A text for people: one line of visible characters, without directional overrides (NOTICE-3)."""
NoticeTexts = Annotated[
    dict[Language, NoticeText], Field(max_length=MOST_LANGUAGES), AfterValidator(_check_distinct_languages)
]
"""Texts by their language tags."""


class _Notice(Model):
    """The members of every notice. `from` is a keyword in Python, so the attribute is `starts`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    v: FormatVersion
    iss: Did
    iat: Seconds

    def to_json(self) -> bytes:
        """The members as compact JSON, by their names in the text."""
        return self.model_dump_json(by_alias=True).encode("utf-8")


def _check_order(starts: int, until: int) -> None:
    if starts > until:
        raise ValueError("it ends before it begins")


class AwayNotice(_Notice):
    """The business is away between two times (s), with a sentence in up to eight languages."""

    kind: Literal["away"]
    starts: Annotated[Seconds, Field(alias="from")]
    until: Seconds
    texts: NoticeTexts

    @model_validator(mode="after")
    def _check_members(self) -> "AwayNotice":
        _check_order(self.starts, self.until)
        if self.until > self.starts + LONGEST_AWAY:
            raise ValueError("an absence is at most 92 days long")
        if self.until < self.iat:
            raise ValueError("it ends before it was signed")
        return self


class Goal(Model):
    """A goal for the time `by` (s): the name of a measure, and its target, a share or a number of days."""

    id: Token
    measure: Token
    target: Annotated[float, Field(ge=0, le=366)]
    by: Seconds


class Initiative(Model):
    """A planned activity between two times (s)."""

    label: Label
    starts: Annotated[Seconds, Field(alias="from")]
    until: Seconds

    @model_validator(mode="after")
    def _check_members(self) -> "Initiative":
        _check_order(self.starts, self.until)
        return self


class PlanNotice(_Notice):
    """The plans of a business for its customers, with dates and without results."""

    kind: Literal["plan"]
    title: Label
    goals: Annotated[tuple[Goal, ...], Field(min_length=1, max_length=12)]
    initiatives: Annotated[tuple[Initiative, ...], Field(max_length=50)]

    @model_validator(mode="after")
    def _check_distinct_goals(self) -> "PlanNotice":
        if len({goal.id for goal in self.goals}) < len(self.goals):
            raise ValueError("two goals have one id")
        return self


Notice = AwayNotice | PlanNotice
_NOTICE: TypeAdapter[Notice] = TypeAdapter(Annotated[Notice, Field(discriminator="kind")])


@dataclass(frozen=True, slots=True)
class SignedNotice:
    """A notice with a valid signature. Only `open_notice` makes one."""

    raw: str
    id: str
    kid: str
    key: PublicKey
    notice: Notice


def is_in_force(notice: Notice, now: int) -> bool:
    """True if the notice applies at `now` (ms), unless a later one of its kind replaced it: an away notice until its
    end, a plan always (NOTICE-4). An away notice that ends at its `iat` never applies."""
    return not isinstance(notice, AwayNotice) or (now < notice.until * 1000 and notice.iat < notice.until)


def away_notice(iss: str, iat: int, starts: int, until: int, texts: Mapping[str, str]) -> AwayNotice:
    """An away notice with these members (s). Raises pydantic's ValidationError."""
    members = {"v": 2, "iss": iss, "iat": iat, "kind": "away", "from": starts, "until": until, "texts": dict(texts)}
    return AwayNotice.model_validate(members)


def sign_notice(notice: Notice, signer: Signer) -> SignedNotice:
    """Signs a notice."""
    return open_notice(sign_jws(notice.to_json(), NOTICE_TYP, signer), {signer.kid: signer.key.public}.get)


def open_notice(raw: str | bytes, find_key: FindKey) -> SignedNotice:
    """Parses and verifies a notice (NOTICE-1).

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature").
    """
    jws = open_jws(raw, {NOTICE_TYP}, find_key)
    notice = parse_model(_NOTICE, jws.payload)
    if did_of_kid(jws.header.kid) != notice.iss:
        raise Refused("bad_signature", "the key is not the issuer's")
    return SignedNotice(jws.raw, jws.id, jws.header.kid, jws.key, notice)


def parse_stored_notice(raw: str) -> Notice:
    """Parses a notice whose signature was verified before it was stored. Raises Malformed."""
    return parse_model(_NOTICE, b64u_decode(raw.split(".")[1]))


class PublishedKey(NamedTuple):
    """A key of a business, and the index of the entry that publishes it, in the log of the notice."""

    place: int
    kid: str


def key_for_entry(keys: Iterable[PublishedKey], index: int) -> str | None:
    """The `kid` that must sign a notice with the entry `index`: that of the latest key statement below it
    (NOTICE-6)."""
    below = [stated for stated in keys if stated.place < index]
    return max(below).kid if below else None


def choose_text(texts: Mapping[str, str], languages: Iterable[str]) -> str | None:
    """The text in the first of these languages that has one, else the first text; None if there is none. `de` also
    serves `de-CH`."""
    for language in languages:
        for wanted_tag in (language, language.partition("-")[0]):
            chosen = next((text for tag, text in texts.items() if tag.casefold() == wanted_tag.casefold()), None)
            if chosen is not None:
                return chosen
    return next(iter(texts.values()), None)
