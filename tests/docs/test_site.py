"""The site is built from the pages and the code, and no link in it leads nowhere."""

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import build_site
import references
from comity_server.config import Config
from support.browser import a_browser, a_page

ROOT = Path(__file__).parents[2]
TOP = ("client_sdk", "docs", "examples", "server", "spec", "tests")


pytestmark = pytest.mark.xdist_group("site")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    build_site.gather(tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build_site.gather(folder / "source")
    build_site.build(folder / "source")
    return folder / "site"


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and writes no access log."""

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    assert (site / "docs" / "tutorials" / "customer" / "index.html").exists()
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|iframe|link)\b[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*", text) == [], page


async def test_a_phone_shows_pages_with_their_pictures_and_diagrams(address: str) -> None:
    async with a_browser() as browser:
        for path in ("/", "/docs/reference/settings/", "/spec/connection/"):
            # One window for each: a page that is left reports what it still loads as failed.
            async with a_page(browser, viewport={"width": 390, "height": 844}) as seen:
                await seen.page.goto(address + path, wait_until="networkidle")
                assert await seen.page.evaluate("[...document.images].every(image => image.naturalWidth > 0)"), path
                assert await seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
                if path == "/spec/connection/":
                    await seen.page.wait_for_selector("pre.diagram svg")


@pytest.mark.parametrize(
    "link", ["[a](nothing.md)", "![a](nothing.svg)", "[a](../examples/nothing.py)", "[a](explanation/log.md#nothing)"]
)
def test_a_link_that_leads_nowhere_stops_the_build(source: Path, link: str) -> None:
    page = source / "docs" / "index.md"
    page.write_text(page.read_text(encoding="utf-8") + f"\n{link}\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        build_site.build(source)


def test_every_page_can_be_found_from_the_navigation(source: Path) -> None:
    shown = {page for _, pages in build_site.navigation(source) for page in pages}
    decisions = {str(page.relative_to(source)) for page in (source / "spec" / "decisions").glob("*.md")}
    pages = {str(page.relative_to(source)) for page in source.rglob("*.md")}
    assert shown == pages - decisions | {"spec/decisions/index.md"}


def test_every_setting_is_explained() -> None:
    explained = {name for name, _, text in references.attributes(Config) if text}
    assert set(Config.model_fields) - explained == set()


def test_every_file_and_folder_that_a_page_names_is_there() -> None:
    places = [f"/{path.relative_to(ROOT)}" for top in TOP for path in (ROOT / top).rglob("*")] + [
        f"/{top}" for top in TOP
    ]
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        named = {*re.findall(r"`([a-z_]+(?:/[\w.-]+)*(?:\.py|\.md|/))`", text)}
        # `build/` is made, and a tutorial has its reader make a file.
        for name in named - {"build/", *re.findall(r"^# (\w+\.py)$", text, re.MULTILINE)}:
            assert any(place.endswith(f"/{name.rstrip('/')}") for place in places), (page, name)
