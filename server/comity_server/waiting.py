"""Commands on their way to the writer."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from comity.acts import SignedAct
from comity.errors import Refused
from comity_server.group import Answer, Group
from comity_server.logs import REQUEST_ID
from comity_server.rate_limits import Over
from comity_server.rooms import user
from comity_server.shares import Pool, User

Decide = Callable[[Group], Awaitable[Any]]


@dataclass(slots=True, eq=False)
class Command:
    """Something to decide: acts (raw, then opened) or a function of the group; never both."""

    done: asyncio.Future[Any]
    raws: Sequence[bytes] = ()
    decide: Decide | None = None
    cids: Sequence[str] = ()
    over: Over | None = None
    """Where the rate of the sender of the acts is used up."""
    acts: list[SignedAct | Refused] = field(default_factory=list)
    result: Any = None
    user: User = field(default_factory=user)
    """For whom it is decided."""
    room: Pool | None = None
    """Where it takes its weight of."""
    request_id: str | None = field(default_factory=REQUEST_ID.get)
    """The request that it is decided for."""
    weight: int = field(init=False)
    """What it takes of a room."""

    def __post_init__(self) -> None:
        self.weight = len(self.raws) or 1

    @property
    def was_accepted(self) -> bool:
        """Whether an act of it was accepted just now."""
        return bool(self.raws) and any(isinstance(it, Answer) and it.place is not None for it in self.result)


class Queue:
    """Commands in order, taken as many at a time as wait."""

    def __init__(self) -> None:
        self._commands: deque[Command] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, commands: Sequence[Command]) -> None:
        self._commands.extend(commands)
        self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    async def take(self, most: int) -> list[Command]:
        """What waits, up to about `most` acts; nothing once it is closed and empty."""
        while not self._commands and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        taken: list[Command] = []
        weight = 0
        while self._commands and (not taken or weight + self._commands[0].weight <= most):
            command = self._commands.popleft()
            weight += command.weight
            taken.append(command)
        return taken
