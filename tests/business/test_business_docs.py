"""The pages that an engineer opens first, in a real browser, under the policy that the server sends with them
(BIZ-16)."""

from pathlib import Path

import pytest

from comity.errors import CODES
from comity_server.api.business.routes import ROUTES
from support.browser import a_browser, a_page
from support.business_world import a_shop
from support.world import a_world

# The first of them may have to install the browser; two at once would wait for each other.
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("browser")]


async def test_an_engineer_opens_the_page_pastes_a_key_and_tries_a_route(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, a_browser() as browser:
        shop = await a_shop(world)
        async with a_page(browser) as seen:
            page = seen.page
            await page.goto(f"{world.origin}/docs")
            await page.wait_for_selector(".opblock")
            assert await page.locator(".opblock").count() == len(ROUTES)
            await page.click("button.authorize")
            await page.fill(".auth-container input", shop.key)
            await page.click(".auth-btn-wrapper button.authorize")
            await page.click(".auth-btn-wrapper button.btn-done")
            operation = page.locator("#operations-keys-getSelf")
            await operation.locator(".opblock-summary-control").click()
            await operation.locator(".try-out__btn").click()
            await operation.locator(".execute").click()
            answer = operation.locator(".live-responses-table")
            await answer.wait_for()
            assert "200" in await answer.locator(".response .response-col_status").inner_text()
            assert shop.did in await answer.inner_text()


async def test_the_page_shows_text_that_is_no_markdown_as_text(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, a_browser() as browser, a_page(browser) as seen:
        await seen.page.goto(f"{world.origin}/docs")
        await seen.page.wait_for_selector(".opblock")
        made = """text => { const at = document.createElement("div"); at.innerHTML = text; return at.innerHTML; }"""
        for harmless in ('<p>Takes <code>any</code> API key.</p>\n<a href="/docs/errors#internal">see</a>', "a &lt; b"):
            assert await seen.page.evaluate(made, harmless) == harmless
        for text in (
            "<img src=x onerror=alert(1)>",
            "<p onclick='x()'>a</p>",
            '<a href="javascript:alert(1)">a</a>',
            '<a href="//elsewhere.example">a</a>' + "<script>alert(1)</script>",
            "<p>a</p><svg><p>b</p></svg>",
        ):
            assert "<" not in await seen.page.evaluate(made, text)


async def test_the_link_in_a_refusal_leads_to_its_explanation(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, a_browser() as browser:
        shop = await a_shop(world)
        link = (await shop.ask("GET", "/self?surprise=1")).json["documentation"]
        async with a_page(browser, viewport={"width": 360, "height": 740}) as seen:
            await seen.page.goto(link)
            assert "What to do" in await seen.page.locator("section:target").inner_text()
            assert await seen.page.evaluate("document.documentElement.scrollWidth") == 360, "nothing sticks out"
            for code, (status, title) in CODES.items():
                told = await seen.page.locator(f"section#{code}").text_content() or ""
                assert str(status) in told and title in told


async def test_the_pages_may_do_nothing_but_what_is_in_the_servers_files(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        for path in ("/docs", "/docs/errors"):
            page = await world.send("GET", path)
            policy = page.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "require-trusted-types-for 'script'" in policy and "unsafe" not in policy
            assert b"<style" not in page.body and b" style=" not in page.body and b"<script>" not in page.body
        script = await world.send("GET", "/docs/swagger-ui-bundle.js")
        assert (script.status, script.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
        assert "max-age" in script.headers["Cache-Control"] and script.headers["X-Content-Type-Options"] == "nosniff"
        for name in ("index.html", "errors.html", "swagger-ui.js", "..%2Fdocs.py", "swagger-ui-bundle.js%00"):
            assert (await world.send("GET", f"/docs/{name}")).code == "not_found"
        made = (await world.send("GET", "/docs/openapi.json")).json
        assert made["servers"] == [{"url": world.origin}]
