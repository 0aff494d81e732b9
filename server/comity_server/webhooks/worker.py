"""Sends webhooks: reads the streams of businesses, attempts each delivery, and keeps the delivery records.

    read       news after an endpoint's cursor become deliveries, in one transaction with the cursor
    attempt    a due delivery is signed and posted if a lane is free (lanes.py)
    record     the attempt, the next time of the delivery, and the endpoint's status, in one transaction

Everything that it needs is passed in, the clock and the HTTP client too.
"""

import asyncio
import random
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol

from comity.encoding import b64u_encode
from comity.errors import Refused
from comity_server.businesses.master_key import MasterKey
from comity_server.clock import Clock, sleep_until
from comity_server.logging import logger
from comity_server.store.business import StoredWebhook
from comity_server.webhooks.control_protocol import Attempt, DeliveryState
from comity_server.webhooks.delivery_store import DeliveryStore, Due, Key, New, Row
from comity_server.webhooks.endpoint import CHALLENGE, TEST, Endpoint, event_json, id_of, new_id
from comity_server.webhooks.event_source import EventSource, wants
from comity_server.webhooks.http_client import TIMEOUT, Outcome
from comity_server.webhooks.lanes import TO_ONE_ENDPOINT, Goal, Lanes
from comity_server.webhooks.retry import CHALLENGED_AGAIN, HOUR, MINUTE, next_at
from comity_server.webhooks.signatures import Secrets, Signers

PAGE = 100
"""Rows of news that are read at a time."""
MOST_WAITING = 1000
"""The number of pending deliveries of one endpoint; further news wait in the store."""
MOST_CHALLENGES = 30
"""Challenges of one business in a minute: they go to hosts that have agreed to nothing yet."""
MOST_ASKED = 4
"""Tests and challenges of one endpoint that somebody waits for."""
GRACE = 2.0
"""Seconds that attempts under way get at a stop; those that are cut off are made again."""


class Posting(Protocol):
    """The way out."""

    async def __call__(self, url: str, headers: dict[str, str], body: bytes) -> Outcome: ...


class WebhookWorker:
    """See the module."""

    def __init__(
        self,
        events: EventSource,
        records: DeliveryStore,
        post: Posting,
        clock: Clock,
        master: MasterKey,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._events = events
        self.records = records
        self._post = post
        self._clock = clock
        self._master = master
        self._chance = chance
        self._lanes = Lanes()
        self._endpoints: dict[Key, Endpoint] = {}
        """In the order in which they took a lane last: they take turns."""
        self._blocked: set[Key] = set()
        """Endpoints that wait for a lane."""
        self._challenged: dict[str, deque[int]] = {}
        """When (ms) a business's endpoints were challenged last."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._is_stopping = False
        self._failed: Exception | None = None
        self._prune_at = 0

    # --- commands --------------------------------------------------------------------------------------------------

    def ring(self) -> None:
        """There may be news."""
        for endpoint in self._endpoints.values():
            endpoint.is_behind = True
        self._woken.set()

    def reload(self) -> None:
        """Take in the endpoints as they are set up now. Raises CannotUnseal."""
        rows, found = self.records.endpoints(), self._events.endpoints()
        keys = {(it.name, it.id) for it in found}
        for key in rows.keys() - keys:
            self.records.forget(key)
        for key in self._endpoints.keys() - keys:
            del self._endpoints[key]
            self._lanes.forget(key)
        for definition in found:
            self._set_up(definition, rows.get((definition.name, definition.id)))
        self._woken.set()

    def _set_up(self, of: StoredWebhook, row: Row | None) -> None:
        key = (of.name, of.id)
        endpoint = self._endpoints.get(key)
        if endpoint is not None and endpoint.definition == of:
            return
        signers = Signers(Secrets.unseal(of.sealed, self._master, of.name, of.id))
        is_known = row is not None and row.url == of.url
        if row is None or not is_known:
            # New, or moved: the host there has proved nothing yet (HOOK-8).
            row = Row(of.url, of.after if row is None else row.cursor, "unproven", None, self._clock.now(), None)
            self.records.put_endpoint(key, row)
        if endpoint is None:
            self._endpoints[key] = Endpoint(of, signers, row, self.records.count_pending(key))
            return
        if not is_known:
            self._lanes.forget(key)
        # In place, for deliveries under way there.
        endpoint.definition, endpoint.signers, endpoint.row = of, signers, row
        endpoint.wake_at, endpoint.is_behind = 0, True
        endpoint.challenges = endpoint.challenges if is_known else 0

    def endpoints(self, name: str) -> list[Endpoint]:
        """The endpoints of a business."""
        return [endpoint for key, endpoint in self._endpoints.items() if key[0] == name]

    def endpoint(self, name: str, id_: str) -> Endpoint:
        """One endpoint of a business. Raises Refused("not_found")."""
        found = self._endpoints.get((name, id_))
        if found is None:
            raise Refused("not_found")
        return found

    def stop(self) -> None:
        """Makes `run` end soon."""
        self._is_stopping = True
        self._woken.set()

    def give_up(self, error: Exception) -> None:
        """Makes `run` raise this: a new process may do better."""
        self._failed = error
        self._woken.set()

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send until `stop`. Raises what went wrong beside deliveries: then nothing but a new start is safe."""
        self.reload()
        while not self._is_stopping:
            self._woken.clear()
            now = self._clock.now()
            self._prune(now)
            for endpoint in list(self._endpoints.values()):
                self._look_at(endpoint, now)
            wakes = [it.wake_at for it in self._endpoints.values() if it.wake_at is not None]
            await sleep_until(self._clock, min([self._prune_at, *wakes]), self._woken)
            # If wake-ups follow each other, the tasks that they woke get their turn too.
            await asyncio.sleep(0)
            self._raise_what_failed()
        await self._end()

    def _raise_what_failed(self) -> None:
        if self._failed is not None:
            raise self._failed
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()

    async def _end(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _look_at(self, endpoint: Endpoint, now: int) -> None:
        if endpoint.is_active and endpoint.is_behind and endpoint.waiting < MOST_WAITING:
            self._take(endpoint, now)
        if endpoint.wake_at is None or endpoint.wake_at > now:
            return
        endpoint.wake_at = None
        if endpoint.is_active:
            self._begin(endpoint, now)
        elif endpoint.row.state == "unproven" and endpoint.challenges < 2 and not endpoint.challenging.locked():
            self._challenge_by_itself(endpoint, now)

    def _take(self, endpoint: Endpoint, now: int) -> None:
        """Makes deliveries of the news after the cursor, and moves the cursor."""
        room = min(PAGE, MOST_WAITING - endpoint.waiting)
        found = self._events.after(endpoint.definition, endpoint.row.cursor, room)
        endpoint.is_behind = len(found) == room
        if not found:
            return
        told = [(n, it) for n, it in found if it is not None and wants(endpoint.definition, it.type)]
        new = [New(id_of(endpoint, it.id), it.id, it.type, n) for n, it in told]
        endpoint.row = endpoint.row._replace(cursor=found[-1][0])
        self.records.take(endpoint.key, endpoint.row, new, now)
        if new:
            endpoint.waiting, endpoint.wake_at = self.records.count_pending(endpoint.key), now
        if endpoint.is_behind:
            self._woken.set()

    def _begin(self, endpoint: Endpoint, now: int) -> None:
        """Begins due deliveries, as far as lanes are free."""
        for due in self.records.due_deliveries(endpoint.key, now, len(endpoint.under_way) + TO_ONE_ENDPOINT):
            if due.number in endpoint.under_way:
                continue
            if not self._has_lane(endpoint, now):
                return
            endpoint.under_way.add(due.number)
            self._start(self._deliver(endpoint, due, endpoint.goal, endpoint.definition.url))
        endpoint.wake_at = self.records.next_due(endpoint.key, endpoint.under_way)

    def _has_lane(self, endpoint: Endpoint, now: int) -> bool:
        """Take a lane; where there is none, the endpoint is looked at again when there may be one."""
        if self._lanes.take(endpoint.goal, now):
            self._endpoints[endpoint.key] = self._endpoints.pop(endpoint.key)
            return True
        closed = self._lanes.paused_until(endpoint.key)
        if closed > now:
            endpoint.wake_at = closed
        else:
            self._blocked.add(endpoint.key)
        return False

    def _give_lane(self, endpoint: Endpoint, goal: Goal, well: bool | None) -> None:
        now = self._clock.now()
        self._lanes.give(goal, now, is_well=well)
        for key in {*self._blocked, endpoint.key} & self._endpoints.keys():
            self._endpoints[key].wake_at = now
        self._blocked.clear()
        self._woken.set()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda _task: self._woken.set())

    def _prune(self, now: int) -> None:
        if now >= self._prune_at:
            self._prune_at = now + HOUR
            for key in self._endpoints:
                self.records.prune(key, now)

    # --- one delivery -----------------------------------------------------------------------------------------------

    async def _deliver(self, endpoint: Endpoint, due: Due, goal: Goal, url: str) -> None:
        """Attempt a delivery, in the lane that was taken for it, at the URL that was proved then."""
        well = None
        try:
            well = await self._attempt(endpoint, due, url)
        finally:
            endpoint.under_way.discard(due.number)
            endpoint.waiting = self.records.count_pending(endpoint.key)
            self._give_lane(endpoint, goal, well)

    def _body(self, endpoint: Endpoint, due: Due) -> bytes | None:
        if due.n is None:
            return event_json(due.event, TEST, due.made_at, {})
        told = self._events.at(endpoint.definition, due.n)
        return None if told is None else told.json()

    async def _attempt(self, endpoint: Endpoint, due: Due, url: str) -> bool | None:
        """Post it, and take note of what became of it. Whether the endpoint did its part; None where it was not
        asked, or is elsewhere by now."""
        at, body = self._clock.now(), self._body(endpoint, due)
        if body is None:
            gone = Attempt(at, 0, error="what it told about was erased")
            self.records.record_attempt(endpoint.key, endpoint.row, due, gone, "failed", None)
            return None
        outcome = await self._post(url, endpoint.signers.headers(due.id, at, body), body)
        if not self._is_at(endpoint, url):
            return None
        attempt, was = Attempt(at, outcome.ms, outcome.status, outcome.error), endpoint.row.state
        endpoint.learn(attempt)
        if outcome.error is None:
            self.records.record_attempt(endpoint.key, endpoint.row, due, attempt, "delivered", None)
        else:
            again = self._again_at(due, outcome)
            state: DeliveryState = "failed" if again is None else "waiting"
            self.records.record_attempt(endpoint.key, endpoint.row, due, attempt, state, again)
        if endpoint.row.state != was:
            logger().warning("webhook_disabled", reason=endpoint.row.reason)
        return outcome.is_well

    def _again_at(self, due: Due, outcome: Outcome) -> int | None:
        now = self._clock.now()
        if due.n is None:
            return None
        if outcome.status == 410:
            # It waits for the endpoint to be taken up again, should that ever be.
            return now
        return next_at(due.tries + 1, now, outcome.asked, self._chance)

    def _is_at(self, endpoint: Endpoint, url: str) -> bool:
        """Whether the endpoint is still there, and still at the URL that was tried."""
        return self._endpoints.get(endpoint.key) is endpoint and endpoint.definition.url == url

    # --- challenges -------------------------------------------------------------------------------------------------

    def _challenge_by_itself(self, endpoint: Endpoint, now: int) -> None:
        """When the endpoint is new, and a minute later (HOOK-8)."""
        if (free_at := self._challenges_again_at(endpoint, now)) > now:
            endpoint.wake_at = free_at
        elif self._has_lane(endpoint, now):
            endpoint.challenges += 1
            self._start(self._challenge_in_lane(endpoint, endpoint.goal))

    async def _challenge_in_lane(self, endpoint: Endpoint, goal: Goal) -> None:
        well = None
        try:
            async with endpoint.challenging:
                well = (await self._challenge(endpoint))[0].is_well
        finally:
            self._give_lane(endpoint, goal, well)
            if endpoint.row.state == "unproven" and endpoint.challenges:
                endpoint.wake_at = self._clock.now() + CHALLENGED_AGAIN

    def _challenges_again_at(self, endpoint: Endpoint, now: int) -> int:
        """When (ms) the business may challenge again."""
        times = self._challenged.get(endpoint.definition.name)
        return now if times is None or len(times) < MOST_CHALLENGES else max(now, times[0] + MINUTE)

    async def _challenge(self, endpoint: Endpoint) -> tuple[Outcome, bool]:
        """Challenge an endpoint: what became of it, and whether it proved itself (HOOK-8)."""
        at, url, word = self._clock.now(), endpoint.definition.url, b64u_encode(secrets.token_bytes(24))
        body = event_json(new_id("evt"), CHALLENGE, at, {"challenge": word})
        self._challenged.setdefault(endpoint.definition.name, deque(maxlen=MOST_CHALLENGES)).append(at)
        outcome = await self._post(url, endpoint.signers.headers(new_id("msg"), at, body), body)
        if not self._is_at(endpoint, url):
            return outcome, False
        proved = endpoint.judge(outcome, word, self._clock.now())
        self.records.put_endpoint(endpoint.key, endpoint.row)
        if proved:
            endpoint.wake_at = self._clock.now()
            self._woken.set()
        return outcome, proved

    # --- requests --------------------------------------------------------------------------------------------------

    async def verify(self, endpoint: Endpoint) -> None:
        """Challenge an endpoint now. Raises Refused("not_public" | "not_owned" | "rate_limited")."""
        is_under_way = endpoint.challenging.locked()
        async with _in_turn(endpoint, endpoint.challenging):
            if is_under_way and endpoint.row.state == "active":
                return  # by the one that was under way
            now = self._clock.now()
            if (wait := self._challenges_again_at(endpoint, now) - now) > 0:
                raise Refused("rate_limited", "too many challenges", retry_after=wait // 1000 + 1)
            outcome, proved = await self._challenge(endpoint)
        if not outcome.is_public:
            raise Refused("not_public")
        if not proved:
            raise Refused("not_owned", outcome.error or "it did not answer with the challenge")

    async def test(self, endpoint: Endpoint) -> str:
        """Sends a test once, without waiting for a lane or a pause, since somebody watches for the result; returns the
        id of its delivery (HOOK-14). Tests of an endpoint run one after the other. Raises Refused("not_found" |
        "not_owned" | "rate_limited")."""
        async with _in_turn(endpoint, endpoint.testing):
            if self.endpoint(*endpoint.key).row.state != "active":
                raise Refused("not_owned", "verify the endpoint first")
            event = new_id("evt")
            new = New(id_of(endpoint, event), event, TEST, None)
            due = self.records.put_test(endpoint.key, new, self._clock.now())
            await self._attempt(endpoint, due, endpoint.definition.url)
            return due.id

    def resend(self, endpoint: Endpoint, id_: str) -> None:
        """Send a delivery again. Raises Refused("not_found")."""
        now = self._clock.now()
        if not self.records.again(endpoint.key, id_, now):
            raise Refused("not_found")
        endpoint.waiting, endpoint.wake_at = self.records.count_pending(endpoint.key), now
        self._woken.set()

    def recover(self, endpoint: Endpoint, since: int) -> None:
        """Sends every event since `since` (ms) again."""
        of, row = endpoint.definition, endpoint.row
        cursor = self._events.before(of, since, of.after, max(of.after, row.cursor))
        endpoint.row, endpoint.is_behind = row._replace(cursor=cursor), True
        self.records.put_endpoint(endpoint.key, endpoint.row)
        self._woken.set()


@asynccontextmanager
async def _in_turn(endpoint: Endpoint, lock: asyncio.Lock) -> AsyncIterator[None]:
    """Hold the lock, behind those who asked before. Raises Refused("rate_limited") where too many wait: each may take
    as long as an attempt."""
    if endpoint.asked >= MOST_ASKED:
        raise Refused("rate_limited", "it is being tried already", retry_after=int(TIMEOUT))
    endpoint.asked += 1
    try:
        async with lock:
            yield
    finally:
        endpoint.asked -= 1
