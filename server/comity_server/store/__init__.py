"""The store: rows that were decided elsewhere. It holds no rule."""

from pathlib import Path

from comity_server.store.contract import Store
from comity_server.store.sqlite import SqliteStore


async def open_store(path: Path) -> Store:
    """The store in the file `path`, made or brought to the current schema first. The caller holds the lock of the data
    folder. Raises StoreFailed, SchemaTooNew, SchemaTooOld."""
    return await SqliteStore.open(path)
