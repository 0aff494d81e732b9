"""A server that lies: each answer of a real one is altered in turn, and a wallet must notice, or take no harm."""

import re
from collections.abc import Iterable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from comity.client import Connection, Wallet
from comity.errors import Unreachable
from support.lying_proxy import LyingWorld, Step, Tally, lying_world, tell_all
from support.sdk_world import ELSE, TERMS

# Alterations that a wallet need not notice, by their names, and why. For HARMLESS it is checked that nothing in the
# wallet differs from what it is with true answers.
HARMLESS = {
    r"GET /.well-known/comity: /(name|longest_wait|most_lines|cosignatures) changed": (
        "words and hints; nothing rests on them"
    ),
    r"POST /v1/acts: /receipt missing": "a receipt may come later, and is asked for",
    r"GET /v1/inbox( \[\d\])?: /items/\d+/cursor changed": "only the last item's place is kept, and that is the page's",
    r"GET /v1/inbox \[1\]: (/cursor|another answer)": "the end of an inbox; its place is not kept, the last item's is",
    r"\(stream\): (no body|half a body|something after)": "a stream that ends early; the rest is read without it",
    r"\(stream\): item \d+ after the next": "each finds its place by its time",
    r"\(stream\): item (0|10) left out": "the first opened what is open; the last is read by its cursor",
    r"^read: GET /v1/inbox: /items/[01] missing": "what this copy of the wallet knows, or another copy has answered",
    r"DELETE /v1/agreements/{cid}: content type": "nothing comes that could have a type",
}
# Here something is otherwise, since the server's word is all that there can be, or its silence.
BELIEVED = {
    r"^(received|proposals|opened|declined): GET /v1/inbox: (another answer|/items of another|/items/\d+ missing)": (
        "before both have signed there is no state to compare: what is held back looks as if it had not come yet"
    ),
    r"^read: GET /v1/inbox: /items/14 missing": (
        "a revoke closes its chain wherever that stands (CONN-5), so what was held back right before it does not show; "
        "nothing rests on it any more"
    ),
    r"^received: .*/offer: signed by a stranger under his own": "that is an offer, made by the stranger",
    r"^declined: .*/items/0( changed|/cid changed|/reason missing|/reason changed)": (
        "nobody signs that he declines, nor why: a server that says so could as well not pass the half on"
    ),
}
# Noticed, and not undone by telling the truth later.
LASTING = {
    r"^(read: GET /v1/inbox: /items/\d+ missing|listen: .* item \d+ left out)": (
        "what was held back is behind the cursor now; the evidence is kept"
    ),
}


def judge(tally: Tally) -> None:
    """No lie was believed or left something behind but those that are known to."""

    def unknown(names: Iterable[str], known: Iterable[str]) -> list[str]:
        return [name for name in names if not any(re.search(pattern, name) for pattern in known)]

    lines = [f"unnoticed: {name}" for name in unknown(tally.harmless, HARMLESS)]
    lines += [f"believed: {name}: {tally.believed[name]}" for name in unknown(tally.believed, BELIEVED)]
    lines += [f"lasting: {name}: {tally.lasting[name]}" for name in unknown(tally.lasting, LASTING)]
    print(len(tally.noticed), "noticed", len(tally.harmless), "harmless", len(tally.believed), "believed")
    assert not lines, f"{len(lines)} lies" + "".join(f"\n{line}" for line in lines)
    assert len(tally.noticed) > 20


# --- connecting


async def test_answers_about_offers(tmp_path: Path) -> None:
    tally = Tally()
    async with lying_world(tmp_path) as world:
        shop, other = await world.business("shop"), await world.business("other")
        routes: tuple[str, ...] = ("GET /.well-known/comity", "GET /.well-known/did.json", "POST /v1/offers")
        offer = Step("offer", world.snapshot("shop"), lambda it: _offered(world, it), routes, sees=False)
        await tell_all(world, offer, tally)
        link = await shop.offer(world.base, [TERMS, ELSE], ["care"], use="many")
        elsewhere = await other.offer(world.base, [ELSE], ["sales"], use="many")
        mia, jonas = await world.person("mia"), await world.person("jonas")
        await jonas.fetch_offer(elsewhere)
        routes = ("GET /v1/offers/{id}", "GET /b/{name}/did.json")
        look = Step("look", world.snapshot("mia"), lambda it: _looked(it, link), routes, tuple(world.proxy.seen))
        await tell_all(world, look, tally)
        routes = ("POST /v1/offers/{id}/agreements", "GET /.well-known/did.json")
        accept = Step("accept", world.snapshot("mia"), lambda it: _accepted(it, elsewhere), routes, sees=False)
        await tell_all(world, accept, tally)
        await mia.offer(world.base, [TERMS], ["care"], to=shop.did)
        at_the_door = Step("received", world.snapshot("shop"), _received, ("GET /v1/inbox",))
        await tell_all(world, at_the_door, tally)
    judge(tally)


async def _offered(world: LyingWorld, shop: Wallet) -> Any:
    link = await shop.offer(world.base, [TERMS], ["care"], use="many")
    return link.partition("#")[2] in shop._session.records.file.table("offers"), link.startswith(world.base)


async def _looked(mia: Wallet, link: str) -> Any:
    shown = await mia.fetch_offer(link)
    return shown.signed.raw, shown.did, shown.name, shown.warnings


async def _accepted(mia: Wallet, link: str) -> Any:
    party = await mia.accept(link)
    return party.phase, [it.statement for it in mia._session.known_servers.stored_keys(party.info.home).statements]


async def _received(shop: Wallet) -> Any:
    return [shown.signed.raw for shown in await shop.received_offers()]


async def test_answers_about_agreements(tmp_path: Path) -> None:
    tally = Tally()
    async with lying_world(tmp_path) as world:
        shop, mia, ben = await world.business("shop"), await world.person("mia"), await world.person("ben")
        link = await shop.offer(world.base, [TERMS, ELSE], ["care"], use="many")
        theirs, bens = await mia.accept(link), await ben.accept(link)
        await tell_all(world, Step("proposals", world.snapshot("shop"), _proposals, ("GET /v1/inbox",), most=1), tally)
        waiting = {it.cid: it for it in await shop.proposals()}

        decline = Step(
            "decline", world.snapshot("shop"), lambda it: _declined(it, bens.cid), ("DELETE /v1/agreements/{cid}",)
        )
        await tell_all(world, decline, tally)
        declined = Step("declined", world.snapshot("ben"), lambda it: _synced(it, bens.cid), ("GET /v1/inbox",), most=1)
        await tell_all(world, declined, tally)

        world.proxy.lose = "PUT /v1/agreements/{cid}"
        with suppress(Unreachable):
            await waiting[theirs.cid].countersign()
        routes = ("PUT /v1/agreements/{cid}", "GET /v1/connections/{cid}")
        await tell_all(
            world, Step("hand in", world.snapshot("shop"), lambda it: _synced(it, theirs.cid), routes), tally
        )
        routes = ("GET /v1/inbox", "GET /.well-known/comity/keys")
        await tell_all(world, Step("opened", world.snapshot("mia"), lambda it: _synced(it, theirs.cid), routes), tally)
    judge(tally)


async def _proposals(shop: Wallet) -> Any:
    return [(it.cid, it.did, it.terms, it.half.raw) for it in await shop.proposals()]


async def _declined(shop: Wallet, cid: str) -> Any:
    for proposal in await shop.proposals():
        if proposal.cid == cid:
            await proposal.decline("no_thanks")


async def _synced(wallet: Wallet, cid: str) -> Any:
    await wallet.connection(cid).sync()


async def _all_synced(wallet: Wallet) -> Any:
    await wallet.sync()
    for party in wallet.connections():
        await party.sync()


# --- acts


async def test_answers_to_acts(tmp_path: Path) -> None:
    """Each time the answer was lost, and is altered when the act is sent again."""
    tally = Tally()
    async with lying_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        ours, theirs = await world.connect(shop, mia, "care")
        earlier = tuple(world.proxy.seen)

        async def lost(name: str, party: Connection, act: Any) -> None:
            world.proxy.lose = "POST /v1/acts"
            with suppress(Unreachable):
                await act
            world.proxy.honest()
            step = Step(name, world.snapshot(name), lambda it: _synced(it, party.cid), ("POST /v1/acts",), earlier)
            await tell_all(world, step, tally)
            await party.sync()

        await lost("shop", ours, ours.send_message("care", "How are the windows?"))
        await lost("mia", theirs, theirs.mute(until=world.host.now() // 1000 + 86_400, shown="end"))
        await ours.sync()
        await lost("shop", ours, ours.send_message("care", "And now?"))
        await lost("mia", theirs, theirs.set_hours("Europe/Berlin", [(["mo"], "09:00", "17:00")]))
    judge(tally)


async def test_answers_to_batches_and_reservations(tmp_path: Path) -> None:
    """Every try signs something new, so what is compared is whether the wallet is in step with the server after."""
    tally = Tally()
    async with lying_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        _, theirs = await world.connect(shop, mia, "care")
        earlier = tuple(world.proxy.seen)

        async def muted(wallet: Wallet) -> Any:
            await wallet.connection(theirs.cid).mute(days=1)
            await wallet.connection(theirs.cid).sync()
            return wallet.connection(theirs.cid).state.door("second").mutes[0].id != ""

        async def granted(wallet: Wallet) -> Any:
            grant = await wallet.connection(theirs.cid).grant(["care"])
            await wallet.connection(theirs.cid).withdraw(grant)
            await wallet.connection(theirs.cid).sync()
            return grant != ""

        batch = Step("batch", world.snapshot("mia"), muted, ("POST /v1/acts",), sees=False)
        await tell_all(world, batch, tally)
        await theirs.sync()
        reserve = Step("grant", world.snapshot("mia"), granted, ("POST /v1/status/indexes",), earlier, sees=False)
        await tell_all(world, reserve, tally)
    judge(tally)


# --- reading


async def a_story(world: LyingWorld) -> tuple[str, bytes, bytes]:
    """A connection with a bit of everything: its cid, and the two wallets as they were when it had just opened."""
    shop, mia, jonas = await world.business("shop"), await world.person("mia"), await world.person("jonas")
    ours, theirs = await world.connect(shop, mia)
    then = world.snapshot("shop"), world.snapshot("mia")
    ours_too, his = await world.connect(shop, jonas, "care")
    await ours_too.send_message("care", "Good morning.")
    await theirs.grant(["care", "favour"])
    await theirs.mute(days=1)
    await ours.sync()
    await ours.send_message("care", "This one waits.", topic="windows")
    await ours.send_message("care", "This one does not.", if_muted="drop")
    await ours.record_milestone("bought", "windows")
    await theirs.unmute()
    await ours.sync()
    await ours.send_message("care", "Hello.")
    await ours.grant(["care"])
    await theirs.sync()
    await theirs.send_message("care", "Hello yourself.")
    await theirs.sync()
    await ours.ask("review", "Would you write a line about us?")
    await theirs.sync()
    (favour,) = theirs.favours()
    await favour.answer("yes")
    await favour.mark_done()
    await ours.sync()
    await ours.favours()[0].thank("Thank you.")
    await ours.record_contact("phone", "care")
    await theirs.mute(until=world.host.now() // 1000 + 2 * 86_400, shown="end")
    await ours.sync()
    await ours.send_message("care", "Too late.", days=0.5)
    world.pass_time(days=1)
    await ours.sync(wait=2)
    await his.rotate_key()
    await his.revoke()
    await ours.sync(wait=2)
    await theirs.sync()
    return theirs.cid, *then


async def test_answers_to_a_customer_who_reads(tmp_path: Path) -> None:
    tally = Tally()
    async with lying_world(tmp_path) as world:
        cid, _, mia = await a_story(world)
        await tell_all(
            world, Step("read", mia, lambda it: _synced(it, cid), ("GET /v1/inbox",), most=1, every=4, one_in=3), tally
        )
    judge(tally)


async def test_answers_to_a_customer_who_restores(tmp_path: Path) -> None:
    tally = Tally()
    async with lying_world(tmp_path) as world:
        cid, _, mia = await a_story(world)
        await tell_all(
            world, Step("restore", mia, lambda it: _synced(it, cid), ("GET /v1/acts/{hash}",), every=4), tally
        )
    judge(tally)


async def test_answers_to_a_customer_who_compares(tmp_path: Path) -> None:
    tally = Tally()
    async with lying_world(tmp_path) as world:
        cid, _, _ = await a_story(world)
        earlier = tuple(world.proxy.seen)
        routes = ("GET /v1/connections/{cid}",)
        await tell_all(
            world,
            Step("compare", world.snapshot("mia"), lambda it: _synced(it, cid), routes, earlier, every=4, one_in=2),
            tally,
        )
    judge(tally)


async def test_answers_to_a_business_that_reads(tmp_path: Path) -> None:
    tally = Tally()
    async with lying_world(tmp_path) as world:
        _, shop, _ = await a_story(world)
        await tell_all(
            world,
            Step(
                "read",
                shop,
                _all_synced,
                ("GET /v1/inbox",),
                only="missing|another|/act: |whole",
                most=1,
                every=8,
            ),
            tally,
        )
    judge(tally)


async def test_answers_to_a_customer_who_listens(tmp_path: Path) -> None:
    tally = Tally()
    async with lying_world(tmp_path) as world:
        cid, _, mia = await a_story(world)
        routes, some = ("GET /v1/inbox (stream)",), r"^(?!item \d+:)|^item [0-2]:"
        await tell_all(
            world,
            Step("listen", mia, lambda it: _listened(world, it, cid), routes, only=some, most=1, every=4, one_in=3),
            tally,
        )
    judge(tally)


async def _listened(world: LyingWorld, mia: Wallet, cid: str) -> Any:
    party = mia.connection(cid)
    world.proxy.late = True
    try:
        async with aclosing(mia._inbox_of(party).listen()) as stream:
            async for _ in stream:
                pass
    finally:
        world.proxy.late = False
    await party.sync()


async def test_answers_to_a_customer_who_looks_at_her_tokens(tmp_path: Path) -> None:
    tally = Tally()
    async with lying_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        _, theirs = await world.connect(shop, mia, "care", "sales")
        await theirs.tokens()
        before = tuple(it for it in world.proxy.seen if it.route == "GET /status/{list}")
        await theirs.mute(purposes=["sales"])
        world.host.later(3000)
        step = Step(
            "tokens", world.snapshot("mia"), lambda it: _tokens(it, theirs.cid), ("GET /status/{list}",), before
        )
        await tell_all(world, step, tally)
    judge(tally)


async def _tokens(mia: Wallet, cid: str) -> Any:
    return await mia.connection(cid).tokens()
