"""The tree of a log: whoever has a proof that holds needs nobody's word, and no other proof holds (LOG-1, LOG-2)."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.transparency.merkle import (
    EMPTY_ROOT,
    LONGEST_PROOF,
    Edge,
    check_consistency,
    check_inclusion,
    leaf_hash,
    needed_nodes,
    node_hash,
    peaks,
    prove_consistency,
    prove_inclusion,
    root_of,
    root_of_hashes,
    root_of_span,
)
from comity.transparency.tiles import Tile, node_reader, tiles_of

SIZES = (0, 1, 2, 255, 256, 257, 65_535, 65_536, 65_537)
PEOPLE_SEE = 3_000
"""Leaves of the trees that hypothesis tries."""

# The leaves that implementations of RFC 6962 are tried with, and the roots over the first 0, 1, 2 … of them.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def by_the_book(entries: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, with nothing of ours in it."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    half = 1
    while 2 * half < len(entries):
        half *= 2
    return sha256(b"\x01" + by_the_book(entries[:half]) + by_the_book(entries[half:])).digest()


class Tree:
    """A tree whose leaves all differ, with every complete subtree that it has."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rows: list[list[bytes]] = [[leaf_hash(b"entry %d" % number) for number in range(size)]]
        while len(below := self.rows[-1]) > 1:
            self.rows.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])

    def node(self, height: int, index: int) -> bytes:
        """A complete subtree; there is none beyond the edge."""
        assert height >= 0 and 0 <= index < len(self.rows[height])
        return self.rows[height][index]

    def root(self, size: int) -> bytes:
        """The root when there were that many leaves."""
        return root_of(size, self.node)

    def tile(self, tile: Tile) -> bytes:
        """The bytes of a tile."""
        row = self.rows[8 * tile.level]
        return b"".join(row[256 * tile.number : 256 * tile.number + tile.width])


SMALL = Tree(PEOPLE_SEE)


@pytest.fixture(scope="module")
def tall() -> Tree:
    return Tree(max(SIZES))


# --- roots


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_the_roots_are_those_that_others_have(size: int) -> None:
    assert by_the_book(LEAVES[:size]).hex() == ROOTS[size]
    hashes = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    assert root_of_hashes(hashes).hex() == ROOTS[size]
    edge = Edge()
    for leaf in hashes:
        edge.append(leaf)
    assert edge.root().hex() == ROOTS[size]


def test_a_leaf_is_never_a_node() -> None:
    """Else somebody could show two hashes side by side as an entry."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)
    assert leaf_hash(b"a") != sha256(b"a").digest()


@pytest.mark.parametrize("size", SIZES)
def test_however_a_root_is_worked_out_it_is_the_same(tall: Tree, size: int) -> None:
    edge = Edge(size, [tall.node(height, index) for height, index in peaks(size)])
    tiles = {tile: tall.tile(tile) for tile in tiles_of(size)}
    root = root_of_hashes(tall.rows[0][:size])
    assert edge.root() == tall.root(size) == root_of(size, node_reader(size, tiles.__getitem__)) == root


@pytest.mark.parametrize("height", range(9))
def test_a_span_has_the_root_of_its_own_leaves(height: int) -> None:
    for low in (0, 1 << height, 5 << height):
        for high in {low + 1, low + (1 << height) // 2 + 1, low + (1 << height)}:
            assert root_of_span(low, high, SMALL.node) == root_of_hashes(SMALL.rows[0][low:high])


def test_an_edge_that_grew_leaf_by_leaf_completed_every_subtree_once(tall: Tree) -> None:
    edge = Edge()
    rows: list[list[bytes]] = [[] for _ in tall.rows]
    for number, leaf in enumerate(tall.rows[0]):
        for height, done in enumerate(edge.append(leaf)):
            rows[height].append(done)
        if number + 1 in SIZES:
            assert edge.root() == tall.root(number + 1)
    assert edge.size == tall.size
    assert rows == tall.rows


@given(st.integers(0, PEOPLE_SEE - 1), st.integers(0, 40))
def test_an_edge_goes_on_from_where_it_was_put_down(size: int, more: int) -> None:
    edge = Edge(size, [SMALL.node(height, index) for height, index in peaks(size)])
    before = edge.copy()
    for leaf in SMALL.rows[0][size : size + more]:
        edge.append(leaf)
    assert edge.root() == root_of_hashes(SMALL.rows[0][: size + more])
    assert (before.size, before.root()) == (size, SMALL.root(size))


@pytest.mark.parametrize(("size", "count"), [(0, 1), (1, 0), (3, 1), (4, 2), (255, 7)])
def test_an_edge_with_peaks_of_another_size_is_none(size: int, count: int) -> None:
    with pytest.raises(ValueError, match="peaks"):
        Edge(size, [EMPTY_ROOT] * count)


# --- proofs that hold


@pytest.mark.parametrize("size", SIZES[1:])
def test_an_entry_of_a_large_log_is_proved_from_its_tiles(tall: Tree, size: int) -> None:
    tiles = {tile: tall.tile(tile) for tile in tiles_of(size)}
    node, root = node_reader(size, tiles.__getitem__), tall.root(size)
    for index in sorted({0, 1, 254, 255, 256, size // 2, size - 2, size - 1} & set(range(size))):
        proof = prove_inclusion(index, size, node)
        assert check_inclusion(tall.rows[0][index], index, size, proof, root)
        assert not check_inclusion(tall.rows[0][index], index, size, [*proof, root], root)
        assert not check_inclusion(tall.rows[0][index - 1], index, size, proof, root)


@pytest.mark.parametrize("old", SIZES)
def test_a_large_log_that_grew_is_proved_to_have_grown(tall: Tree, old: int) -> None:
    for new in (size for size in SIZES if size >= old):
        tiles = {tile: tall.tile(tile) for tile in tiles_of(new)}
        proof = prove_consistency(old, new, node_reader(new, tiles.__getitem__))
        assert check_consistency(old, tall.root(old), new, tall.root(new), proof)
        assert not check_consistency(old, leaf_hash(b"another"), new, tall.root(new), proof)


class Claim(NamedTuple):
    """What a proof is for: the numbers, and the hashes that are known beforehand."""

    numbers: tuple[int, int]
    known: tuple[bytes, bytes]


Check = Callable[[Claim, list[bytes]], bool]


def included(claim: Claim, proof: list[bytes]) -> bool:
    """`check_inclusion` for (index, size) and (leaf, root)."""
    return check_inclusion(claim.known[0], *claim.numbers, proof, claim.known[1])


def consistent(claim: Claim, proof: list[bytes]) -> bool:
    """`check_consistency` for (old, new) and their roots."""
    return check_consistency(claim.numbers[0], claim.known[0], claim.numbers[1], claim.known[1], proof)


def near(most: int) -> st.SearchStrategy[int]:
    """Numbers up to `most`, the ones beside powers of two more often."""
    corners = [number for power in range(12) for number in (2**power - 1, 2**power, 2**power + 1) if number <= most]
    return st.one_of(st.integers(0, most), st.sampled_from(corners))


pairs = st.tuples(near(PEOPLE_SEE), near(PEOPLE_SEE)).map(lambda pair: (min(pair), max(pair)))


@st.composite
def inclusions(draw: st.DrawFn) -> tuple[Claim, list[bytes]]:
    """An entry and its proof."""
    index, size = draw(pairs.filter(lambda pair: pair[0] < pair[1]))
    return Claim((index, size), (SMALL.rows[0][index], SMALL.root(size))), prove_inclusion(index, size, SMALL.node)


@st.composite
def growths(draw: st.DrawFn) -> tuple[Claim, list[bytes]]:
    """Two sizes of a log and the proof that one grew out of the other."""
    old, new = draw(pairs)
    return Claim((old, new), (SMALL.root(old), SMALL.root(new))), prove_consistency(old, new, SMALL.node)


proved = st.one_of(
    st.tuples(st.just(included), inclusions()),
    st.tuples(st.just(consistent), growths()),
)


@given(proved)
def test_every_proof_holds(given_: tuple[Check, tuple[Claim, list[bytes]]]) -> None:
    check, (claim, proof) = given_
    assert check(claim, proof)
    assert len(proof) <= LONGEST_PROOF


@given(inclusions(), growths())
def test_a_proof_asks_for_complete_subtrees_of_the_tree_and_for_each_once(
    one: tuple[Claim, list[bytes]], other: tuple[Claim, list[bytes]]
) -> None:
    index, size = one[0].numbers
    old, new = other[0].numbers
    of_leaf = needed_nodes(lambda node: prove_inclusion(index, size, node))
    of_growth = needed_nodes(lambda node: prove_consistency(old, new, node))
    for most, nodes, proof in ((size, of_leaf, one[1]), (new, of_growth, other[1])):
        assert all(height >= 0 and at >= 0 and (at + 1) << height <= most for height, at in nodes)
        assert len(set(nodes)) == len(nodes) >= len(proof)
    # A root is asked for from the right, where the small subtrees are.
    assert needed_nodes(lambda node: root_of(size, node)) == peaks(size)[::-1]


# --- and no other


def changed(proof: list[bytes], draw: st.DataObject) -> Iterator[list[bytes]]:
    """The proof with one hash changed by a bit, left out, put in, or in another's place."""
    for _ in range(2 if proof else 0):
        at = draw.draw(st.integers(0, len(proof) - 1))
        yield [*proof[:at], flipped(proof[at], draw), *proof[at + 1 :]]
        yield proof[:at] + proof[at + 1 :]
        to = draw.draw(st.integers(0, len(proof) - 1))
        if to != at:
            swapped = list(proof)
            swapped[at], swapped[to] = proof[to], proof[at]
            yield swapped
        yield [*proof[:at], proof[at][:31], *proof[at + 1 :]]
    at = draw.draw(st.integers(0, len(proof)))
    for more in (EMPTY_ROOT, b"", *proof[-1:]):
        yield [*proof[:at], more, *proof[at:]]


def flipped(hash_: bytes, draw: st.DataObject) -> bytes:
    """The hash with one other bit."""
    bit = draw.draw(st.integers(0, 255))
    return (int.from_bytes(hash_, "big") ^ 1 << bit).to_bytes(32, "big")


@given(proved, st.data())
def test_a_proof_with_one_thing_changed_holds_no_more(
    given_: tuple[Check, tuple[Claim, list[bytes]]], draw: st.DataObject
) -> None:
    """The leaves all differ, so there is no hash that could stand in for another."""
    check, (claim, proof) = given_
    for other in changed(proof, draw):
        assert not check(claim, other)


@given(proved, st.data())
def test_a_proof_proves_nothing_about_other_hashes(
    given_: tuple[Check, tuple[Claim, list[bytes]]], draw: st.DataObject
) -> None:
    check, (claim, proof) = given_
    first, second = claim.known
    assert not check(claim._replace(known=(flipped(first, draw), second)), proof)
    # Every tree begins with the empty one, so there the proof says nothing about what came of it.
    says_nothing = check is consistent and claim.numbers[0] == 0 < claim.numbers[1]
    assert check(claim._replace(known=(first, flipped(second, draw))), proof) == says_nothing


def steps_up(index: int, size: int) -> list[bool]:
    """From leaf to root by RFC 6962's definition: whether the leaf is in the right part of each tree."""
    if size == 1:
        return []
    half = 1 << ((size - 1).bit_length() - 1)
    return [*steps_up(index - half, size - half), True] if index >= half else [*steps_up(index, half), False]


@given(inclusions(), near(PEOPLE_SEE))
def test_a_proof_is_of_no_other_number(one: tuple[Claim, list[bytes]], number: int) -> None:
    claim, proof = one
    index, size = claim.numbers
    assert included(claim._replace(numbers=(number, size)), proof) == (number == index)
    assert not included(claim._replace(numbers=(-1, size)), proof)
    assert not included(claim._replace(numbers=(size, size)), proof)


@given(inclusions(), near(PEOPLE_SEE))
def test_a_proof_is_of_another_size_only_where_the_way_up_is_the_same(
    one: tuple[Claim, list[bytes]], size: int
) -> None:
    """The root of one size, called that of another, is a lie which the proof cannot see if the entry's way up is the
    same in both trees: size and root must come from one signed checkpoint. With the size's own root it never holds."""
    claim, proof = one
    index, own = claim.numbers
    same_way = index < size and steps_up(index, size) == steps_up(index, own)
    assert included(claim._replace(numbers=(index, size)), proof) == same_way
    if size != own:
        assert not included(Claim((index, size), (claim.known[0], SMALL.root(size))), proof)


@given(growths(), pairs)
def test_a_proof_of_growth_is_of_no_other_sizes(one: tuple[Claim, list[bytes]], numbers: tuple[int, int]) -> None:
    """Nothing is needed to show that a tree began empty, or is itself; else the sizes are those it was made for."""
    claim, proof = one
    for old, new in (numbers, (claim.numbers[0], numbers[1]), (numbers[0], claim.numbers[1])):
        if old <= new:
            trivial = not proof and old in (0, new)
            other = Claim((old, new), (SMALL.root(old), SMALL.root(new)))
            assert consistent(other, proof) == (trivial or (old, new) == claim.numbers)


def rebuilt(old: int, new: int, proof: list[bytes], old_root: bytes, whole: bool = True) -> tuple[bytes, bytes]:
    """Both roots from a proof, by RFC 6962's definition of it (section 2.1.2). Takes the proof from its end, and
    raises IndexError where it is too short."""
    if old == new:
        known = old_root if whole else proof.pop()
        return known, known
    half, beside = 1 << ((new - 1).bit_length() - 1), proof.pop()
    if old <= half:
        before, after = rebuilt(old, half, proof, old_root, whole)
        return before, node_hash(after, beside)
    before, after = rebuilt(old - half, new - half, proof, old_root, whole=False)
    return node_hash(beside, before), node_hash(beside, after)


@given(growths(), pairs)
def test_sizes_that_are_lies_pass_only_where_the_definition_lets_them(
    one: tuple[Claim, list[bytes]], numbers: tuple[int, int]
) -> None:
    """As above, the root of one size may be called that of another where the ways up are the same."""
    claim, proof = one
    for old, new in (numbers, (claim.numbers[0], numbers[1]), (numbers[0], claim.numbers[1])):
        if 0 < old < new:
            left = list(proof)
            try:
                holds = rebuilt(old, new, left, claim.known[0]) == claim.known and not left
            except IndexError:
                holds = False
            assert consistent(claim._replace(numbers=(old, new)), proof) == holds


def test_trees_of_one_size_are_the_same_or_they_are_two() -> None:
    for size in (0, 1, 2, 7, 256):
        root = SMALL.root(size)
        assert check_consistency(size, root, size, root, [])
        assert not check_consistency(size, root, size, leaf_hash(b"another"), [])
        assert not check_consistency(size, leaf_hash(b"another"), size, root, [])
        assert not check_consistency(size, root, size, root, [root])


def test_a_tree_does_not_shrink() -> None:
    for old, new in ((1, 0), (8, 7), (257, 256)):
        assert not check_consistency(old, SMALL.root(old), new, SMALL.root(new), [])
        assert not check_consistency(
            old, SMALL.root(old), new, SMALL.root(new), prove_consistency(new, old, SMALL.node)
        )
        with pytest.raises(ValueError, match="smaller"):
            prove_consistency(old, new, SMALL.node)
    assert not check_consistency(-1, EMPTY_ROOT, 0, EMPTY_ROOT, [])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (7, 7), (-1, 7)])
def test_an_entry_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="leaf"):
        prove_inclusion(index, size, SMALL.node)
    assert not check_inclusion(SMALL.rows[0][0], index, size, [], SMALL.root(size))


def test_a_proof_longer_than_any_is_not_even_looked_at() -> None:
    many = [EMPTY_ROOT] * (LONGEST_PROOF + 1)
    found = SMALL.rows[0][0]
    for beside in many:
        found = node_hash(found, beside)
    assert not check_inclusion(SMALL.rows[0][0], 0, 2 ** len(many), many, found)
    old, new = SMALL.rows[0][0], found
    assert not check_consistency(1, old, 2 ** len(many), new, many)


def test_a_long_history_is_searched_for_where_two_logs_part() -> None:
    """What a monitor does who is shown two histories: the sizes up to which both are one tree are a prefix."""
    other = Edge(1_000, [SMALL.node(height, index) for height, index in peaks(1_000)])
    roots = {1_000: other.root()}
    for number in range(1_000, 1_100):
        other.append(leaf_hash(b"another %d" % number))
        roots[other.size] = other.root()

    def parted(size: int) -> bool:
        return not check_consistency(size, roots[size], 2_000, SMALL.root(2_000), proof(size))

    def proof(size: int) -> list[bytes]:
        return prove_consistency(size, 2_000, SMALL.node)

    assert bisect_left(range(1_000, 1_101), True, key=parted) == 1


@settings(max_examples=30)
@given(st.integers(1, 2**53 - 1), st.data())
def test_a_log_of_any_size_that_can_be_counted_has_proofs(size: int, draw: st.DataObject) -> None:
    """All entries are alike here, so that a subtree is known by its height alone."""
    same = [leaf_hash(b"")]
    for height in range(53):
        same.append(node_hash(same[height], same[height]))

    def node(height: int, index: int) -> bytes:
        assert (index + 1) << height <= size
        return same[height]

    index, old = draw.draw(st.integers(0, size - 1)), draw.draw(st.integers(1, size))
    assert check_inclusion(same[0], index, size, prove_inclusion(index, size, node), root_of(size, node))
    proof = prove_consistency(old, size, node)
    assert check_consistency(old, root_of(old, node), size, root_of(size, node), proof)
