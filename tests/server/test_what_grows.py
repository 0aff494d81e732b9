"""The page of what grows says what the code does: every table, every structure in memory, and when each goes
(GROW-3, GROW-4)."""

import ast
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from comity_server import pruner
from comity_server.api.business import idempotency
from comity_server.api.business.endpoints import drafts
from comity_server.config import Config
from comity_server.store import migrations
from comity_server.store.prunes import DAY, PRUNES
from comity_server.store.sqlite import SQL
from comity_server.webhooks import delivery_store
from support.spec_pages import ROOT, table

SERVER, COMITY = ROOT / "server" / "comity_server", ROOT / "client_sdk" / "comity"
NOT_SERVING = {"fsck", "witness"}
"""Folders of what runs by itself, for a while or for another operator."""


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as raw:
        names = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {name for name in names if not name.startswith(("sqlite_", "alembic_"))}


def told() -> dict[str, str]:
    """When the rows of each table are pruned, by the page."""
    return {name: pruned for name, _, _, pruned in table("growth", "table", "holds", "bounded by", "pruned")}


def test_every_table_is_on_the_page(tmp_path: Path) -> None:
    migrations.bring_up_to_date(tmp_path / "comity.db")
    delivery_store.DeliveryStore(tmp_path / "webhooks.db").close()
    assert set(told()) == tables(tmp_path / "comity.db") | tables(tmp_path / "webhooks.db")


def test_rows_that_the_page_names_are_pruned_and_no_others() -> None:
    page = told()
    kept: dict[str, set[int]] = {}
    for kind in PRUNES:
        kept.setdefault(kind.table, set()).add(kind.kept // DAY)
    kept["api_keys"] = {pruner.KEYS_KEPT // DAY}
    kept["inbox"] = {Config.model_fields["inbox_days"].default}
    kept["business_offers"] = kept["offers"]
    named = {name: {int(days) for days in re.findall(r"\b([0-9]+) days?\b", goes)} for name, goes in page.items()}
    assert {name: days for name, days in named.items() if days} == {**kept, "deliveries": {delivery_store.KEPT // DAY}}
    deleted = {name for name in SQL if re.match(r"\s*DELETE FROM", SQL[name])}
    from_tables = {found[1] for name in deleted if (found := re.search(r"DELETE FROM (\w+)", SQL[name]))}
    # Nobody deletes an endpoint but the business whose it is.
    assert from_tables - {"webhooks"} == set(kept)
    assert all(page[name] == "never" for name in page.keys() - kept.keys() - {"endpoints", "deliveries", "attempts"})


def test_rows_that_are_good_for_a_time_are_kept_for_that_time() -> None:
    kept = {kind.table: kind.kept for kind in PRUNES}
    assert (kept["idempotent"], kept["drafts"]) == (idempotency.ANSWER_LIFETIME, drafts.KEPT_FOR)
    assert f"all but the {pruner.MOST_ENDED_KEYS} that ended last" in told()["api_keys"]


# --- in memory

MAKERS = {"dict", "set", "list", "deque", "OrderedDict", "defaultdict", "LRU"}


def is_empty_container(value: ast.expr) -> bool:
    """True for what can grow: an empty container, or a cache that is made by hand."""
    if isinstance(value, ast.Dict):
        return not value.keys
    if isinstance(value, ast.List | ast.Set):
        return not value.elts
    if not isinstance(value, ast.Call):
        return False
    if isinstance(value.func, ast.Call):
        return "lru_cache" in ast.unparse(value.func.func)
    return ast.unparse(value.func).partition("[")[0].rpartition(".")[2] in MAKERS


def growing(source: str) -> Iterator[str]:
    """The classes that keep something in a container of their own, and the names of a module that are one."""
    whole = ast.parse(source)
    for top in whole.body:
        if isinstance(top, ast.Assign | ast.AnnAssign) and top.value is not None and is_empty_container(top.value):
            yield ast.unparse(top.targets[0] if isinstance(top, ast.Assign) else top.target)
    for made in ast.walk(whole):
        if not isinstance(made, ast.ClassDef):
            continue
        for node in ast.walk(made):
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                is_own = isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self"
                if (is_own and is_empty_container(node.value)) or is_field_of_containers(node.value):
                    yield made.name


def is_field_of_containers(value: ast.expr) -> bool:
    """True for the field of a dataclass that begins with an empty container."""
    given = {it.arg: ast.unparse(it.value) for it in value.keywords} if isinstance(value, ast.Call) else {}
    return given.get("default_factory") in MAKERS


def sources() -> Iterator[Path]:
    yield COMITY / "lru.py"
    for path in sorted(SERVER.rglob("*.py")):
        if path.relative_to(SERVER).parts[0] not in NOT_SERVING:
            yield path


def test_every_structure_in_memory_is_on_the_page() -> None:
    found = {name for path in sources() for name in growing(path.read_text(encoding="utf-8"))}
    assert {name for name, _, _ in table("growth", "name", "holds", "bounded by")} == found


def test_a_planted_structure_is_found() -> None:
    assert list(growing("class Kept:\n    def __init__(self) -> None:\n        self._all: dict[str, int] = {}\n"))
    assert list(growing("class Kept:\n    def __init__(self):\n        self.read = lru_cache(None)(read)\n"))
    assert list(growing("@dataclass\nclass Kept:\n    all: set[str] = field(default_factory=set)\n")) == ["Kept"]
    assert list(growing("_KEPT: dict[str, int] = {}\n")) == ["_KEPT"]
    assert not list(growing("class Kept:\n    def __init__(self, most: int) -> None:\n        self._most = most\n"))


def test_every_cache_of_answers_has_a_bound() -> None:
    """`cache` alone has none: it stands only before what has no arguments, or one that the server chooses."""
    chosen_by_the_server = {"_document", "_read"}
    for path in [*sources(), *(it for it in COMITY.rglob("*.py") if not it.is_relative_to(COMITY / "client"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            made = {ast.unparse(it) for it in node.decorator_list}
            assert not made & {"lru_cache", "functools.lru_cache", "lru_cache()", "lru_cache(None)"}, path
            assert not made & {"lru_cache(maxsize=None)"}, path
            if made & {"cache", "functools.cache"}:
                assert not node.args.args or node.name in chosen_by_the_server, (path, node.name)
