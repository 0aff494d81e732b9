"""The Merkle tree of a log: hashes, proofs and their verification (RFC 6962 section 2.1; spec/log.md, LOG-1, LOG-2).

This module knows a tree by its complete subtrees alone: node (h, i) is the hash over the leaves from i·2^h up to
(i+1)·2^h. A complete subtree never changes, so its hashes suffice to prove anything about any earlier size. The
`prove_…` functions read them through a `NodeReader`; the `check_…` functions need only the proof.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

NodeReader = Callable[[int, int], bytes]
"""Maps (height, index) of a complete subtree to its hash."""
Node = tuple[int, int]

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of the empty tree."""
MOST_SIZE = 2**53 - 1
"""The most leaves of a tree: the largest integer that JSON can carry."""
LONGEST_PROOF = 63
"""The most hashes in one proof (tlog-witness)."""


def leaf_hash(entry: bytes) -> bytes:
    """The leaf hash of an entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node with two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of_hashes(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, straight from the definition in RFC 6962: slow and simple."""
    if len(hashes) < 2:
        return hashes[0] if hashes else EMPTY_ROOT
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return node_hash(root_of_hashes(hashes[:split]), root_of_hashes(hashes[split:]))


def root_of(size: int, node: NodeReader) -> bytes:
    """The root of a tree of that size."""
    return root_of_span(0, size, node) if size else EMPTY_ROOT


def root_of_span(low: int, high: int, node: NodeReader) -> bytes:
    """The hash over the leaves from `low` up to `high`. `low` is a multiple of the least power of two that is not less
    than their number."""
    height = (high - low - 1).bit_length()
    if high - low == 1 << height:
        return node(height, low >> height)
    # From the right: an incomplete subtree joins the complete subtrees to its left.
    root: bytes | None = None
    for level in range(height):
        if high >> level & 1:
            complete = node(level, (high >> level) - 1)
            root = complete if root is None else node_hash(complete, root)
    assert root is not None
    return root


def prove_inclusion(index: int, size: int, node: NodeReader) -> list[bytes]:
    """The audit path of leaf `index` in a tree of `size` leaves, from the leaf upwards (RFC 6962 section 2.1.1).

    Raises ValueError unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    path: list[bytes] = []
    for height in range(size.bit_length()):
        sibling = (index >> height) ^ 1
        low, high = sibling << height, min((sibling + 1) << height, size)
        if low < size:
            path.append(root_of_span(low, high, node))
    return path


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """True if the leaf hash is number `index` of the tree with that size and root (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size or len(proof) > LONGEST_PROOF:
        return False
    at, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            computed = node_hash(sibling, computed)
            while not at & 1:
                at, last = at >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and computed == root


def prove_consistency(old: int, new: int, node: NodeReader) -> list[bytes]:
    """The proof that the tree of size `new` begins with that of size `old` (RFC 6962 section 2.1.2). It is empty for
    the empty tree, and for two equal sizes. Raises ValueError unless 0 <= old <= new."""
    if not 0 <= old <= new:
        raise ValueError("the new size is smaller than the old one")
    return [] if old == 0 else _subproof(old, 0, new, True, node)


def _subproof(old: int, low: int, high: int, whole: bool, node: NodeReader) -> list[bytes]:
    if old == high:
        return [] if whole else [root_of_span(low, high, node)]
    split = low + (1 << ((high - low - 1).bit_length() - 1))
    if old <= split:
        return [*_subproof(old, low, split, whole, node), root_of_span(split, high, node)]
    return [*_subproof(old, split, high, False, node), root_of_span(low, split, node)]


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """True if the tree of size `new` begins with that of size `old` (RFC 9162 section 2.1.4.2).

    Every tree begins with the empty one, whose root must be right as well. A smaller `new` cannot be proved.
    """
    if not 0 <= old <= new or len(proof) > LONGEST_PROOF:
        return False
    if old == 0:
        return not proof and old_root == EMPTY_ROOT and (new > 0 or new_root == EMPTY_ROOT)
    if old == new:
        return not proof and old_root == new_root
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not at & 1:
                at, last = at >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


def needed_nodes(prove: Callable[[NodeReader], object]) -> list[Node]:
    """The complete subtrees that a proof consists of, so that the caller can fetch them first."""
    nodes: list[Node] = []

    def note_down(height: int, index: int) -> bytes:
        nodes.append((height, index))
        return EMPTY_ROOT

    prove(note_down)
    return nodes


class Edge:
    """The right edge of a growing tree: for each height the last complete subtree without a sibling. It suffices to add
    leaves and to compute the root; each node is hashed once."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """`peaks`: the complete subtrees of a tree of that size, the largest first."""
        self.size = size
        self._peaks = list(peaks)
        if len(self._peaks) != size.bit_count():
            raise ValueError("a tree of that size has another number of peaks")

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """The complete subtrees of the tree, the largest first."""
        return tuple(self._peaks)

    def copy(self) -> "Edge":
        """A copy of this edge."""
        return Edge(self.size, self._peaks)

    def append(self, leaf: bytes) -> list[bytes]:
        """Adds a leaf hash. Returns the subtrees that it completed, from height 0 (the leaf itself) upwards."""
        completed = [leaf]
        at = self.size
        while at & 1:
            completed.append(node_hash(self._peaks.pop(), completed[-1]))
            at >>= 1
        self._peaks.append(completed[-1])
        self.size += 1
        return completed

    def root(self) -> bytes:
        """The root of the current tree."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def peaks(size: int) -> list[Node]:
    """The complete subtrees of a tree of that size, the largest first."""
    return [(height, (size >> height) - 1) for height in reversed(range(size.bit_length())) if size >> height & 1]
