"""A business invites people: offers over REST, their QR codes and posters, and how many there may be (INV-1 to
INV-7)."""

import asyncio
import base64
import hashlib
import html.parser
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image

from comity.documents.acts import open_act
from comity.documents.agreements import countersign
from comity.documents.events import Opened, open_event
from comity.documents.notices import NOTICE_TYP
from comity.documents.offers import OFFER_TYP, open_offer
from comity.encoding import b64u_decode
from comity.http_api import INBOX, JWT, OFFERS
from comity.rules.fold import initial_state
from comity.rules.state import Budget
from comity_server.fsck.checker import check_store
from comity_server.schema import instant
from comity_server.store.rows import Batch
from comity_server.store.sqlite import SqliteStore
from support.business_objects import Things
from support.business_world import EXAMPLE_OFFER, Shop, a_shop, half_on
from support.parties import forge
from support.world import DAY, HOUR, Pair, World, a_world

FORGED = "AAAAAAAAAAAA"
"""The name of an offer that never was."""


async def counted(world: World, name: str, what: str) -> int:
    return sum(count.n for count in await world.server.store.business.counts(name, 0) if count.what == what)


async def test_a_shop_publishes_an_offer_that_anybody_with_the_link_can_read(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        reply = await shop.ask("POST", "/offers", {**EXAMPLE_OFFER, "label": "spring fair"}, again="one")
        made = reply.json
        assert reply.headers["Location"] == f"/v1/business/offers/{made['id']}"
        assert made["link"] == f"{world.origin}/i/{made['id']}#{made['offer_hash']}"
        assert (made["use"], made["countersign"], made["expires_at"]) == ("many", "auto", "2024-12-31T17:00:00.000Z")
        again = await shop.ask("POST", "/offers", {**EXAMPLE_OFFER, "label": "spring fair"}, again="one")
        assert again.json == made

        read = await world.send("GET", f"{OFFERS}/{made['id']}")
        offer = open_offer(read.body, world.server.directory.find_key)
        assert (offer.hash, offer.offer.iss, offer.offer.name) == (made["offer_hash"], shop.did, "Clear View Windows")
        assert b"spring fair" not in base64.urlsafe_b64decode(read.body.split(b".")[1] + b"==")  # INV-2
        told = await shop.get(f"/offers/{made['id']}")
        assert (told["label"], told["status"]) == ("spring fair", "open")
        assert (told["connections_opened"], told["proposals_waiting"]) == (0, 0)
        assert told["agreements"][0]["text"] == EXAMPLE_OFFER["agreements"][0]["text"]
        assert (await shop.get("/offers"))["items"] == [{name: told[name] for name in (*made, "label", "created_at")}]


async def test_a_business_that_keeps_its_key_signs_its_offers_itself(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        signer = await world.business("own")
        own = Shop(world, "own", signer.did, await world.server.add_owner_key("own"))
        assert await own.refused("POST", "/offers", EXAMPLE_OFFER) == "signing_key_not_kept"
        signed = world.offer(signer, use="many")
        made = await own.post("/offers", jws=signed.raw)
        assert (made["offer_hash"], made["countersign"]) == (signed.hash, "by_hand")
        stranger = world.offer(await world.business("stranger"))
        assert await own.refused("POST", "/offers", jws=stranger.raw) == "not_found"
        assert await own.refused("POST", "/offers", jws=signed.raw[:-4] + "AAAA") == "bad_signature"


async def test_offers_that_a_business_published_elsewhere_are_in_its_list_too(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        signer = await world.business("own")
        own = Shop(world, "own", signer.did, await world.server.add_owner_key("own"))
        signed = world.offer(signer)
        assert (await world.publish(signed)).status == 201
        (item,) = (await own.get("/offers"))["items"]
        assert (item["id"], item["use"], item["countersign"], item["status"]) == (
            signed.short,
            "one",
            "by_hand",
            "open",
        )


async def test_a_list_goes_on_where_it_stopped_and_only_for_its_business(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        ids = []
        for _ in range(5):
            ids.append((await shop.post("/offers", EXAMPLE_OFFER))["id"])
            world.later(5)
        await shop.ask("DELETE", f"/offers/{ids[1]}")
        found: list[str] = []
        query = "?limit=2"
        while True:
            page = await shop.get(f"/offers{query}")
            found += [item["id"] for item in page["items"]]
            if "next_cursor" not in page:
                break
            query = f"?limit=2&cursor={page['next_cursor']}"
            assert await other.refused("GET", f"/offers{query}") == "invalid_request"
            assert await shop.refused("GET", f"/connections{query}") == "invalid_request"
        assert found == ids[::-1]
        assert [item["id"] for item in (await shop.get("/offers?status=expired"))["items"]] == [ids[1]]
        assert len((await shop.get("/offers?status=open"))["items"]) == 4
        # Those that are asked for are found behind more than a page of others.
        page = await shop.get("/offers?status=expired&limit=1")
        assert [item["id"] for item in page["items"]] == [ids[1]]
        assert (await other.get("/offers"))["items"] == []


async def test_an_offer_that_was_ended_looks_like_one_that_never_was(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        made = await shop.post("/offers", EXAMPLE_OFFER)
        signed, half = await half_on(shop, made["id"], world.person())
        for route in (f"/offers/{made['id']}", f"/offers/{made['id']}/qr.png", f"/offers/{made['id']}/poster"):
            theirs, none = [await other.ask("GET", path) for path in (route, route.replace(made["id"], FORGED))]
            assert (theirs.status, theirs.plain) == (404, none.plain)
        assert await other.refused("DELETE", f"/offers/{made['id']}") == "not_found"

        ended = [await shop.ask("DELETE", f"/offers/{made['id']}") for _ in range(2)]
        assert [reply.status for reply in ended] == [204, 204]
        for path in (f"{OFFERS}/%s", "/i/%s"):
            gone, none = [await world.send("GET", path % name) for name in (made["id"], FORGED)]
            assert (gone.status, gone.plain) == (404, none.plain)
        assert (await world.propose(signed, half)).code == "not_found"
        # Publishing the text again changes nothing (INV-6), and the store is as it must be.
        assert (await world.publish(signed)).status == 201
        assert (await world.propose(signed, half)).code == "not_found"
        assert await shop.refused("GET", f"/offers/{made['id']}/qr.svg") == "not_found"
        assert (await shop.get(f"/offers/{made['id']}"))["status"] == "expired"
        await world.stop()
        seen = await asyncio.to_thread(check_store, tmp_path / "data")
        assert seen.findings.first == []
        await world.start()


async def test_nobody_invites_a_whole_town_in_a_day(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_invites=2) as world:
        shop = await a_shop(world)
        for_one = {**EXAMPLE_OFFER, "use": "one"}
        replies = await asyncio.gather(*(shop.ask("POST", "/offers", for_one) for _ in range(4)))
        assert sorted(reply.status for reply in replies) == [201, 201, 429, 429]
        refused = next(reply for reply in replies if reply.status == 429)
        assert (
            refused.code == "invite_quota" and DAY // 1000 - 5 <= int(refused.headers["Retry-After"]) <= DAY // 1000 + 1
        )
        signer = world.server.context.kept.newest("shop")
        assert signer is not None
        assert (await world.publish(world.offer(signer))).code == "invite_quota"
        assert (await shop.ask("POST", "/offers", EXAMPLE_OFFER)).status == 201
        assert await counted(world, "shop", "offers.over_quota") == 3
        assert await counted(world, "shop", "offers.made") == 3
        world.later(DAY + HOUR)
        assert (await shop.ask("POST", "/offers", for_one)).status == 201


HARMLESS = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "=HYPERLINK(1)", "{name}%s", "א ב ג"]
REFUSED = ["a\u202eb", "a\u2066b", "a\x00b", "a\nb", "a\x9bb", "", "x" * 101]


UNSEEN = [
    " ", "\u200b", "Clear\u200bView", "\u2800", "a\u00ad", "\u3164", "a\ufe0f", "Vi\U000e0065ew", "a\u200db", "\ue000",
]  # fmt: skip
NAMED = {
    " Clear\u00a0\u3000View ": "Clear View",
    "\uff23afe\u0301": "Caf\u00e9",
    "\u0645\u06cc\u200c\u062e": "\u0645\u06cc\u200c\u062e",
}


async def test_nobody_gets_an_offer_from_a_shop_without_a_name_to_be_seen(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        seats = set()
        for typed, name in NAMED.items():
            made = await shop.post("/offers", {**EXAMPLE_OFFER, "name": typed, "label": typed})
            told = await shop.get(f"/offers/{made['id']}")
            assert (told["name"], told["label"]) == (name, name)
            assert (await shop.post("/keys", {"label": typed, "role": "agent"}))["label"] == name
            seats |= {(await shop.post("/seats", {"staff": it}))["id"] for it in (typed, name)}
        # A member of staff has one seat, however somebody typed the name.
        assert len(seats) == len(NAMED)
        ways: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("/offers", "name", EXAMPLE_OFFER), ("/offers", "label", EXAMPLE_OFFER),
            ("/keys", "label", {"role": "agent"}), ("/seats", "staff", {}),
        )  # fmt: skip
        for text in UNSEEN:
            for path, member, body in ways:
                reply = await shop.ask("POST", path, {**body, member: text})
                (fault,) = reply.json["errors"]
                assert (reply.code, fault["pointer"]) == ("invalid_request", f"/{member}"), (path, ascii(text))
                assert fault["detail"].startswith("a name "), fault
        # Nor does the server publish what the shop signed itself: a wallet would show it, or refuse it.
        signer = world.server.context.kept.newest(shop.name)
        assert signer is not None
        for name in ("Clear  View", "\uff23lear View", "a\u2764\ufe0f", "M\u200dia"):
            offer = json.loads(world.offer(signer).offer.to_json()) | {"name": name}
            raw = forge(offer, OFFER_TYP, signer)
            for reply, code in (
                (await shop.ask("POST", "/offers", jws=raw), "invalid_request"),
                (await world.send("POST", OFFERS, raw.encode(), JWT), "malformed"),
            ):
                assert (reply.code, reply.json["errors"][0]["pointer"]) == (code, "/name"), ascii(name)
        plan = json.loads(b64u_decode(Things(shop, "").plan().split(".")[1]))
        later = {"label": "a\u2764\ufe0f", "from": plan["iat"], "until": plan["iat"] + 9}
        for changes, pointer in (({"title": "\uff34wo"}, "/title"), ({"initiatives": [later]}, "/initiatives/0/label")):
            reply = await shop.ask("PUT", "/notices/plan", jws=forge({**plan, **changes}, NOTICE_TYP, signer))
            assert (reply.code, reply.json["errors"][0]["pointer"]) == ("invalid_request", pointer)


async def test_the_name_of_a_shop_does_nothing_on_a_page(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        for name in HARMLESS:
            made = await shop.post("/offers", {**EXAMPLE_OFFER, "name": name, "label": name})
            told = await shop.get(f"/offers/{made['id']}")
            assert (told["name"], told["label"]) == (name, name)
            page = (await shop.ask("GET", f"/offers/{made['id']}/poster")).body.decode()
            read = Page(page)
            assert read.texts["h1"] == name
            assert read.tags <= {*Page.EXPECTED} and read.scripted == set()
        for member in ("name", "label"):
            for text in REFUSED:
                reply = await shop.ask("POST", "/offers", {**EXAMPLE_OFFER, member: text})
                assert reply.code == "invalid_request" and reply.json["errors"][0]["pointer"] == f"/{member}"
                assert not text or text not in reply.body.decode()  # BIZ-15
        (terms,) = EXAMPLE_OFFER["agreements"]
        bent = {**EXAMPLE_OFFER, "agreements": [{**terms, "text": "We keep\u202e nothing."}]}
        assert await shop.refused("POST", "/offers", bent) == "invalid_request"


@pytest.mark.parametrize(
    ("member", "value", "code"),
    [
        ("expires_at", "2024-06-01T00:00:00Z", "offer_expired"),
        ("expires_at", "2025-12-31T00:00:00Z", "invalid_request"),
        ("expires_at", "2024-12-31", "invalid_request"),
        ("to", "mailto:mia@example.org", "invalid_request"),
        ("agreements", [], "invalid_request"),
        ("purposes", ["Care!"], "invalid_request"),
        ("use", "few", "invalid_request"),
        ("seen_by", "all", "invalid_request"),
    ],
)
async def test_an_offer_that_is_none_is_told_why(member: str, value: Any, code: str, shop: Shop) -> None:
    reply = await shop.ask("POST", "/offers", {**EXAMPLE_OFFER, member: value})
    assert reply.code == code
    assert code != "invalid_request" or reply.json["errors"][0]["pointer"].startswith(f"/{member}")


async def test_a_phone_reads_the_link_from_the_picture(shop: Shop) -> None:
    made = await shop.post("/offers", EXAMPLE_OFFER)
    png = await shop.ask("GET", f"/offers/{made['id']}/qr.png?scale=4")
    assert png.headers["Content-Type"] == "image/png"
    assert [found.text for found in read_codes(png.body)] == [made["link"]]
    large = await shop.ask("GET", f"/offers/{made['id']}/qr.png?scale=32")
    assert Image.open(io.BytesIO(large.body)).size[0] == 8 * Image.open(io.BytesIO(png.body)).size[0]
    svg = await shop.ask("GET", f"/offers/{made['id']}/qr.svg")
    assert svg.headers["Content-Type"] == "image/svg+xml" and svg.body.lstrip().startswith(b"<?xml")
    for bent in ("scale=0", "scale=33", "scale=x", "size=3"):
        assert await shop.refused("GET", f"/offers/{made['id']}/qr.png?{bent}") == "invalid_request"


async def test_a_poster_says_what_for_and_until_when_and_runs_nothing(shop: Shop) -> None:
    made = await shop.post("/offers", {**EXAMPLE_OFFER, "purposes": ["care", "sales.garden_doors"]})
    reply = await shop.ask("GET", f"/offers/{made['id']}/poster")
    assert reply.headers["Content-Type"].startswith("text/html")
    policy, page = reply.headers["Content-Security-Policy"], reply.body.decode()
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{allowed}';")
    assert policy.partition("; frame-ancestors")[0] in page.replace("&#x27;", "'")
    read = Page(page)
    assert read.tags <= {*Page.EXPECTED} and read.scripted == set()
    for told in ("looking after what you have", "sales: garden doors", "in your app or by e-mail", made["link"]):
        assert told in read.text
    assert "Good until 31 December 2024, 17:00 UTC" in read.text and read.attributes["svg"]["aria-label"]


@pytest.fixture
async def shop(tmp_path: Path) -> Any:
    async with a_world(tmp_path) as world:
        yield await a_shop(world)


def read_codes(png: bytes) -> list[Any]:
    """What a camera's software reads in a picture."""
    return list(zxingcpp.read_barcodes(Image.open(io.BytesIO(png)).convert("RGB")))


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its tags, texts, and attributes that could run or fetch something."""

    EXPECTED = (
        "html head meta title style body main h1 p section svg path ol li h2 ul footer code".split()  # noqa: SIM905
    )

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.scripted: set[str] = set()
        self.texts: dict[str, str] = {}
        self.attributes: dict[str, dict[str, str | None]] = {}
        self.text = ""
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._open.append(tag)
        self.attributes[tag] = dict(attrs)
        self.scripted |= {name for name, _ in attrs if name.startswith("on") or name in ("src", "href", "style")}

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open and self._open[-1] not in self.texts:
            self.texts[self._open[-1]] = data


# --- what an offer allows (ALLOW-1 to ALLOW-5)

ALLOW: dict[str, Any] = {
    "purposes": ["care", "favour"],
    "channels": ["app"],
    "days": 365,
    "budget": {"max": 10, "per": "week"},
}


async def accepted(shop: Shop, short: str) -> Pair:
    """The connection of somebody new, who accepted that offer and did nothing else."""
    world, person = shop.world, shop.world.person()
    signed, half = await half_on(shop, short, person)
    offerer = world.server.context.kept.signer(signed.kid)
    assert offerer is not None
    assert (await world.propose(signed, half)).status == 202
    whole, signers = countersign(half, offerer), {"first": offerer, "second": person}
    items = (await world.read(person, INBOX)).json["items"]
    opened = open_event(items[0]["event"], world.server.directory.find_key).event
    assert isinstance(opened, Opened)
    pair = Pair(world, whole, signers, initial_state(whole, opened))  # type: ignore[arg-type]
    for item in items[1:]:
        pair.take(item["event"], open_act(item["act"], world.server.directory.find_key))
    return pair


async def test_a_customer_who_accepts_a_poster_may_write_at_once(tmp_path: Path) -> None:
    """ALLOW-2, ALLOW-3: her first message passes, right after the opening."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        made = await shop.post("/offers", {**EXAMPLE_OFFER, "allow": ALLOW})
        pair = await accepted(shop, made["id"])
        await pair.go("second", "message", purpose="care.question")
        (grant,) = pair.state.first.grants
        assert (grant.purposes, grant.channels) == (("care", "favour"), ("app",))
        assert grant.budget == Budget(10, 7 * DAY // 1000)
        at = (await shop.get(f"/connections/{pair.cid}"))["opened_at"]
        assert instant((grant.exp - 365 * DAY // 1000) * 1000)[:19] == at[:19]
        act = (await shop.get(f"/connections/{pair.cid}/acts/{grant.id}"))["jws"]
        assert await pair.status(open_act(act, world.server.directory.find_key)) == 0
        assert await pair.refused("second", "message", purpose="sales") == "no_grant"
        told = await shop.get(f"/offers/{made['id']}")
        assert told["allow"] == ALLOW and (told["promises_kept"], told["connections_opened"]) == (1, 1)
    assert check_store(tmp_path / "data").findings.first == []


async def test_a_proposal_that_the_shop_accepts_here_brings_the_grant_as_well(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        made = await shop.post("/offers", {**EXAMPLE_OFFER, "allow": ALLOW, "countersign": "by_hand"})
        person = world.person()
        signed, half = await half_on(shop, made["id"], person)
        assert (await world.propose(signed, half)).status == 202
        await shop.post(f"/proposals/{half.cid}/accept")
        items = (await world.read(person, INBOX)).json["items"]
        assert [it["kind"] for it in items] == ["opened", "act"]
        assert (await shop.get(f"/offers/{made['id']}"))["promises_kept"] == 1


async def test_an_opening_that_dies_leaves_neither_a_connection_nor_a_grant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no moment between the two: they are written by one commit, or not at all (ALLOW-3)."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        made = await shop.post("/offers", {**EXAMPLE_OFFER, "allow": ALLOW})
        signed, half = await half_on(shop, made["id"], world.person())
        commit, written = SqliteStore.commit, list[Batch]()

        async def dying(self: SqliteStore, batch: Batch, *before: Any) -> None:
            written.append(batch)
            if len(written) == 1:
                raise OSError("the disk is gone")
            await commit(self, batch, *before)

        monkeypatch.setattr(SqliteStore, "commit", dying)
        assert (await world.propose(signed, half)).status == 503
        await world.stop()
        await world.start()
        assert (await shop.get(f"/offers/{made['id']}"))["connections_opened"] == 0
        assert await shop.refused("GET", f"/connections/{half.cid}") == "not_found"
        assert (await world.propose(signed, half)).status == 202
        together = [batch for batch in written if batch.put_agreement or batch.put_act]
        assert len(together) == 2, "the one that died, and the one that did not"
        for batch in together:
            assert [row["cid"] for row in batch.put_agreement] == [row["cid"] for row in batch.put_act] == [half.cid]
            assert len(batch.reserve_index) == 1 and len(batch.put_status) >= 1
        assert (await shop.get(f"/offers/{made['id']}"))["promises_kept"] == 1


async def test_a_grant_taken_back_within_a_week_counts_as_a_broken_promise(tmp_path: Path) -> None:
    """ALLOW-5: bait does not improve the figure."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        made = await shop.post("/offers", {**EXAMPLE_OFFER, "allow": ALLOW})
        early, late, stays = [await accepted(shop, made["id"]) for _ in range(3)]

        async def take_back(pair: Pair) -> None:
            await shop.post(f"/connections/{pair.cid}/withdraw", {"grant": pair.state.first.grants[0].id})

        async def kept() -> tuple[int, int]:
            found = await shop.get(f"/offers/{made['id']}")
            return found["promises_kept"], found["connections_opened"]

        assert await kept() == (3, 3)
        await take_back(early)
        assert await kept() == (2, 3)
        world.later(7 * DAY + HOUR)
        await take_back(late)
        assert await kept() == (2, 3)
        await stays.go("second", "message", purpose="care")
        assert await early.refused("second", "message", purpose="care") == "no_grant"


async def test_a_shop_that_signs_itself_keeps_its_promise_by_the_grant_that_it_sends(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        signer = await world.business("own")
        own = Shop(world, "own", signer.did, await world.server.add_owner_key("own"))
        allow = {name: tuple(value) if isinstance(value, list) else value for name, value in ALLOW.items()}
        signed = world.offer(signer, use="many", allow=allow)
        await own.post("/offers", jws=signed.raw)
        half = world.half(signed, signer, person := world.person())
        assert (await world.propose(signed, half)).status == 202
        whole = countersign(half, signer)
        reply = await world.countersign(whole)
        opened = open_event(reply.json["event"], world.server.directory.find_key).event
        assert isinstance(opened, Opened)
        pair = Pair(world, whole, {"first": signer, "second": person}, initial_state(whole, opened))
        assert (await own.get(f"/offers/{signed.short}"))["promises_kept"] == 0
        assert await pair.refused("second", "message", purpose="care") == "no_grant"
        await pair.grant("first", "care", "favour")
        assert (await own.get(f"/offers/{signed.short}"))["promises_kept"] == 1


async def test_an_offer_that_allows_nothing_opens_as_before(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        made = await shop.post("/offers", EXAMPLE_OFFER)
        read = await world.send("GET", f"{OFFERS}/{made['id']}")
        assert b"allow" not in base64.urlsafe_b64decode(read.body.split(b".")[1] + b"==")
        pair = await accepted(shop, made["id"])
        assert pair.state.first.grants == () and (await pair.kinds("second")) == ["opened"]
        told = await shop.get(f"/offers/{made['id']}")
        assert "promises_kept" not in told and "allow" not in told
        for allow in ({**ALLOW, "purposes": ["complaint"]}, {**ALLOW, "budget": {"max": 0, "per": "week"}}):
            problem = await shop.ask("POST", "/offers", {**EXAMPLE_OFFER, "allow": allow})
            assert problem.code == "invalid_request"
            assert all(it["pointer"].startswith("/allow") for it in problem.json["errors"])
