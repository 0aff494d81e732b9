"""Opens signed texts again. An invalid text is a finding, and is still read as far as possible."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter

from comity.crypto.jws import split_jws
from comity.documents.acts import ACT_TYPS
from comity.documents.events import EVENT_TYP, Event
from comity.documents.types import parse_model
from comity.encoding import parse_object
from comity.errors import Refused
from comity.transparency.server_keys import HomeKeys, open_home_event
from comity_server.fsck.findings import Findings

T = TypeVar("T")

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


class Opener:
    """Opens texts that the home server signed."""

    def __init__(self, home: str, keys: HomeKeys, findings: Findings) -> None:
        self.home = home
        self._findings = findings
        self._keys = keys

    def event(self, place: str, raw: str) -> Event | None:
        """The event in a text. An event with an invalid signature is reported and still used, so that one fault gives
        one finding."""
        event = self.open_or_report(place, lambda: open_home_event(raw, self._keys).event)
        if event is None:
            try:
                event = parse_model(_EVENT, split_jws(raw, {EVENT_TYP}).payload)
            except Refused:
                return None
        if event.iss != self.home:
            self._findings.add(place, f"it is an event of {event.iss}, but this server is {self.home}")
        return event

    def open_or_report(self, place: str, work: Callable[[], T]) -> T | None:
        """The result of `work`; None, and a finding with the reason, if it raises Refused."""
        try:
            return work()
        except Refused as refused:
            self._findings.add(place, refusal_text(refused))
            return None


def refusal_text(refused: Refused) -> str:
    """The reason of a refusal, in words."""
    where = "; ".join(f"{pointer}: {what}" for pointer, what in refused.errors)
    return where or refused.detail or refused.title.rstrip(".")


def purpose_of(raw: str) -> str:
    """The purpose of a message, whose signature is not checked. Raises Refused."""
    return str(parse_object(split_jws(raw, ACT_TYPS).payload).get("purpose"))
