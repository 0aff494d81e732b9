"""Commands on their way to the writer."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from comity.documents.acts import SignedAct
from comity.errors import Refused
from comity_server.limits.capacity import user
from comity_server.limits.rate_limits import Over
from comity_server.limits.shares import Pool, User
from comity_server.logging import REQUEST_ID
from comity_server.writer.unit_of_work import Answer, UnitOfWork

PIECE = 32
"""Acts of a batch that are decided at a time."""

Decide = Callable[[UnitOfWork], Awaitable[Any]]


@dataclass(slots=True, eq=False)
class Command:
    """Something to decide: acts (raw, then opened) or a function of the group; never both."""

    done: asyncio.Future[Any]
    raws: Sequence[bytes] = ()
    decide: Decide | None = None
    cids: Sequence[str] = ()
    narrows: bool = False
    """Of a function: whether it is decided where the clock is in doubt (CLOCK-2)."""
    over: Over | None = None
    """The rate limit of the sender of acts."""
    acts: list[SignedAct | Refused] = field(default_factory=list)
    result: Any = None
    user: User = field(default_factory=user)
    """For whom it is decided."""
    room: Pool | None = None
    """The pool of which the command takes its weight."""
    request_id: str | None = field(default_factory=REQUEST_ID.get)
    """The request that it is decided for."""
    broken: set[tuple[str, str, str]] | None = None
    """Of a piece of a batch: the chains in which an act of the batch was refused (HTTP-12)."""
    came_at: float = field(default_factory=time.perf_counter)
    weight: int = field(init=False)
    """The weight of the command in a pool."""

    def __post_init__(self) -> None:
        self.weight = len(self.raws) or 1

    @property
    def was_accepted(self) -> bool:
        """Whether an act of it was accepted just now."""
        return bool(self.raws) and any(isinstance(it, Answer) and it.place is not None for it in self.result)


class Queue:
    """Waiting commands in order, taken together; pieces of batches have an order of their own, so that nobody waits for
    a whole batch."""

    def __init__(self) -> None:
        self._commands: deque[Command] = deque()
        self._pieces: deque[Command] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, commands: Sequence[Command]) -> None:
        for command in commands:
            (self._commands if command.broken is None else self._pieces).append(command)
        self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    async def take(self, most: int) -> list[Command]:
        """The waiting commands, up to about `most` acts, and one piece of a batch at a time while other commands wait;
        empty once the queue is closed and empty."""
        while not self._commands and not self._pieces and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        taken: list[Command] = []
        while self._commands and len(taken) < most:
            taken.append(self._commands.popleft())
        room = 1 if taken else most // PIECE
        while self._pieces and room > 0:
            taken.append(self._pieces.popleft())
            room -= 1
        return taken
