"""The connections of clients: at most so many, with a share for each address, and those that are silent go first."""

import math
import time
from collections import OrderedDict
from itertools import count, islice
from typing import Any, Protocol

from multidict import MultiDict

from comity_server.limits.client_address import ClientAddresses
from comity_server.limits.shares import Pool, User
from comity_server.logging import MINUTE, Repeated

LOOKED_AT = 64
"""The number of connections that are searched for silent ones when a new one arrives."""


class Socket(Protocol):
    """A connection as this module needs it."""

    def is_silent(self) -> bool:
        """True if the server waits for the client."""
        ...

    def hang_up(self) -> None:
        """Close it, and its descriptor, at once."""
        ...


class Sockets:
    """The connections of one server. `most` at a time; those of a trusted proxy are of many people, so they have no
    share but all that is left."""

    def __init__(self, most: int, addresses: ClientAddresses) -> None:
        self._addresses = addresses
        self._room = Pool(most, for_long=True)
        self._all: OrderedDict[Socket, User] = OrderedDict()
        self._of: dict[str, OrderedDict[Socket, None]] = {}
        self._numbers = count()
        self._refused = Repeated("connections_refused")
        self._refused_at = -math.inf
        self._closed = Repeated("connections_closed_early")

    def __len__(self) -> int:
        return len(self._all)

    @property
    def is_full(self) -> bool:
        """Whether one was refused within the last minute."""
        return time.monotonic() - self._refused_at < MINUTE

    def admit(self, socket: Socket, peer: str | None) -> bool:
        """True, and the connection is counted until `leave`, if there is room for it. Near the limit those that are
        silent are closed early: all that are found, or where an address has its share, one of its own."""
        user = self._user(peer)
        if self._room.taken >= self._room.size - self._room.size // 8:
            self._close_silent(self._all, LOOKED_AT)
        if not self._room.take(user):
            self._close_silent(self._of.get(user.owner, OrderedDict()), 1)
            if not self._room.take(user):
                self._refused.note()
                self._refused_at = time.monotonic()
                return False
        self._all[socket] = user
        self._of.setdefault(user.owner, OrderedDict())[socket] = None
        return True

    def leave(self, socket: Socket) -> None:
        """The connection is over."""
        user = self._all.pop(socket, None)
        if user is None:
            return
        self._room.give(user)
        mine = self._of[user.owner]
        del mine[socket]
        if not mine:
            del self._of[user.owner]

    def _user(self, peer: str | None) -> User:
        if self._addresses.is_proxy(peer):
            # Somebody new for each connection: who holds nothing finds room while there is any.
            return User(f"proxy {next(self._numbers)}")
        return User(self._addresses.of(peer, MultiDict()))

    def _close_silent(self, sockets: "OrderedDict[Socket, Any]", most: int) -> None:
        """Close up to `most` silent ones among the first LOOKED_AT, and look at the others last the next time."""
        closed = 0
        for socket in list(islice(sockets, LOOKED_AT)):
            if socket.is_silent():
                self.leave(socket)
                socket.hang_up()
                closed += 1
                if closed == most:
                    break
            else:
                sockets.move_to_end(socket)
        if closed:
            self._closed.note(closed)
