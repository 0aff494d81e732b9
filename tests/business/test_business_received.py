"""A business whose key the server keeps reads what its customer wrote, wherever it is shown; and what the business set
for itself is shown to the business alone (INV-12, INV-14)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from comity_server.schema import instant
from support.business_world import EXAMPLE_OFFER, a_shop
from support.terminal_world import Terminal, a_host
from support.world import MINUTE, a_world


async def test_noors_message_is_in_the_connection_and_in_its_timeline(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        noor, shop = Terminal(tmp_path / "noor"), await a_shop(host)
        await noor("create")
        ends = (datetime.now(UTC) + timedelta(days=9)).isoformat(timespec="seconds")
        offered = await shop.post("/offers", {**EXAMPLE_OFFER, "expires_at": ends})
        await noor("accept", offered["link"], "--grant", "favour")
        await noor("sync")
        name = EXAMPLE_OFFER["name"]
        (customer,) = [it["id"] for it in (await shop.get("/connections"))["items"]]
        here = f"/connections/{customer}"
        await noor("remember", name, "language", "Oui.", "--value", '["fr"]')
        await noor("milestone", name, "bought", "windows", "--text", "The oak ones.")
        ask = await shop.post(f"{here}/favours", {"kind": "review", "effort": "minute", "text": "Two lines?"})
        await noor("answer", name, "yes", "With pleasure.")
        await shop.post(f"{here}/contacts", {"channel": "phone", "purpose": "care"})

        told = await shop.get(here)
        (thing,) = told["them"]["notes"]
        assert (thing["key"], thing["value"], thing["text"]) == ("language", ["fr"], "Oui.")
        assert [it["text"] for it in told["them"]["milestones"]] == ["The oak ones."]
        items = (await shop.get(f"{here}/timeline"))["items"]
        assert {it["kind"]: it["body"] for it in items if "body" in it} == {
            "remember": {"value": ["fr"], "text": "Oui."},
            "milestone": {"text": "The oak ones."},
            "answer": {"text": "With pleasure."},
        }
        outside = next(it for it in items if it["kind"] == "contacted")
        assert (outside["about"], outside["status"]) == ("care by phone", "no_grant")
        # Sealed to her: the server cannot read the shop's own words again.
        assert "body" not in next(it for it in items if it.get("act") == ask["id"])


async def test_settings_of_a_business_are_shown_to_it_alone(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        end = world.now() // 1000 + 60
        mute = await pair.go("first", "mute", purposes=("complaint",))
        await pair.go("first", "mute_end", mute=mute.id, until=end)
        windows = ({"days": ("mo", "fr"), "start": "09:00", "end": "17:30"},)
        await pair.go("first", "hours", zone="Europe/Berlin", windows=windows, shown="end")
        await pair.go("first", "budget", messages={"max": 3, "per": "day"})
        told = await shop.get(f"/connections/{pair.cid}")
        assert told["settings"] == {
            "hours": {
                "zone": "Europe/Berlin",
                "windows": [{"days": ["mo", "fr"], "start": "09:00", "end": "17:30"}],
                "end_shown": True,
            },
            "messages": {"max": 3, "seconds": 86_400},
        }
        (own,) = told["us"]["mutes"]
        assert (own["ends_at"], own["end_shown"]) == (instant(end * 1000), False)
        theirs = (await world.read(pair.signers["second"], f"/v1/connections/{pair.cid}")).body
        assert b"Berlin" not in theirs and str(end).encode() not in theirs
        world.later(2 * MINUTE)
        assert (await shop.get(f"/connections/{pair.cid}"))["us"]["mutes"] == []
        # What its customer hides stays hidden.
        hers = await pair.go("second", "mute")
        await pair.go("second", "mute_end", mute=hers.id, until=world.now() // 1000 + 60)
        (mute_of_hers,) = (await shop.get(f"/connections/{pair.cid}"))["them"]["mutes"]
        assert "ends_at" not in mute_of_hers and "end_shown" not in mute_of_hers
