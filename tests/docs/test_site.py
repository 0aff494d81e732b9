"""The site is built from the pages and the code, and no link in it leads nowhere."""

import re
from pathlib import Path

import pytest

import build_site
import references
from comity_server.config import Config

ROOT = Path(__file__).parents[2]
TOP = ("client_sdk", "docs", "examples", "server", "spec", "tests")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    build_site.gather(tmp_path / "source")
    return tmp_path / "source"


def test_the_site_is_built_and_loads_nothing_from_elsewhere(source: Path) -> None:
    build_site.build(source)
    site = source.parent / "site"
    assert (site / "docs" / "tutorials" / "customer" / "index.html").exists()
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|iframe|link)\b[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*", text) == [], page


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
