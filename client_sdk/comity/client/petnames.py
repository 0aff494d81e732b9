"""Finds the connection or id that a person typed (spec/wallet.md, WHO-1 to WHO-3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Protocol, TypeVar

from comity.crypto.keys import is_did
from comity.documents.names import comparison_form, normalize_name
from comity.errors import ComityError, Malformed

SHORTEST_ID = 8
"""The fewest characters of an id that name it: an id with fewer given characters is quickly made (WHO-2)."""
MARK = "id:"
_NO_NAMES = (MARK, "did:")
_MOST_CANDIDATES = 10
_LONGEST_NAME = 100
_MOST_SHOWN = 100
"""Characters of the typed text that an error shows."""


class NamedConnection(Protocol):
    """The names of a connection or proposal."""

    @property
    def cid(self) -> str: ...
    @property
    def did(self) -> str: ...
    @property
    def petname(self) -> str | None: ...
    @property
    def offered_name(self) -> str | None: ...
    @property
    def name(self) -> str: ...
    @property
    def phase(self) -> str: ...


P = TypeVar("P", bound=NamedConnection)


class NameNotFound(ComityError):
    """No connection, proposal or id has that name."""


class AmbiguousName(ComityError):
    """Several have that name. `cids` are the ids of the connections, for callers that want all of one party's."""

    def __init__(self, claim: str, cids: tuple[str, ...] = ()) -> None:
        self.cids = cids
        super().__init__(claim)


def find_by_name(parties: Sequence[P], typed: str, kind: str = "connection") -> P:
    """The connection or proposal that was typed: by its id, the other side's DID, or a name. Raises NameNotFound,
    AmbiguousName."""
    if typed.startswith(MARK):
        cid = find_id([party.cid for party in parties], typed, kind)
        return next(party for party in parties if party.cid == cid)
    fitting = _matches(parties, typed)
    if not fitting:
        raise NameNotFound(f"no {kind} is called {_shorten(typed)}{_suggest_names(parties, typed)}")
    standing = [it for it in fitting if it.phase in ("open", "proposed")]
    if len(fitting) > 1 and standing and _is_one_party(fitting, typed):
        fitting = standing
    if len(fitting) > 1:
        cids = tuple(it.cid for it in fitting)
        raise AmbiguousName(f"several {kind}s are called {_shorten(typed)}: {_list_connections(fitting)}", cids)
    return fitting[0]


def _matches(parties: Sequence[P], typed: str) -> list[P]:
    if typed.startswith("did:"):
        return [party for party in parties if party.did == typed]
    by_id = [party for party in parties if party.cid == typed]
    word = _fold_name(typed)
    if by_id or not word:
        return by_id
    if own := [party for party in parties if _fold_name(party.petname) == word]:
        return own
    return [party for party in parties if _fold_name(party.offered_name) == word or word in _fold_name(party.petname)]


def _is_one_party(fitting: Sequence[NamedConnection], typed: str) -> bool:
    """Whether one party, or the wallet's owner alone, chose these names; then an ended connection gives way to an open
    one."""
    return len({it.did for it in fitting}) == 1 or all(_fold_name(it.petname) == _fold_name(typed) for it in fitting)


def find_id(ids: Iterable[str], typed: str, kind: str) -> str:
    """The id that was typed, whole or as `id:` and its beginning (WHO-2). Raises NameNotFound, AmbiguousName."""
    known = list(dict.fromkeys(ids))
    if typed in known:
        return typed
    beginning = typed.removeprefix(MARK)
    if beginning == typed or len(beginning) < SHORTEST_ID:
        raise NameNotFound(f"{_shorten(typed)} is not an id: write {MARK} and at least {SHORTEST_ID} characters of one")
    found = [it for it in known if it.startswith(beginning)]
    if not found:
        raise NameNotFound(f"no {kind} has an id that begins with {_shorten(beginning)}")
    if len(found) > 1:
        shown = ", ".join(f"{MARK}{it}" for it in found[:_MOST_CANDIDATES])
        raise AmbiguousName(f"the ids of several begin with {beginning}: {shown}")
    return found[0]


def namesakes(parties: Iterable[P], name: str | None) -> list[P]:
    """The open and proposed connections whose other side has that name (WHO-4)."""
    word = _fold_name(name)
    return [
        connection
        for connection in parties
        if word
        and word in (_fold_name(connection.petname), _fold_name(connection.offered_name))
        and connection.phase in ("open", "proposed")
    ]


def check_petname(name: str) -> str:
    """A petname in its one spelling (ACT-17). Raises Malformed, also for a name that could be read as an id or a
    DID."""
    spelled = normalize_name(name)
    if is_did(spelled) or comparison_form(spelled).startswith(_NO_NAMES):
        raise Malformed("a name cannot begin as an id or a DID does")
    if len(spelled) > _LONGEST_NAME:
        raise Malformed(f"a name has at most {_LONGEST_NAME} characters")
    return spelled


def _fold_name(name: str | None) -> str:
    """A name in the form in which names are compared; empty for None."""
    return comparison_form(name or "")


def _suggest_names(parties: Sequence[P], typed: str) -> str:
    """The names that may have been meant, as the end of a sentence."""
    word, names = _fold_name(typed), {_fold_name(party.name) for party in parties}
    near = {name for name in names if word and word in name} or set(get_close_matches(word, names, n=3))
    # Everybody with such a name: to leave one out would be to choose for the person.
    found = [party for party in parties if _fold_name(party.name) in near]
    return f"; perhaps {_list_connections(found)}" if found else ""


def _shorten(typed: str) -> str:
    """The typed text, cut to the length of a sentence."""
    if not typed.strip():
        return f'"{typed[:_MOST_SHOWN]}"'
    return typed if len(typed) <= _MOST_SHOWN else f"{typed[:_MOST_SHOWN]}…"


def _list_connections(parties: Sequence[NamedConnection]) -> str:
    listed = "; ".join(f"{party.name} ({MARK}{party.cid}, {party.phase})" for party in parties[:_MOST_CANDIDATES])
    return listed + (" …" if len(parties) > _MOST_CANDIDATES else "")
