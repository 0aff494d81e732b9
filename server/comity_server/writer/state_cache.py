"""The states that the writer has at hand: bounded, least recently used go first."""

from collections import OrderedDict

from comity.rules.state import Connection


class States:
    """Committed states only, each with the secret behind its connection's tags; whoever is not sure forgets."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, tuple[Connection, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, cid: str) -> tuple[Connection, bytes] | None:
        """The state and the secret, if they are at hand."""
        known = self._kept.get(cid)
        if known is not None:
            self._kept.move_to_end(cid)
        return known

    def put(self, state: Connection, tag_secret: bytes) -> None:
        """Keep a committed state."""
        self._kept[state.cid] = (state, tag_secret)
        self._kept.move_to_end(state.cid)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def forget(self, cid: str) -> None:
        """Drop a state whose commit is in doubt."""
        self._kept.pop(cid, None)
