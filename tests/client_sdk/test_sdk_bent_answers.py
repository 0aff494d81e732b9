"""Each answer of the server is altered in every member, and the SDK notices each alteration.

The wire between Mia's wallet and the real server is bent; the wallet's file is put back before every try, so each
alteration meets the same wallet.
"""

import json
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from comity.client import Connection, Response, Wallet
from comity.errors import ComityError, Contradiction, Refused, Unreachable
from support.sdk_world import TERMS, SdkWorld, sdk_world

Doing = Callable[[Wallet, Connection], Awaitable[object]]


def flipped(text: str, at: int) -> str:
    """The text with one character changed to another one of its kind."""
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def bent_texts(text: str) -> Iterator[str]:
    """A text altered: of a compact JWS, each of its three parts."""
    if text.count(".") == 2 and len(text) > 100:
        at = 0
        for part in text.split("."):
            yield flipped(text, at + len(part) // 2)
            at += len(part) + 1
        yield text.rpartition(".")[0] + "."
    elif text:
        yield flipped(text, len(text) // 2)
        yield text + "A"
    yield ""


def bent_values(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """(where and how, the JSON value with that one alteration somewhere in it), each in turn."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield f"{at}/{name} gone", {key: it for key, it in value.items() if key != name}
            for where, bent in bent_values(member, f"{at}/{name}"):
                yield where, {**value, name: bent}
        yield f"{at} surplus", {**value, "surplus": 1}
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield f"{at}/{index} gone", value[:index] + value[index + 1 :]
            for where, bent in bent_values(member, f"{at}/{index}"):
                yield where, [*value[:index], bent, *value[index + 1 :]]
        if len(value) > 1:
            yield f"{at} reversed", value[::-1]
            yield f"{at} doubled", [*value, value[-1]]
    elif isinstance(value, bool):
        yield f"{at} not", not value
    elif isinstance(value, int):
        yield f"{at} more", value + 1
        yield f"{at} null", None
    elif isinstance(value, str):
        for number, text in enumerate(bent_texts(value)):
            yield f"{at} text {number}", text
        yield f"{at} number", 7


def bent_responses(response: Response, leave: tuple[str, ...]) -> Iterator[tuple[str, Response]]:
    """Every altered form of an answer; what matches `leave` says nothing that anybody could check."""
    kind = response.headers["content-type"].partition(";")[0]
    text = response.body.decode()
    if kind.endswith("json"):
        for where, bent in bent_values(json.loads(text)):
            if not any(re.match(pattern, where) for pattern in leave):
                yield where, changed(response, json.dumps(bent).encode())
    else:
        for number, bent_text in enumerate(bent_texts(text)):
            yield f"text {number}", changed(response, bent_text.encode())
    yield "no body", changed(response, b"")
    yield "half a body", changed(response, response.body[: len(response.body) // 2])
    yield "another status", Response(response.status + 3, response.headers, response.body)
    yield "another type", Response(response.status, {**response.headers, "content-type": "text/html"}, response.body)


def changed(response: Response, body: bytes) -> Response:
    return Response(response.status, response.headers, body)


def _instead(altered: Response, _: Response) -> Response:
    return altered


class Harness:
    """Mia's wallet behind a bent wire, put back to the same bytes before every try."""

    def __init__(self, world: SdkWorld, path: str, leave: tuple[str, ...] = ()) -> None:
        self.world = world
        self.path = path
        self.leave = leave
        self.file = world.folder / "mia"

    def _bend(self, wallet_name: str, alter: Callable[[Response], Response]) -> None:
        used = False

        def after(request: Any, response: Response) -> Response:
            nonlocal used
            if self.path not in request.url or used or response.status == 401:
                return response
            used = True
            return alter(response)

        self.world.wires[wallet_name].after = after

    async def _tried(self, kept: bytes, doing: Doing, alter: Callable[[Response], Response]) -> BaseException | None:
        self.file.write_bytes(kept)
        wallet = await self.world.reopened("mia")
        self._bend("mia", alter)
        try:
            parties = wallet.connections()
            await doing(wallet, parties[0] if parties else None)  # type: ignore[arg-type]
        except ComityError as error:
            return error
        except BaseExceptionGroup as group:
            return group.exceptions[0]
        finally:
            await wallet.close()
        return None

    async def unnoticed(self, mia: Wallet, doing: Doing) -> tuple[list[str], int]:
        """The alterations that the wallet did not notice, and how many there were."""
        await mia.close()
        kept = self.file.read_bytes()
        answers: list[Response] = []

        def see(response: Response) -> Response:
            answers.append(response)
            return response

        assert await self._tried(kept, doing, see) is None
        missed, count = [], 0
        for name, response in bent_responses(answers[0], self.leave):
            count += 1
            error = await self._tried(kept, doing, partial(_instead, response))
            if not isinstance(error, Contradiction | Refused | Unreachable):
                missed.append(f"{name} {error!r}")
        return missed, count


async def meet(world: SdkWorld) -> tuple[Wallet, Connection, Wallet, Connection]:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care", "favour")
    return shop, ours, mia, theirs


async def revoke(wallet: Wallet, party: Connection) -> None:
    await party.mute()


async def settle(wallet: Wallet, party: Connection) -> None:
    await party.queue.resend_unsent()


async def sync(wallet: Wallet, party: Connection) -> None:
    await party.sync()


async def tokens(wallet: Wallet, party: Connection) -> None:
    await party.tokens()


async def grant(wallet: Wallet, party: Connection) -> None:
    await party.grant(["service"])


async def test_an_altered_acceptance_of_an_act_is_noticed(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        _, _, mia, theirs = await meet(world)
        world.wires["mia"].lose = lambda request: request.url.endswith("/v1/acts")
        with pytest.raises(Unreachable):
            await theirs.remember("small_talk")
        # A receipt may come later: it is owed then.
        missed, count = await Harness(world, "/v1/acts", leave=("/receipt gone",)).unnoticed(mia, settle)
        assert not missed
        assert count > 10


async def test_an_altered_connection_is_noticed(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        _, ours, mia, theirs = await meet(world)
        await theirs.mute(purposes=["care"], hours=2)
        await theirs.remember("small_talk")
        await ours.send_message("care", "waits", topic="kit")
        await theirs.sync()
        missed, count = await Harness(world, "/v1/connections/").unnoticed(mia, sync)
        assert not missed
        assert count > 80


async def test_an_altered_reordered_or_shortened_inbox_is_noticed(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        _, ours, mia, theirs = await meet(world)
        await theirs.mute()
        await ours.sync()
        await ours.send_message("care", "waits")
        await ours.remember("small_talk")
        await theirs.queue.send("unmute")
        await ours.sync(wait=1)
        await ours.record_milestone("bought", "windows")
        await ours.record_milestone("installed", "windows")
        await ours.ask("hold", "Wait?") if ours.may("favour").reason == "granted" else None
        # A cursor within a page leads nowhere: only the one at its end is kept.
        leave = (r"/items/[0-5]/cursor text [01]",)
        missed, count = await Harness(world, "/v1/inbox", leave=leave).unnoticed(mia, sync)
        assert not missed
        assert count > 80


async def test_an_altered_status_list_is_noticed(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        _, _, mia, _ = await meet(world)
        missed, count = await Harness(world, "/status/").unnoticed(mia, tokens)
        assert not missed
        assert count > 5


async def test_a_status_list_that_says_otherwise_than_the_acts_is_noticed(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        _, ours, mia, theirs = await meet(world)
        await theirs.tokens()
        world.pass_time(seconds=5)
        await theirs.tokens()
        old = [response for request, response in world.wires["mia"].seen if "/status/" in request.url][-1]
        await theirs.mute()
        world.pass_time(seconds=5)
        assert [it.status for it in await theirs.tokens()] == ["ask"]
        muted = [response for request, response in world.wires["mia"].seen if "/status/" in request.url][-1]
        await theirs.unmute()
        world.pass_time(seconds=61)
        assert [it.status for it in await theirs.tokens()] == ["valid"]
        for stale in (old, muted):
            world.wires["mia"].after = lambda request, response, stale=stale: (
                stale if "/status/" in request.url else response
            )
            world.pass_time(seconds=40)
            with pytest.raises(Contradiction):
                await theirs.tokens()
        assert ours.phase == "open"
        await mia.close()


async def test_an_altered_reservation_is_noticed(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        _, _, mia, _ = await meet(world)
        missed, count = await Harness(world, "/v1/status/indexes").unnoticed(mia, grant)
        assert not missed
        assert count > 5


async def test_an_altered_offer_or_document_is_noticed(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        link = await shop.offer(world.base, [TERMS], ["care"])

        async def look(wallet: Wallet, party: Connection) -> None:
            await wallet.fetch_offer(link)

        for path in ("/v1/offers/", "/b/shop/did.json"):
            missed, count = await Harness(world, path).unnoticed(mia, look)
            assert not missed
            assert count > 4
            mia = await world.reopened("mia")
        await mia.close()


async def test_an_altered_answer_to_a_half_or_to_a_countersignature_is_noticed(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        await world.connect(shop, mia)
        link = await mia.offer(world.base, [TERMS], ["care"])
        await shop.accept(link)
        await mia.sync()

        async def countersign(wallet: Wallet, party: Connection) -> None:
            (proposal,) = await wallet.proposals()
            await proposal.countersign(again=True)

        missed, count = await Harness(world, "/v1/agreements/").unnoticed(mia, countersign)
        assert not missed
        assert count > 5


async def test_an_altered_proposal_and_opening_are_noticed(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        link = await mia.offer(world.base, [TERMS], ["care"])
        await shop.accept(link)

        async def proposals(wallet: Wallet, party: Connection) -> None:
            if not await wallet.proposals():
                raise Unreachable("nobody can tell a proposal that was withheld from none")

        missed, count = await Harness(world, "/v1/inbox").unnoticed(mia, proposals)
        assert not missed
        assert count > 10
        mia = await world.reopened("mia")
        link = await shop.offer(world.base, [TERMS], ["care"])
        theirs = await mia.accept(link)
        (proposal,) = [it for it in await shop.proposals() if it.cid == theirs.cid]
        await proposal.countersign()

        async def opened(wallet: Wallet, party: Connection) -> None:
            await wallet.connection(theirs.cid).wait_until_open(timeout=3)
            await wallet.connection(theirs.cid).sync()

        # Items that come with the next answer are late, and that is no lie.
        missed, count = await Harness(world, "/v1/inbox", leave=("/items/0 gone",)).unnoticed(mia, opened)
        assert not missed
        assert count > 10


async def test_a_server_with_another_key_is_noticed(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        _, _, mia, theirs = await meet(world)
        await mia.close()
        missed, count = await Harness(world, "/.well-known/comity/keys").unnoticed(mia, sync)
        assert not missed
        assert count > 20
        # A server that begins anew under the old name, with other keys.
        await world.host.stop()
        shutil.rmtree(world.host.folder / "data")
        await world.host.start()
        world.pass_time(seconds=2)
        mia = await world.reopened("mia")
        with pytest.raises(Contradiction) as told:
            await mia.connections()[0].sync()
        assert told.value.evidence
        assert theirs.cid == mia.connections()[0].cid


async def test_an_altered_refusal_is_noticed(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        _, _, mia, _ = await meet(world)

        async def refused(wallet: Wallet, party: Connection) -> None:
            try:
                await party.withdraw(party.cid)
            except Refused as told:
                assert told.code == "no_such_grant"

        missed, count = await Harness(world, "/v1/acts", leave=("/detail", "/request_id")).unnoticed(mia, refused)
        assert not missed
        assert count > 8
