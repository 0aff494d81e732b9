"""Alembic, driven from code: no ini file, no env.py to find, works from inside a wheel."""

from collections.abc import Callable
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL


def scripts() -> ScriptDirectory:
    """The revisions beside this file."""
    config = Config()
    here = Path(__file__).parent
    config.set_main_option("script_location", str(here).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def upgrade(path: Path, revision: str) -> None:
    """Bring the file up to `revision`, all in one transaction."""
    found = scripts()
    _run(path, lambda current: found._upgrade_revs(revision, current))


def downgrade(path: Path, revision: str) -> None:
    """Take the file down to `revision` ("base": no schema), all in one transaction."""
    found = scripts()
    _run(path, lambda current: found._downgrade_revs(revision, current))


def _run(path: Path, steps: Callable[[str], list[RevisionStep]]) -> None:
    engine = create_engine(URL.create("sqlite", database=str(path)))

    # SQLite can make tables in a transaction, but Python's driver commits before each unless told not to.
    @event.listens_for(engine, "connect")
    def _own_transactions(raw: object, _record: object) -> None:
        raw.isolation_level = None  # type: ignore[attr-defined]

    @event.listens_for(engine, "begin")
    def _begin(connection: object) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # type: ignore[attr-defined]

    found = scripts()
    try:
        with (
            EnvironmentContext(Config(), found, fn=lambda current, _context: steps(current)) as environment,
            engine.begin() as connection,
        ):
            environment.configure(connection=connection, transactional_ddl=True)
            environment.run_migrations()
    finally:
        engine.dispose()
