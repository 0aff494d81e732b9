"""Which connection or id a person means by what was typed (spec/wallet.md, WHO-1 to WHO-3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Protocol, TypeVar

from comity.crypto.keys import is_did
from comity.documents.names import comparison_form, normalize_name
from comity.errors import ComityError, Malformed

SHORTEST_ID = 8
"""Characters of an id that name it at least: fewer are made to fit in no time (WHO-2)."""
MARK = "id:"
_NO_NAMES = (MARK, "did:")
_MOST_CANDIDATES = 10
_LONGEST_NAME = 100
_MOST_SHOWN = 100
"""Characters of what was typed that a refusal shows."""


class Named(Protocol):
    """What a connection is named by."""

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


P = TypeVar("P", bound=Named)


class NotNamed(ComityError):
    """Nothing here is called so."""


class SeveralNamed(ComityError):
    """Several things are called so. `cids` are those of the connections, for who wants all of one party's."""

    def __init__(self, told: str, cids: tuple[str, ...] = ()) -> None:
        self.cids = cids
        super().__init__(told)


def party_named(parties: Sequence[P], typed: str, kind: str = "connection") -> P:
    """The connection that was typed, or the proposal of one: by its id, the other side's DID, or a name. Raises
    NotNamed, SeveralNamed."""
    if typed.startswith(MARK):
        cid = id_named([it.cid for it in parties], typed, kind)
        return next(it for it in parties if it.cid == cid)
    fitting = _fitting(parties, typed)
    if not fitting:
        raise NotNamed(f"no {kind} is called {_as_typed(typed)}{_perhaps(parties, typed)}")
    standing = [it for it in fitting if it.phase in ("open", "proposed")]
    if len(fitting) > 1 and standing and _is_one_choice(fitting, typed):
        fitting = standing
    if len(fitting) > 1:
        cids = tuple(it.cid for it in fitting)
        raise SeveralNamed(f"several {kind}s are called {_as_typed(typed)}: {_listed(fitting)}", cids)
    return fitting[0]


def _fitting(parties: Sequence[P], typed: str) -> list[P]:
    if typed.startswith("did:"):
        return [it for it in parties if it.did == typed]
    by_id = [it for it in parties if it.cid == typed]
    word = _plain(typed)
    if by_id or not word:
        return by_id
    if own := [it for it in parties if _plain(it.petname) == word]:
        return own
    return [it for it in parties if _plain(it.offered_name) == word or word in _plain(it.petname)]


def _is_one_choice(fitting: Sequence[Named], typed: str) -> bool:
    """Whether one party, or the wallet's owner alone, has made these fit: then one that ended can give way."""
    return len({it.did for it in fitting}) == 1 or all(_plain(it.petname) == _plain(typed) for it in fitting)


def id_named(ids: Iterable[str], typed: str, kind: str) -> str:
    """The id that was typed, whole or by `id:` and its beginning (WHO-2). Raises NotNamed, SeveralNamed."""
    known = list(dict.fromkeys(ids))
    if typed in known:
        return typed
    beginning = typed.removeprefix(MARK)
    if beginning == typed or len(beginning) < SHORTEST_ID:
        raise NotNamed(f"{_as_typed(typed)} is no id: write {MARK} and at least {SHORTEST_ID} characters of one")
    found = [it for it in known if it.startswith(beginning)]
    if not found:
        raise NotNamed(f"no {kind} has an id that begins with {_as_typed(beginning)}")
    if len(found) > 1:
        shown = ", ".join(f"{MARK}{it}" for it in found[:_MOST_CANDIDATES])
        raise SeveralNamed(f"the ids of several begin with {beginning}: {shown}")
    return found[0]


def namesakes(parties: Iterable[P], name: str | None) -> list[P]:
    """The connections that are open, or may be, in which the other side has that name (WHO-4)."""
    word = _plain(name)
    return [
        it
        for it in parties
        if word and word in (_plain(it.petname), _plain(it.offered_name)) and it.phase in ("open", "proposed")
    ]


def checked_petname(name: str) -> str:
    """A name that an owner can give, in its one spelling (ACT-17). Raises Malformed, too for one that would be read as
    something else."""
    spelled = normalize_name(name)
    if is_did(spelled) or comparison_form(spelled).startswith(_NO_NAMES):
        raise Malformed("a name cannot begin as an id or a DID does")
    if len(spelled) > _LONGEST_NAME:
        raise Malformed(f"a name has at most {_LONGEST_NAME} characters")
    return spelled


def _plain(name: str | None) -> str:
    """A name as names are compared; empty for none."""
    return comparison_form(name or "")


def _perhaps(parties: Sequence[P], typed: str) -> str:
    """What else may have been meant, as the end of a sentence."""
    word, names = _plain(typed), {_plain(it.name) for it in parties}
    near = {name for name in names if word and word in name} or set(get_close_matches(word, names, n=3))
    # All who have such a name: to leave one of two out would choose between them.
    found = [it for it in parties if _plain(it.name) in near]
    return f"; perhaps {_listed(found)}" if found else ""


def _as_typed(typed: str) -> str:
    """What was typed, as far as a sentence has room for it."""
    if not typed.strip():
        return f'"{typed[:_MOST_SHOWN]}"'
    return typed if len(typed) <= _MOST_SHOWN else f"{typed[:_MOST_SHOWN]}…"


def _listed(parties: Sequence[Named]) -> str:
    listed = "; ".join(f"{it.name} ({MARK}{it.cid}, {it.phase})" for it in parties[:_MOST_CANDIDATES])
    return listed + (" …" if len(parties) > _MOST_CANDIDATES else "")
