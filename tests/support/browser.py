"""Debian's Chromium, driven by Playwright. It is installed where that is possible."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from support.debian import need

QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""As root there is no sandbox; and it asks nobody but the server."""


class CheckResult:
    """A page, and every error on it: of the console, of a script, of a request, of the content security policy."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("requestfailed", lambda request: self.wrong.append(f"{request.url}: {request.failure}"))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(message.text)


@asynccontextmanager
async def a_browser() -> AsyncIterator[Browser]:
    """A headless browser; the test fails where there is none."""
    chromium = need("chromium", "the pages are tried in a browser", "chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=QUIET)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def a_page(browser: Browser, **how: Any) -> AsyncIterator[CheckResult]:
    """A page in a window of its own. Fails if the page had an error."""
    context = await browser.new_context(**how)
    try:
        seen = CheckResult(await context.new_page())
        yield seen
        assert seen.wrong == []
    finally:
        await context.close()
