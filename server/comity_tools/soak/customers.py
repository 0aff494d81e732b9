"""Customers with wallets, and a business over REST with a webhook endpoint. Their answers go into the ledger too."""

import asyncio
import json
import random
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from comity.client import Connection, Wallet, new_identity
from comity.errors import Contradiction, Refused, Unreachable
from comity.http_api import Acceptance, RecordBody
from comity_server.operator import admin_socket
from comity_server.operator.commands import CREATE, KeyToPublish
from comity_tools.bench.result import BenchFailed
from comity_tools.demo.webhook_receiver import WebhookReceiver
from comity_tools.soak.ledger import Ledger
from comity_tools.soak.server_process import Serving
from comity_tools.soak.verification import TRY_AGAIN

BUSINESS = "corner-shop"
PROVES_WITHIN = 60.0
"""Seconds in which the endpoint must have answered its challenge."""
BROUGHT_WITHIN = 60.0
"""Seconds after which every event of an acknowledged message must have been delivered, once nothing fails any more."""
_TERMS = {"id": "example:terms", "version": "1", "lang": "en", "text": "We write for what you allowed."}


class Rest:
    """The business, by its API key."""

    def __init__(self, session: aiohttp.ClientSession, origin: str, key: str) -> None:
        self._session = session
        self._base = f"{origin}/v1/business"
        self._headers = {"Authorization": f"Bearer {key}"}

    async def post(self, path: str, body: Any, again: str) -> tuple[int, Any]:
        """(status, answer); `again` is the Idempotency-Key. Raises ClientError, TimeoutError."""
        headers = {**self._headers, "Idempotency-Key": again}
        async with self._session.post(self._base + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def get(self, path: str) -> Any:
        """The answer. Raises ClientError, TimeoutError."""
        async with self._session.get(self._base + path, headers=self._headers) as answer:
            return await answer.json(content_type=None)


class Customers:
    """See the module. Use as an async context; `begin` connects everybody."""

    def __init__(self, serving: Serving, ledger: Ledger, folder: Path, rng: random.Random) -> None:
        self._serving = serving
        self._ledger = ledger
        self._folder = folder
        self._rng = rng
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15))
        self._endpoint = WebhookReceiver()
        self._wallets: list[tuple[Wallet, Connection]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._is_acting = False
        self._numbers = 0
        self.awaited: set[str] = set()
        """Acknowledged messages to the business, for which its endpoint must receive a webhook."""

    async def __aenter__(self) -> "Customers":
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pause()
        for wallet, _party in self._wallets:
            await wallet.close()
        await self._session.close()
        await self._endpoint.__aexit__()

    async def begin(self, count: int) -> None:
        """Make the business, its endpoint and its offer, and connect so many wallets. Raises BenchFailed."""
        made = await admin_socket.ask(self._serving.folder, CREATE, KeyToPublish(BUSINESS, None))
        if made.api_key is None:
            raise BenchFailed("the business got no API key")
        self._rest = Rest(self._session, self._serving.origin, made.api_key)
        await self._prove_endpoint()
        ends = datetime.now(UTC) + timedelta(days=30)
        wanted = {"name": "Corner Shop", "purposes": ["care", "sales"], "use": "many", "agreements": [_TERMS]}
        status, offer = await self._rest.post("/offers", {**wanted, "expires_at": ends.isoformat()}, "offer")
        if status != 201:
            raise BenchFailed(f"no offer could be made: {offer}")
        for number in range(count):
            file = self._folder / f"{number}.wallet"
            wallet = await Wallet.create(file, identity=new_identity(), name=f"Customer {number}")
            party = await wallet.accept(offer["link"])
            await party.wait_until_open(timeout=30)
            await party.grant(["care", "sales"])
            self._wallets.append((wallet, party))

    async def _prove_endpoint(self) -> None:
        status, made = await self._rest.post("/webhooks", {"url": self._endpoint.url, "types": ["*"]}, "endpoint")
        if status != 201:
            raise BenchFailed(f"no endpoint could be set up: {made}")
        async with asyncio.timeout(PROVES_WITHIN):
            while True:
                if (await self._rest.get(f"/webhooks/{made['id']}"))["status"] == "active":
                    return
                await asyncio.sleep(0.1)

    # --- living -----------------------------------------------------------------------------------------------------

    def act(self) -> None:
        """Wallets and business act from now on."""
        self._is_acting = True
        self._tasks = [asyncio.create_task(self._live(*wallet)) for wallet in self._wallets]
        self._tasks.append(asyncio.create_task(self._trade()))

    async def pause(self) -> None:
        """Stops sending."""
        self._is_acting = False
        await asyncio.gather(*self._tasks)
        self._tasks = []

    async def _live(self, wallet: Wallet, party: Connection) -> None:
        """One thing after the other, as a customer's app does."""
        while self._is_acting:
            what = self._rng.choice(("complaint", "mute", "unmute", "remember", "sync"))
            known = {line.act.id for line in party.records if line.act is not None}
            try:
                async with asyncio.timeout(60):
                    await self._do(party, what)
            except (Unreachable, TimeoutError):
                continue
            except Refused as refused:
                if refused.code not in {*TRY_AGAIN, "no_such_mute"}:
                    self._ledger.wrong.append(f"{party.cid}: {what} was refused: {refused.code}")
            except Contradiction as fault:
                self._ledger.wrong.append(f"{party.cid}: a contradiction: {fault.claim}")
                return
            self._note(party, known)
            await asyncio.sleep(self._rng.uniform(0.05, 0.3))

    async def _do(self, party: Connection, what: str) -> None:
        if what == "complaint":
            sent = await party.send_message("complaint", "It does not work.")
            self.awaited.add(sent.id)
        elif what == "mute":
            await party.mute(hours=1)
        elif what == "unmute":
            await party.unmute()
        elif what == "remember":
            await party.remember("language", value=["de"])
        else:
            await party.sync()

    def _note(self, party: Connection, known: set[str]) -> None:
        """Note the own acts that the wallet holds since: it was answered, or read them back."""
        for line in party.records:
            if line.act is not None and line.act.id not in known and line.event.event == "accepted":
                acknowledgement = Acceptance(act=line.act.id, event=line.raw)
                self._ledger.acknowledge(party.cid, line.act.raw, acknowledgement)

    async def _trade(self) -> None:
        """The business writes to one customer after the other, and repeats what was not answered under the same key."""
        ids = [party.cid for _, party in self._wallets]
        while self._is_acting:
            self._numbers += 1
            customer = self._rng.choice(ids)
            body = {"purpose": "care.checkin", "text": "Does it work?"}
            answer = await self._until_answered(f"/connections/{customer}/messages", body, f"m-{self._numbers}")
            if answer is not None and "message" in answer:
                self._ledger.note(customer, answer["id"])
            await asyncio.sleep(self._rng.uniform(0.05, 0.3))

    async def _until_answered(self, path: str, body: Any, again: str) -> Any:
        """The answer; None where it was still not known at a pause."""
        while True:
            with suppress(aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
                status, answer = await self._rest.post(path, body, again)
                if status not in (429, 503):
                    return answer
            if not self._is_acting:
                return None
            await asyncio.sleep(0.1)

    # --- looking ----------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Compares the records that the wallets read with the answers to both sides."""
        for wallet, party in self._wallets:
            known = {line.act.id for line in party.records if line.act is not None}
            try:
                await party.sync()
            except Contradiction as fault:
                self._ledger.wrong.append(f"{party.cid}: a contradiction: {fault.claim}")
            self._note(party, known)
            records = [
                RecordBody(event=record.raw, act=None if record.act is None else record.act.raw)
                for record in party.records
            ]
            self._ledger.compare_records(party.cid, records)
            self._ledger.wrong += [
                f"{party.cid}: evidence: {contradiction.claim}" for contradiction in wallet.contradictions()
            ]

    async def count_missing_webhooks(self) -> int:
        """The number of acknowledged messages without a webhook, after a time without faults."""
        until = time.monotonic() + BROUGHT_WITHIN
        while True:
            left = self.awaited - {self._act_of(event.body) for event in self._endpoint.events}
            if not left or time.monotonic() > until:
                return len(left)
            await asyncio.sleep(0.5)

    @staticmethod
    def _act_of(body: bytes) -> str:
        return str(json.loads(body)["data"].get("act", ""))
