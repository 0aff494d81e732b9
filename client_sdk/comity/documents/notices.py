"""Notices: what a public side says to all of its connections at once (spec/away.md, NOTICE-1 to NOTICE-8).

A signed text and no act: it is in no chain, is folded by nobody, and opens and closes no door. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, model_validator

from comity.crypto.jws import FindKey, open_jws, seal
from comity.crypto.keys import PublicKey, Signer, did_of_kid
from comity.documents.offers import Form
from comity.documents.types import DAY, Did, Label, Language, Model, Seconds, Token, one_line, read_model
from comity.encoding import b64u_decode
from comity.errors import Refused

NOTICE_TYP = "comity-notice+jwt"
LONGEST_AWAY = 92 * DAY
"""Seconds from `from` to `until` of an away notice at most (NOTICE-2)."""
MOST_NOTICES = 24
"""Notices of one business within NOTICES_IN; those that end one do not count (NOTICE-5)."""
NOTICES_IN = 365 * DAY
"""Seconds in which they are counted."""
MOST_LANGUAGES = 8

Kind = Literal["away", "plan"]


def _languages_once(texts: dict[str, str]) -> dict[str, str]:
    if len({tag.casefold() for tag in texts}) < len(texts):
        raise ValueError("two texts are in one language")
    return texts


NoticeText = Annotated[str, Field(max_length=200), AfterValidator(one_line)]
"""A text for people: every character that can be seen, on one line, no directional overrides (NOTICE-3)."""
NoticeTexts = Annotated[dict[Language, NoticeText], Field(max_length=MOST_LANGUAGES), AfterValidator(_languages_once)]
"""A text in each of some languages, by their tags."""


class _Notice(Model):
    """What every notice has. `from` is no name in Python: it is `starts` here."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    v: Form
    iss: Did
    iat: Seconds

    def to_json(self) -> bytes:
        """The members as compact JSON, by the names that they have there."""
        return self.model_dump_json(by_alias=True).encode("utf-8")


def _in_order(starts: int, until: int) -> None:
    if starts > until:
        raise ValueError("it ends before it begins")


class AwayNotice(_Notice):
    """That the business is away, from when until when (s), and a sentence about it in up to eight languages."""

    kind: Literal["away"]
    starts: Annotated[Seconds, Field(alias="from")]
    until: Seconds
    texts: NoticeTexts

    @model_validator(mode="after")
    def _fits(self) -> "AwayNotice":
        _in_order(self.starts, self.until)
        if self.until > self.starts + LONGEST_AWAY:
            raise ValueError("nobody is away for more than 92 days")
        if self.until < self.iat:
            raise ValueError("it is over before it was made")
        return self


class Goal(Model):
    """What is to be reached `by` (s): a measure by its name, and its target, a share or days."""

    id: Token
    measure: Token
    target: Annotated[float, Field(ge=0, le=366)]
    by: Seconds


class Initiative(Model):
    """What is going to be done, from when until when (s)."""

    label: Label
    starts: Annotated[Seconds, Field(alias="from")]
    until: Seconds

    @model_validator(mode="after")
    def _fits(self) -> "Initiative":
        _in_order(self.starts, self.until)
        return self


class PlanNotice(_Notice):
    """What the business means to do for its customers, and by when: no results."""

    kind: Literal["plan"]
    title: Label
    goals: Annotated[tuple[Goal, ...], Field(min_length=1, max_length=12)]
    initiatives: Annotated[tuple[Initiative, ...], Field(max_length=50)]

    @model_validator(mode="after")
    def _goals_by_name(self) -> "PlanNotice":
        if len({goal.id for goal in self.goals}) < len(self.goals):
            raise ValueError("two goals have one id")
        return self


Notice = AwayNotice | PlanNotice
_NOTICE: TypeAdapter[Notice] = TypeAdapter(Annotated[Notice, Field(discriminator="kind")])


@dataclass(frozen=True, slots=True)
class SignedNotice:
    """A notice whose signature held. Only `open_notice` makes one."""

    raw: str
    id: str
    kid: str
    key: PublicKey
    notice: Notice


def is_in_force(notice: Notice, now: int) -> bool:
    """Whether a notice says something at `now` (ms), unless a later one of its kind took its place: one about being
    away until its end, a plan always (NOTICE-4). One that ends when it was made says nothing by any clock."""
    return not isinstance(notice, AwayNotice) or (now < notice.until * 1000 and notice.iat < notice.until)


def away_notice(iss: str, iat: int, starts: int, until: int, texts: Mapping[str, str]) -> AwayNotice:
    """An away notice with these members (s). Raises pydantic's ValidationError."""
    members = {"v": 2, "iss": iss, "iat": iat, "kind": "away", "from": starts, "until": until, "texts": dict(texts)}
    return AwayNotice.model_validate(members)


def seal_notice(notice: Notice, signer: Signer) -> SignedNotice:
    """Sign a notice."""
    return open_notice(seal(notice.to_json(), NOTICE_TYP, signer), {signer.kid: signer.key.public}.get)


def open_notice(raw: str | bytes, find_key: FindKey) -> SignedNotice:
    """The notice, if form, signature and members hold (NOTICE-1).

    Raises Malformed, Refused("too_large" | "unknown_key" | "bad_signature").
    """
    opened = open_jws(raw, {NOTICE_TYP}, find_key)
    notice = read_model(_NOTICE, opened.payload)
    if did_of_kid(opened.header.kid) != notice.iss:
        raise Refused("bad_signature", "the key is not the issuer's")
    return SignedNotice(opened.raw, opened.id, opened.header.kid, opened.key, notice)


def believe_notice(raw: str) -> Notice:
    """What a notice says whose signature was checked before it was stored. Raises Malformed."""
    return read_model(_NOTICE, b64u_decode(raw.split(".")[1]))


class StatedKey(NamedTuple):
    """A key of a business, and the number of the entry that states it, in the log in which the notice stands."""

    place: int
    kid: str


def key_for_entry(keys: Iterable[StatedKey], index: int) -> str | None:
    """The one key that may sign a notice with the entry `index`: that of the newest statement below it (NOTICE-6)."""
    below = [stated for stated in keys if stated.place < index]
    return max(below).kid if below else None


def text_in(texts: Mapping[str, str], languages: Iterable[str]) -> str | None:
    """The text in the first of these languages that there is one in, else the first text; None where there is none.
    `de` is found for `de-CH`, too."""
    for language in languages:
        for wanted in (language, language.partition("-")[0]):
            found = next((text for tag, text in texts.items() if tag.casefold() == wanted.casefold()), None)
            if found is not None:
                return found
    return next(iter(texts.values()), None)
