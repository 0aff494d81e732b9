"""The status lists in memory: the value of each issued entry over time, and the signed token of the list.

A timed mute ends and a grant expires by the clock, without a job: an entry stores the two times, and its value is
computed when the list is served. A commit's changes are in the list before that commit is answered.
"""

import heapq
import secrets
import time
from collections.abc import Collection, Iterable

from comity.documents.status_lists import ENTRIES, GrantStatus, pack_entries, sign_status_list
from comity.documents.types import SIDES, Side, other
from comity.encoding import hash_id
from comity.rules import gate
from comity.rules.gate import FOR_EVER
from comity.rules.state import Connection, Grant
from comity.rules.topics import topic_needed_until
from comity_server.clock import Clock
from comity_server.server_keys import Home
from comity_server.store.rows import Entry, ReservedRow, StatusRow

FRESH_FOR = 2.0
"""Seconds for which a signed token is served again while nothing changed."""
FULL_AT = ENTRIES // 2
"""Given entries after which the next list is begun: in a fuller one a random free index takes long to find."""

FIRST_LIST = "first_list"
"""The name under which a store remembers the first list from which indexes are still given out."""
MOST_STALE = 1000
"""Times at which nothing changes any more that may be remembered, beside two for each entry."""


class StatusList:
    """One list: its given entries, their values as of the last look, and its last signed token."""

    def __init__(self, uri: str, entries: Iterable[Entry]) -> None:
        self.uri = uri
        self._entries = {entry.idx: entry for entry in entries}
        self._values = bytearray(b"\x01") * ENTRIES
        self._to_look_at = set(self._entries)
        self._changes: list[tuple[int, int]] = []
        self._token: tuple[str, str, float, int] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def free_index(self, taken: Collection[int]) -> int:
        """A random index that was never given and not `taken`. Random, so that neighbours say nothing of each other."""
        while (idx := secrets.randbelow(ENTRIES)) in self._entries or idx in taken:
            pass
        return idx

    def put(self, entry: Entry) -> None:
        """The value of an entry from now on."""
        self._entries[entry.idx] = entry
        self._to_look_at.add(entry.idx)

    def token(self, now: int, home: Home) -> tuple[str, str]:
        """(signed token, its ETag) that is true at `now` (ms)."""
        changed = self._look(now)
        monotonic = time.monotonic()
        if not changed and self._token is not None:
            raw, etag, made, made_at = self._token
            # The second test is for a story's clock, which can jump.
            if monotonic - made < FRESH_FOR and abs(now - made_at) < FRESH_FOR * 1000:
                return raw, etag
        raw = sign_status_list(self.uri, pack_entries(self._values, 2), now // 1000, home.signer)
        etag = f'"{hash_id(raw.encode("ascii"))[:22]}"'
        self._token = (raw, etag, monotonic, now)
        return raw, etag

    def _look(self, now: int) -> bool:
        """Updates the values to `now` (ms): new entries, and changes by time alone."""
        looked_at, self._to_look_at = self._to_look_at, set()
        while self._changes and self._changes[0][0] <= now:
            looked_at.add(heapq.heappop(self._changes)[1])
        changed = False
        for idx in looked_at:
            value, until = value_of(self._entries[idx], now)
            changed = changed or self._values[idx] != value
            self._values[idx] = value
            if until != FOR_EVER:
                heapq.heappush(self._changes, (until, idx))
        if len(self._changes) > 2 * len(self._entries) + MOST_STALE:
            # Each mute that begins and ends leaves an old end behind: one time for each entry is enough.
            ends = ((value_of(entry, now)[1], idx) for idx, entry in self._entries.items())
            self._changes = sorted(end for end in ends if end[0] != FOR_EVER)
        return changed


def value_of(entry: Entry, now: int) -> tuple[GrantStatus, int]:
    """(value, when it changes by itself) of an entry at `now`, ms."""
    if entry.ended or now >= entry.expires_at:
        return GrantStatus.INVALID, FOR_EVER
    if now < entry.ask_until:
        return GrantStatus.ASK, min(entry.ask_until, entry.expires_at)
    return GrantStatus.VALID, entry.expires_at


class StatusLists:
    """All lists of the server. Lists are numbered from 1."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self._prefix = f"{home.origin}/status/"
        self._lists: dict[int, StatusList] = {}
        self._first = 1

    @property
    def first(self) -> int:
        """The first list from which indexes are issued: after a restore the issued indexes of earlier lists are
        unknown."""
        return self._first

    def begin_at(self, first: int) -> None:
        """Give out no index of a list before that one."""
        self._first = first

    def begin_behind(self, apart: int) -> int:
        """Leave out the next `apart` lists; the number of the one that is begun."""
        self.begin_at(max(self._lists, default=0) + apart)
        return self._first

    def load(self, number: int, entries: Iterable[Entry]) -> None:
        """Take in a list as stored."""
        self._lists[number] = StatusList(f"{self._prefix}{number}", entries)

    def get(self, number: int) -> StatusList | None:
        """The list of that number."""
        return self._lists.get(number)

    def number_of(self, uri: str) -> int | None:
        """The number of the list that is served at `uri`, if it is one of these."""
        return self.number_named(uri.removeprefix(self._prefix)) if uri.startswith(self._prefix) else None

    def number_of_any(self, uri: str) -> int | None:
        """The number in the URI of a list, which need not be there any more."""
        name = uri.removeprefix(self._prefix)
        is_one = uri.startswith(self._prefix) and name.isascii() and name.isdigit() and 0 < len(name) <= 6
        return int(name) if is_one and str(int(name)) == name else None

    def number_named(self, name: str) -> int | None:
        """The number of the list that is served under `name`, the last part of its URI."""
        if not name.isascii() or not name.isdigit() or len(name) > 6:
            return None
        number = int(name)
        return number if str(number) == name and number in self._lists else None

    def draw(self, drawn: Collection[tuple[int, int]]) -> tuple[int, int]:
        """A place (list, index) that was never issued. `drawn` are those that the same unit of work already
        reserves."""
        number = max(self._first, max(self._lists, default=1))
        if number in self._lists and len(self._lists[number]) >= FULL_AT:
            number += 1
        if number not in self._lists:
            self.load(number, ())
        return number, self._lists[number].free_index({idx for list_no, idx in drawn if list_no == number})

    def mark_reserved(self, rows: Iterable[ReservedRow]) -> None:
        """Take in the places that a commit reserved."""
        for row in rows:
            self._lists[row["list_no"]].put(Entry(row["idx"], 1, 0, 0))

    def reference(self, place: tuple[int, int]) -> dict[str, object]:
        """How a grant names a place."""
        number, idx = place
        return {"idx": idx, "uri": self._lists[number].uri}

    def put(self, rows: Iterable[StatusRow]) -> None:
        """Takes over the changes of a commit."""
        for row in rows:
            entry = Entry(row["idx"], row["ended"], row["ask_until"], row["expires_at"])
            if row["list_no"] not in self._lists:
                # A list that was begun after the copy was made, and is restored with its grants.
                self.load(row["list_no"], ())
            self._lists[row["list_no"]].put(entry)

    def token(self, number: int) -> tuple[str, str] | None:
        """(signed token, ETag) of a list, None where there is none."""
        found = self._lists.get(number)
        return None if found is None else found.token(self._clock.now(), self._home)

    def changes(self, before: Connection, after: Connection) -> list[StatusRow]:
        """The entries that say something else after a change of a connection."""
        rows: list[StatusRow] = []
        for side in SIDES:
            old, new = before.door(side).grants, after.door(side).grants
            if not _may_say_else(before, after, side):
                continue
            if old != new:
                kept = {grant.id for grant in new}
                rows += [self._row(grant, 1, 0) for grant in old if grant.id not in kept]
            for grant in new:
                said = status_of(after, side, grant)
                if grant not in old or said != status_of(before, side, grant):
                    rows.append(self._row(grant, *said))
        return rows

    def _row(self, grant: Grant, ended: int, ask_until: int) -> StatusRow:
        return {
            "list_no": int(grant.uri.removeprefix(self._prefix)),
            "idx": grant.idx,
            "grant_id": grant.id,
            "ended": ended,
            "ask_until": ask_until,
            "expires_at": grant.exp * 1000,
        }


def status_of(state: Connection, side: Side, grant: Grant) -> tuple[int, int]:
    """(1 for a grant of `side` that was given up whole, until when (ms) it says "ask")."""
    across = state.door(other(side))
    if across.renounced and gate.is_fully_renounced(across, grant):
        return 1, 0
    return 0, gate.undecidable_until(state, side, grant)


def _may_say_else(before: Connection, after: Connection, side: Side) -> bool:
    """True if a change affects the entries of a side's grants. Most acts change a fact that no entry depends on, so
    facts count by their effects."""
    old, new = before.door(side), after.door(side)
    if not (old.grants or new.grants):
        return False
    # Compared one by one: what an act leaves alone is the very same object, and costs nothing.
    return (
        old.grants != new.grants
        or old.mutes != new.mutes
        or old.settings.mute_ends != new.settings.mute_ends
        or old.contests != new.contests
        or before.door(other(side)).renounced != after.door(other(side)).renounced
        or bool(before.recovering) != bool(after.recovering)
        or topic_needed_until(before, old) != topic_needed_until(after, new)
    )
