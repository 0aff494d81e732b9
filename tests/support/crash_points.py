"""A server that dies at a chosen moment of writing, as by a power cut: no handler runs, nothing is flushed.

The server knows nothing of it: functions are wrapped from outside. The processes are forked from one that has imported
everything, since importing takes longer than a crash.
"""

import asyncio
import multiprocessing
import os
import sqlite3
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from comity_server.log import sequencer
from comity_server.log.head_file import HeadFile
from comity_server.log.sequencer import Sequencer
from comity_server.store import sqlite
from comity_server.store.rows import Batch
from comity_server.writer.queue import Command
from comity_server.writer.unit_of_work import UnitOfWork
from comity_server.writer.writer import Writer
from comity_tools.cli.serve import serve

DIED = 42
"""The exit code of a server that died where it was told to."""
UNFINISHED = 120
"""Bytes of a slot that are written when the server dies in the middle of it: less than there is in it."""

FORK = multiprocessing.get_context("forkserver")
# By names that are found without the tests' own folder.
FORK.set_forkserver_preload(["comity_tools.cli.serve", "comity.client"])


def begin(point: str, settings: dict[str, Any], armed: Path, log: Path) -> BaseProcess:
    """Start `comity serve`, which dies at `point`, or has that defect, once `armed` is there; "" is neither."""
    process = FORK.Process(target=_serve, args=(point, settings, armed, log), daemon=True)
    process.start()
    return process


def _serve(point: str, settings: dict[str, Any], armed: Path, log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for name in [name for name in os.environ if name.startswith("COMITY_")]:
        del os.environ[name]
    os.environ.update({f"COMITY_{name.upper()}": str(value) for name, value in settings.items()})
    if point:
        (POINTS | DEFECTS)[point](armed)
    serve([])


def _die(armed: Path) -> None:
    if armed.exists():
        os._exit(DIED)


def _die_before(where: Any, name: str) -> Callable[[Path], None]:
    def wrap(armed: Path) -> None:
        do = getattr(where, name)

        def dying(*arguments: Any, **named: Any) -> Any:
            _die(armed)
            return do(*arguments, **named)

        setattr(where, name, dying)

    return wrap


def _die_after(where: Any, name: str) -> Callable[[Path], None]:
    def wrap(armed: Path) -> None:
        do = getattr(where, name)

        def dying(*arguments: Any, **named: Any) -> Any:
            done = do(*arguments, **named)
            _die(armed)
            return done

        setattr(where, name, dying)

    return wrap


class _Dying:
    """A connection to the store that writes everything and dies before it commits."""

    def __init__(self, raw: sqlite3.Connection, armed: Path) -> None:
        self._raw = raw
        self._armed = armed

    def execute(self, statement: str) -> Any:
        if statement == "COMMIT":
            _die(self._armed)
        return self._raw.execute(statement)

    def executemany(self, statement: str, rows: Any) -> Any:
        return self._raw.executemany(statement, rows)

    @property
    def in_transaction(self) -> bool:
        return self._raw.in_transaction


def _die_inside(armed: Path) -> None:
    do = sqlite._commit

    def dying(raw: Any, batch: Batch, before: Callable[[], None]) -> None:
        do(_Dying(raw, armed), batch, before)  # type: ignore[arg-type]

    sqlite._commit = dying


def _die_in_the_slot(armed: Path) -> None:
    do = os.pwrite

    def dying(file: int, data: bytes, at: int) -> int:
        if armed.exists():
            do(file, data[:UNFINISHED], at)
            os._exit(DIED)
        return do(file, data, at)

    os.pwrite = dying  # type: ignore[assignment]


def _answer_first(armed: Path) -> None:
    """Answers are given before what they are about is written."""
    process, commit = Writer._process, Writer._commit

    async def processing(self: Writer, commands: list[Command]) -> None:
        in_hand[:] = commands
        await process(self, commands)

    async def answering(self: Writer, unit: UnitOfWork) -> None:
        if not armed.exists():
            return await commit(self, unit)
        batch = unit.finish()
        if not batch.is_empty():
            missing = unit.log.missing_acts()
            unit.log.write(batch, unit.now, await self._store.raws(missing) if missing else {})
            self._seal(unit)
            for command in in_hand:
                self._answer(command)
            await asyncio.sleep(0.1)
            await self._store.commit(batch, lambda: None)

    in_hand: list[Command] = []
    Writer._process, Writer._commit = processing, answering  # type: ignore[method-assign]


def _synchronous(mode: str) -> Callable[[Path], None]:
    """The store is told to sync less than an answer promises."""

    def wrap(_armed: Path) -> None:
        class Lax(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> Any:
                return super().execute(sql.replace("synchronous = FULL", f"synchronous = {mode}"), *parameters)

        connect = sqlite3.connect
        sqlite3.connect = partial(connect, factory=Lax)  # type: ignore[assignment]

    return wrap


DEFECTS: dict[str, Callable[[Path], None]] = {
    "it answers before it commits": _answer_first,
    "synchronous = OFF": _synchronous("OFF"),
    "synchronous = NORMAL": _synchronous("NORMAL"),
}
"""A harness counts only when it has noticed these."""

POINTS: dict[str, Callable[[Path], None]] = {
    "before the commit": _die_before(sqlite, "_commit"),
    "inside the transaction": _die_inside,
    "after the commit": _die_after(sqlite, "_commit"),
    "before it is read again": _die_before(sqlite, "_judge"),
    "before it is signed": _die_before(sequencer, "sign_checkpoint"),
    "after it is signed": _die_after(sequencer, "sign_checkpoint"),
    "in the middle of the head file's slot": _die_in_the_slot,
    "after the head file": _die_after(HeadFile, "write"),
    "after it is published": _die_after(Sequencer, "_publish"),
}
"""Where it can die, in the order of writing."""


def end(process: BaseProcess, seconds: float = 20.0) -> int | None:
    """Wait for it to die; its exit code. One that lives on is killed."""
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join(20)
    return process.exitcode
