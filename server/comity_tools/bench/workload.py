"""The parties: one business with an offer for many, and people who accept it, all by the protocol itself."""

import os
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from comity.crypto.http_signatures import sign_request
from comity.crypto.jws import sign_jws
from comity.crypto.keys import PublicKey, Signer, SigningKey, did_of_host
from comity.documents.acts import MODELS, typ_of
from comity.documents.agreements import Agreement, countersign, half_sign
from comity.documents.events import Accepted, open_event
from comity.documents.offers import HomeParty, Offer, OfferedTerms, PartyKey, SignedOffer, Terms, sign_offer, text_hash
from comity.documents.types import DAY
from comity.encoding import b64u_encode, dump_json, hash_id, parse_object
from comity.http_api import ACTS, AGREEMENTS, JSON, JWT, OFFERS, STATUS_INDEXES
from comity_tools.bench.load_client import Answer, Flow, post, request
from comity_tools.bench.result import BenchFailed

BUSINESS = "bench"
OPERATOR = "bench"
REQUESTS_OF_A_CONNECT = 7
_TEXT = "What is said between us stays between us."
_TERMS = Terms(id="https://w3id.org/dpv/standards/ieee/7012#SD-BASE", version="1", lang="en", sha256=text_hash(_TEXT))


@dataclass(slots=True)
class Opened:
    """A person's connection, with the head of her chain of acts."""

    cid: str
    person: Signer
    business: str
    seq: int
    head: str

    def next_act(self, kind: str, /, **fields: object) -> str:
        """The next act of the chain, signed. It is not opened again as `chain.next_act` would: the server does that."""
        members = {"act": kind, "iss": self.person.did, "aud": self.business, "iat": now(), "cid": self.cid}
        payload = MODELS[kind].model_validate({**members, "seq": self.seq, "prev": self.head, **fields})
        raw = sign_jws(payload.to_json(), typ_of(kind), self.person)
        self.seq, self.head = self.seq + 1, hash_id(raw.encode("ascii"))
        return raw


class Shop:
    """A business at one server."""

    def __init__(self, port: int, home: HomeParty, name: str = BUSINESS) -> None:
        self.port = port
        self.home = home
        self.key = SigningKey(os.urandom(32))
        self.did = did_of_host(f"localhost:{port}", "b", name)
        self.signer = Signer(f"{self.did}#{self.key.public.multibase}", self.key)

    def offer(self) -> SignedOffer:
        """An offer for many people."""
        return sign_offer(
            Offer(
                v=2,
                iss=self.did,
                iat=now(),
                exp=now() + DAY,
                nonce=_nonce(),
                home=self.home,
                operator=OPERATOR,
                agreements=(OfferedTerms(**_TERMS.model_dump(), text=_TEXT),),
                purposes=("care", "sales"),
                use="many",
            ),
            self.signer,
        )


def publish(shop: Shop, offer: SignedOffer) -> Flow:
    """Publish the offer."""
    answer = yield post(shop.port, OFFERS, JWT, offer.raw.encode("ascii"))
    _expect(answer, 201)


def connect(shop: Shop, offer: SignedOffer, made: list[Opened], most: int) -> Flow:
    """Up to `most` people, one after the other: fetch the offer, half-sign, countersign, two indexes, two grants."""
    for _ in range(most):
        person = Signer.of_did_key(SigningKey(os.urandom(32)))
        port = shop.port
        _expect((yield request("GET", port, f"{OFFERS}/{offer.short}", JWT, b"")), 200)
        opened = yield from agree(shop, offer, person)
        for purpose in ("care", "sales"):
            reserved = yield _signed_post(port, STATUS_INDEXES, dump_json({"cid": opened.cid}), person)
            status = parse_object(_expect(reserved, 201))
            fields = {"exp": now() + 30 * DAY, "purposes": (purpose,), "channels": ("app", "email")}
            grant = opened.next_act("grant", **fields, status=status)
            _expect((yield post(port, ACTS, JWT, grant.encode("ascii"))), 200)
        made.append(opened)


def agree(shop: Shop, offer: SignedOffer, person: Signer) -> Generator[bytes, Answer, Opened]:
    """One person accepts the offer, and the business countersigns."""
    half = half_sign(_agreement(shop, offer, person), person)
    _expect((yield post(shop.port, f"{OFFERS}/{offer.short}/agreements", JSON, half.raw)), 202)
    whole = countersign(half, shop.signer)
    _expect((yield request("PUT", shop.port, f"{AGREEMENTS}/{whole.cid}", JSON, whole.raw)), 200)
    return Opened(whole.cid, person, shop.did, 0, whole.cid)


def _agreement(shop: Shop, offer: SignedOffer, person: Signer) -> Agreement:
    return Agreement(
        v=2,
        offer=offer.hash,
        offerer=PartyKey.of(shop.signer),
        accepter=PartyKey.of(person),
        terms=_TERMS,
        operator=OPERATOR,
        home=shop.home,
        nonce=_nonce(),
        iat=now(),
        countersign_by=now() + DAY,
    )


def _signed_post(port: int, path: str, body: bytes, signer: Signer) -> bytes:
    url = f"http://localhost:{port}{path}"
    return post(port, path, JSON, body, sign_request("POST", url, signer, now(), _nonce(), body))


def small_acts(opened: Opened, count: int) -> Iterator[str]:
    """That many small acts, one after the other in the chain: remember and mute in turn."""
    for number in range(count):
        if number % 2 == 0:
            yield opened.next_act("remember", key="language")
        else:
            yield opened.next_act("mute", channels=("phone",), until=now() + DAY + number)


def send_all(requests: list[bytes], answers: list[bytes]) -> Flow:
    """A flow over requests that must be answered with 200; the bodies go into `answers`. Raises BenchFailed."""
    for one in requests:
        answers.append(_expect((yield one), 200))


def check_acceptances(answers: list[bytes], home: dict[str, PublicKey], ids: set[str]) -> None:
    """Open every acceptance: signed by the home server, about one of our acts, each with a number of its own.

    Raises BenchFailed, or Refused where one does not hold at all.
    """
    indexes: set[int] = set()
    for body in answers:
        members = parse_object(body)
        event = open_event(members["event"], home.get).event
        if not isinstance(event, Accepted) or event.act != members["act"] or event.act not in ids:
            raise BenchFailed("an acceptance is about another act")
        indexes.add(event.index)
    if len(indexes) != len(answers):
        raise BenchFailed("two acceptances have one number")


def now() -> int:
    """Seconds since the epoch."""
    return int(time.time())


def _nonce() -> str:
    return b64u_encode(os.urandom(16))


def _expect(answer: Answer, status: int) -> bytes:
    if answer.status != status:
        raise BenchFailed(f"{answer.status} instead of {status}: {answer.body[:300].decode(errors='replace')}")
    return answer.body
