"""The report of a business: numbers by day, every one of them explained, as JSON and as a table.

Rules of spec/business-messages.md: SAY-15, SAY-16.
"""

import csv
import io
import re
from pathlib import Path

from comity_server.api.business.endpoints.report import COUNTS, safe_cell
from support.business_world import a_shop
from support.spec_pages import ROOT, table
from support.world import DAY, a_world

_NAME = re.compile(
    r'"((?:answers|asks|connections|contacts|contests|favours|feedback|messages|offers|proposals)\.[a-z_.]+)"'
)


def test_everything_that_is_counted_is_explained_and_the_other_way_round() -> None:
    server = ROOT / "server" / "comity_server"
    names = ("businesses/usage.py", "writer/unit_of_work.py", "commands/onboarding.py")
    places = [server / name for name in names]
    texts = "".join(path.read_text(encoding="utf-8") for path in places)
    assert set(_NAME.findall(texts)) == set(COUNTS)
    # Nobody counts anywhere else.
    others = [path for path in server.rglob("*.py") if path not in places]
    assert [path.name for path in others if re.search(r"unit\.count\(", path.read_text(encoding="utf-8"))] == []
    assert dict(table("business-messages", "name", "what it counts")) == COUNTS


async def test_a_marketer_reads_how_the_messages_fared_day_by_day(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        pair = await shop.customer("care")
        hello = {"purpose": "care", "text": "Hello"}
        await shop.post(f"/connections/{pair.cid}/messages", hello)
        world.later(DAY)
        await pair.go("second", "mute", until=world.now() // 1000 + 3600)
        await shop.post(f"/connections/{pair.cid}/messages", hello)
        assert await shop.refused("POST", f"/connections/{pair.cid}/messages", {**hello, "purpose": "news"}) == (
            "no_grant"
        )
        world.later(DAY)
        report = await shop.get("/report?days=3")
        assert (report["first_day"], report["last_day"]) == ("2024-06-18", "2024-06-20")
        days = {it["day"]: it["counts"] for it in report["days"]}
        assert days["2024-06-18"]["messages.delivered"] == 1 and days["2024-06-18"]["connections.opened"] == 1
        assert days["2024-06-19"] == {"messages.held": 1, "messages.refused.no_grant": 1}
        # What waited was let go by the clock, and is counted on the day on which it arrived.
        assert days["2024-06-20"].get("messages.delivered", 0) in (0, 1)
        assert set(report["total"]) == set(report["meanings"])
        assert (await other.get("/report"))["total"] == {}
        assert len((await shop.get("/report?days=90"))["days"]) == 90
        for query in (
            "days=0",
            "days=91",
            "days=x",
            "days=1&days=2",
            "since=1",
            "days=1_0",
            "days=5.0",
            "days=%2B5",
            "days=%205",
        ):
            assert await shop.refused("GET", f"/report?{query}") == "invalid_request"
        shop.headers["Accept"] = "text/csv"
        reply = await shop.ask("GET", "/report?days=3")
        assert reply.headers["Content-Type"].startswith("text/csv")
        assert reply.headers["Content-Disposition"] == 'attachment; filename="report-2024-06-20.csv"'
        assert reply.body.endswith(b"\r\n") and reply.body.count(b"\r\n") == reply.body.count(b"\n")
        rows = list(csv.DictReader(io.StringIO(reply.body.decode(), newline="")))
        assert {"day": "2024-06-19", "name": "messages.held", "number": "1", "meaning": COUNTS["messages.held"]} in rows
        for accept in (
            "application/json, text/csv;q=0.5",
            "text/csv;q=0.1, application/json;q=0.9",
            "text/csv;q=0",
            "*/*",
        ):
            shop.headers["Accept"] = accept
            assert (await shop.ask("GET", "/report")).headers["Content-Type"].startswith("application/json"), accept
        for accept in ("TEXT/CSV", "application/json;q=0.2, text/csv;q=0.3", "text/*", "text/csv; charset=utf-8"):
            shop.headers["Accept"] = accept
            assert (await shop.ask("GET", "/report")).headers["Content-Type"].startswith("text/csv"), accept


def test_no_cell_of_a_table_is_taken_for_a_formula() -> None:
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"):
        assert safe_cell(text) == f"'{text}"
    assert (safe_cell("messages.held"), safe_cell("")) == ("messages.held", "")
