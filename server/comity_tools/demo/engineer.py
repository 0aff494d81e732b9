"""The chapter of a business that lets the server keep its key, and is an API key and plain HTTP to its engineer."""

import asyncio
import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from nacl.encoding import RawEncoder
from nacl.signing import VerifyKey
from standardwebhooks import Webhook

from comity.client import Connection
from comity.documents.notices import AwayNotice
from comity.http_api import JSON_LINES
from comity_tools.demo.common import HOUSE_TERMS, Chapters
from comity_tools.demo.processes import comity
from comity_tools.demo.stage import wait_until
from comity_tools.demo.webhook_receiver import Received, WebhookReceiver

WITHIN = 20.0
"""Seconds that webhooks may take."""


class Rest:
    """The business side of the server, for one API key."""

    def __init__(self, session: aiohttp.ClientSession, origin: str, key: str) -> None:
        self._session = session
        self._base = f"{origin}/v1/business"
        self._headers = {"Authorization": f"Bearer {key}"}

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, answer)."""
        async with self._session.request(method, self._base + path, json=body, headers=self._headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def lines(self, path: str, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The answers to JSON lines."""
        sent = "".join(json.dumps(question) + "\n" for question in questions).encode()
        headers = {**self._headers, "Content-Type": JSON_LINES}
        async with self._session.post(self._base + path, data=sent, headers=headers) as answer:
            return [json.loads(line) for line in (await answer.read()).splitlines()]


class Engineer(Chapters):
    """The bakery has no wallet: its engineer has curl."""

    # --- 12 -----------------------------------------------------------------------------------------------------------

    async def engineer_half_hour(self) -> None:
        """From an API key to a refused sale."""
        say, stage = self.say, self.stage
        # What a webhook's receiver checks is the wall clock.
        stage.move_clock(time.time_ns() // 1_000_000 - 1000)
        made = await comity("business", "create", "bakery", environment=stage.environment())
        did, _, key = made.stdout.split()
        say.tell("A bakery leaves its key with the server. Its engineer has an API key, and half an hour:")
        async with aiohttp.ClientSession() as session, WebhookReceiver() as receiver:
            rest = Rest(session, stage.origin, key)
            _, self_ = await rest("GET", "/self")
            say.check(f"the key speaks for {self_['did']}", self_["did"] == did)
            async with session.get(f"{stage.origin}/docs/openapi.json") as document:
                self.results.openapi = await document.read()
            await self._endpoint(rest, receiver)
            jonas = await self._customer(rest)
            await self._campaign(rest, jonas)
            await self._webhooks(receiver)
            await jonas.sync()

    async def _endpoint(self, rest: Rest, receiver: WebhookReceiver) -> None:
        status, refused = await rest("POST", "/webhooks", {"url": "https://169.254.169.254/latest/"})
        self.say.check(f"a webhook to an address that is not public is refused ({refused['code']})", status == 422)
        status, endpoint = await rest("POST", "/webhooks", {"url": receiver.url, "types": ["*"]})
        receiver.secret, self._public_key = endpoint["secret"], endpoint["public_key"]
        self.say.check("its own endpoint takes them", status == 201)
        until = time.monotonic() + WITHIN
        while endpoint["status"] != "active" and time.monotonic() < until:
            await asyncio.sleep(0.05)
            _, endpoint = await rest("GET", f"/webhooks/{endpoint['id']}")
        self.say.check("once it has proved that it wants them", endpoint["status"] == "active")

    async def _customer(self, rest: Rest) -> Connection:
        terms = {"id": "example:house-terms", "version": "1", "lang": "en", "text": HOUSE_TERMS}
        wanted = {"name": "Harbour Bakery (example)", "purposes": ["care", "sales"], "use": "many"}
        ends = "2099-01-01T00:00:00Z"
        _, refused = await rest("POST", "/offers", {**wanted, "agreements": [terms], "expires_at": ends})
        where = [it["pointer"] for it in refused["errors"]]
        self.say.check(f"an offer for ever is refused, and is shown where it is wrong ({where[0]})", len(where) == 1)
        year = time.gmtime().tm_year
        ends = f"{year + 1}-01-01T00:00:00Z"
        _, offer = await rest("POST", "/offers", {**wanted, "agreements": [terms], "expires_at": ends})
        jonas = await self.cast.jonas.accept(offer["link"])
        await jonas.wait_until_open(timeout=30)
        self.say.check("Jonas scans its poster, and is connected at once", jonas.phase == "open")
        self.cast.parties["jonas-bakery"] = jonas
        return jonas

    async def _campaign(self, rest: Rest, jonas: Connection) -> None:
        say, cid = self.say, jonas.cid
        await jonas.grant(["care", "sales"], days=90)
        question = {"connection": cid, "purpose": "sales.offers", "topic": "bread.weekly"}
        _, verdict = await rest("POST", "/check", question)
        say.check(
            f"may it sell him the weekly bread? {verdict['decision']}: {verdict['why']}", verdict["decision"] == "allow"
        )
        bought = {"kind": "bought", "topic": "bread.weekly", "happened_at": "2026-01-02T08:00:00Z"}
        await rest("POST", f"/connections/{cid}/milestones", bought)
        answers = await rest.lines("/check", [{**question, "ref": "row 1"}, {"connection": "?", "ref": "row 2"}])
        say.check(f"once he has bought it: {answers[0]['why']}", answers[0]["reason"] == "already_has")
        say.check(
            "a broken line of a list spoils no other", [answer["ref"] for answer in answers] == ["row 1", "row 2"]
        )
        sale = {"purpose": "sales.offers", "topic": "bread.weekly", "text": "Our weekly bread, just for you!"}
        status, refused = await rest("POST", f"/connections/{cid}/messages", sale)
        say.check(f"the sale is refused ({refused['code']}), and kept as a draft", status == 403 and refused["draft"])
        care = {"purpose": "care.checkin", "text": "Was the bread good?"}
        _, sent = await rest("POST", f"/connections/{cid}/messages", care)
        arrived = await self.stage.sync_until(jonas, lambda: self._has_arrived(jonas, sent["id"]))
        say.check("how the bread was it may ask, and Jonas reads it", arrived)
        await jonas.mute(days=7)
        status, held = await rest("POST", f"/connections/{cid}/messages", {**care, "text": "And the cake?"})
        say.check(f"muted, the next one waits: {held['verdict']['why']}", (status, held["status"]) == (202, "held"))
        await jonas.unmute()
        await self._away(rest, jonas)

    async def _away(self, rest: Rest, jonas: Connection) -> None:
        """One text for all customers: nothing is sent, and nothing waits for it."""
        say, now = self.say, datetime.fromtimestamp(self.stage.now() / 1000, UTC)
        texts = {"en": "The oven is being repaired. Back on Monday.", "de": "Der Ofen wird repariert. Montag wieder."}
        away = {"starts_at": now.isoformat(), "ends_at": (now + timedelta(days=4)).isoformat(), "texts": texts}
        status, _ = await rest("PUT", "/notices/away", away)
        await jonas.sync()
        (shown,) = await jonas.notices()
        text = shown.texts["en"] if isinstance(shown, AwayNotice) else ""
        say.check(f"it is away; Jonas reads it when he opens the connection: “{text}”", status == 200 and text)
        say.check("it stops nothing: he may be written to as before", jonas.away_until() is not None)

    async def _webhooks(self, receiver: WebhookReceiver) -> None:
        wanted = {"connection.opened", "grant.given", "connection.muted", "connection.unmuted", "message.delivered"}
        await wait_until(lambda: wanted <= {event.type for event in receiver.events}, WITHIN)
        events = list(receiver.events)
        self.say.tell(f"Meanwhile its endpoint was told: {', '.join(event.type for event in events)}.")
        both = all(self._holds(receiver.secret, event) for event in events)
        self.say.check(f"both signatures of all {len(events)} hold, for libraries that are not Comity's", both)
        self.results.webhooks = receiver.files()

    def _holds(self, secret: str, webhook: Received) -> bool:
        Webhook(secret).verify(webhook.body, dict(webhook.headers))
        signed = f"{webhook.id}.{webhook.headers['webhook-timestamp']}.".encode() + webhook.body
        words = webhook.headers["webhook-signature"].split()
        signature = next(word for word in words if word.startswith("v1a,")).removeprefix("v1a,")
        key = VerifyKey(base64.b64decode(self._public_key.removeprefix("whpk_")), encoder=RawEncoder)
        return key.verify(signed, base64.b64decode(signature)) == signed
