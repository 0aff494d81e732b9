"""The files of a log: each has one path and one content, and whoever reads them needs no more (LOG-3)."""

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from comity.errors import Malformed
from comity.transparency.merkle import MOST_SIZE, leaf_hash, node_hash, root_of, root_of_hashes
from comity.transparency.tiles import (
    ENTRIES,
    HASH,
    MOST_BUNDLE,
    MOST_LEVEL,
    WIDTH,
    Tile,
    bundles_of,
    check_tile,
    decode_bundle,
    encode_bundle,
    node_of,
    node_reader,
    parse_path,
    parse_size,
    tile_of,
    tiles_of,
    width_at,
)

# --- which tiles there are


def test_a_log_has_the_tiles_that_the_format_says() -> None:
    by_level = Counter(tile.level for tile in tiles_of(70_000))
    assert by_level == {0: 274, 1: 2, 2: 1}
    assert [tile for tile in tiles_of(70_000) if not tile.is_full] == [
        Tile(0, 273, 112),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert Tile(0, 1_234_067).path == "tile/0/x001/x234/067"
    assert list(tiles_of(0)) == list(bundles_of(0)) == []


@given(st.integers(0, 2**20))
def test_every_hash_of_a_log_is_in_one_tile(size: int) -> None:
    tiles = list(tiles_of(size))
    assert len({(tile.level, tile.number) for tile in tiles}) == len(tiles)
    for level in range(4):
        assert sum(tile.width for tile in tiles if tile.level == level) == size // 256**level
    assert all(0 < tile.width <= WIDTH and width_at(*tile[:2], size) == tile.width for tile in tiles)
    bundles = list(bundles_of(size))
    assert [bundle._replace(level=0) for bundle in bundles] == [tile for tile in tiles if tile.level == 0]
    assert width_at(0, size // WIDTH + 1, size) == width_at(ENTRIES, size // WIDTH + 1, size) == 0


# --- paths


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(63, 999, 1), "tile/63/999.p/1"),
        (Tile(7, 1_000, 255), "tile/7/x001/000.p/255"),
        (Tile(10, 1_000_001), "tile/10/x001/x000/001"),
        (Tile(ENTRIES, 0, 128), "tile/entries/000.p/128"),
        (Tile(ENTRIES, 123_456_789), "tile/entries/x123/x456/789"),
        (Tile(0, (MOST_SIZE - 1) // WIDTH), "tile/0/x035/x184/x372/x088/831"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tile_has_its_path(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/tile/0/000",
        "tile/0/000/",
        "tile//0/000",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x000/x001/000",
        "tile/0/000/001",
        "tile/0/001/x000",
        "tile/0/x001",
        "tile/0/x1/000",
        "tile/0/X001/000",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/99/000",
        "tile/100/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/0/-01",
        "tile/Entries/000",
        "tile/entries/0/000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/999",
        "tile/entries/000.p/257",
        "tile/0/000.p/1000",
        "tile/0/000.p/-1",
        "tile/0/000.p/1/",
        "tile/0/000.P/1",
        "tile/0/000p/1",
        "tile/0/x001.p/1/000",
        "tile/0/000.p/1\n",
        "tile/0/000\n",
        "\ntile/0/000",
        " tile/0/000",
        "tile/0/000 ",
        "tile/0/000\x00",
        "tile/\u0661/000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/000.p/\u0661",
        "tile/\uff10/000",
        "tile/0/00\u00b2",
        "tile/0/000\ud800",
        "tile/0/../0/000",
        "tile%2F0%2F000",
        "TILE/0/000",
        "checkpoint",
        "tile/0/x001/x001/x001/x001/x001/x001/000",
    ],
    ids=ascii,
)
def test_no_other_spelling_is_a_path(path: str) -> None:
    """Else a cache could hold two contents for one tile."""
    with pytest.raises(Malformed):
        parse_path(path)


levels = st.one_of(st.just(ENTRIES), st.integers(0, MOST_LEVEL))


@given(levels, st.integers(0, MOST_SIZE // WIDTH), st.integers(1, WIDTH))
def test_a_path_leads_back_to_its_tile(level: int, number: int, width: int) -> None:
    tile = Tile(level, number, width)
    assert parse_path(tile.path) == tile


@settings(max_examples=50)
@given(
    st.one_of(
        st.text(),
        st.text(alphabet="tile/ntrs0123456789x.p-\n", max_size=40).map("tile/{}".format),
        st.from_regex(r"\Atile/(entries|[0-9]{1,3})/(x[0-9]{3}/){0,3}[0-9]{3}(\.p/[0-9]{1,3})?\Z"),
    )
)
@example(f"tile/0/000.p/{WIDTH + 1}")
def test_every_path_that_is_read_is_the_one_path_of_its_tile(path: str) -> None:
    try:
        tile = parse_path(path)
    except Malformed:
        return
    assert tile.path == path
    assert 1 <= tile.width <= WIDTH and ENTRIES <= tile.level <= MOST_LEVEL


# --- nodes out of tiles


def test_a_node_is_hashed_from_its_tile_as_the_tree_hashes_it() -> None:
    row = [leaf_hash(bytes([number])) for number in range(WIDTH)]
    data = b"".join(row)
    for number, level in ((0, 0), (3, 0), (5, 2)):
        for height in range(8):
            for index in range(WIDTH >> height):
                place = number * (WIDTH >> height) + index
                direct = root_of_hashes(row[index << height : (index + 1) << height])
                assert node_of(8 * level + height, place, data) == direct
                assert tile_of(8 * level + height, place, 256**level * WIDTH * (number + 1)) == Tile(level, number)


@given(st.integers(1, 2_000))
def test_the_tiles_give_the_root(size: int) -> None:
    """Each of them is asked for as wide as the log of that size serves it."""
    tiles = set(tiles_of(size))

    def read(tile: Tile) -> bytes:
        assert tile in tiles
        row = ROWS[tile.level]
        return check_tile(tile, b"".join(row[tile.number * WIDTH : tile.number * WIDTH + tile.width]))

    assert root_of(size, node_reader(size, read)) == root_of_hashes(ROWS[0][:size])


ROWS = [[leaf_hash(b"%d" % number) for number in range(2_000)]]
ROWS.append([root_of_hashes(ROWS[0][at : at + WIDTH]) for at in range(0, 2_000 - WIDTH, WIDTH)])


@pytest.mark.parametrize("width", [1, 17, 255, 256])
def test_a_tile_of_another_length_is_none(width: int) -> None:
    tile = Tile(0, 0, width)
    right = bytes(width * HASH)
    assert check_tile(tile, right) == right
    for data in (b"", right[:-1], right + b"\0", right[HASH:], right + bytes(HASH)):
        with pytest.raises(Malformed):
            check_tile(tile, data)


def test_above_a_full_tile_stands_the_hash_over_it() -> None:
    row = [leaf_hash(bytes([number])) for number in range(WIDTH)]
    left, right = root_of_hashes(row[:128]), root_of_hashes(row[128:])
    assert node_of(8, 3, bytes(3 * HASH) + node_hash(left, right)) == node_hash(left, right)


# --- bundles

entries_ = st.lists(st.binary(max_size=70), min_size=1, max_size=12)


@given(entries_)
def test_a_bundle_gives_its_entries_back(entries: list[bytes]) -> None:
    assert decode_bundle(Tile(ENTRIES, 0, len(entries)), encode_bundle(entries)) == entries


@pytest.mark.parametrize("entries", [[b""], [bytes(65_535)], [bytes([number]) * 59 for number in range(256)]])
def test_a_bundle_may_be_as_small_and_as_large_as_any(entries: list[bytes]) -> None:
    data = encode_bundle(entries)
    assert decode_bundle(Tile(ENTRIES, 0, len(entries)), data) == entries
    assert len(data) <= MOST_BUNDLE


def test_an_entry_that_fits_into_no_bundle_is_not_cut() -> None:
    with pytest.raises(OverflowError):
        encode_bundle([bytes(65_536)])


def test_a_bundle_that_ends_early_or_late_is_none() -> None:
    entries = [b"one", b"", b"three", bytes(300)]
    data, tile = encode_bundle(entries), Tile(ENTRIES, 0, len(entries))
    assert decode_bundle(tile, data) == entries
    # At a border of entries, in a length, after it, and in an entry.
    for length in range(len(data)):
        with pytest.raises(Malformed):
            decode_bundle(tile, data[:length])
    for more in (b"\0", b"\0\0", b"\0\1", b"\0\1x", data):
        with pytest.raises(Malformed):
            decode_bundle(tile, data + more)
    for width in (1, 3, 5, 256):
        with pytest.raises(Malformed):
            decode_bundle(tile._replace(width=width), data)


@given(st.binary(max_size=80), st.integers(1, WIDTH))
def test_every_bundle_that_opens_is_the_one_bundle_of_its_entries(data: bytes, width: int) -> None:
    try:
        entries = decode_bundle(Tile(ENTRIES, 0, width), data)
    except Malformed:
        return
    assert len(entries) == width and encode_bundle(entries) == data


# --- sizes


@pytest.mark.parametrize("size", [0, 1, 9, 10, 70_000, MOST_SIZE])
def test_a_size_has_one_spelling(size: int) -> None:
    assert parse_size(str(size)) == size


@pytest.mark.parametrize(
    "text",
    [
        "", "00", "01", "-1", "+1", " 1", "1 ", "1\n", "1_0", "1.0", "1e3", "0x1", "\u0661", "\u00b2", "\uff11",
        "\ud800", "None", str(MOST_SIZE + 1), "9" * 17, "1" * 5_000,
    ],
    ids=lambda text: ascii(text)[:20],
)  # fmt: skip
def test_an_invalid_size_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_size(text)


@given(st.one_of(st.text(max_size=20), st.text(alphabet="0123456789-+_. \n", max_size=18)))
def test_every_size_that_is_read_has_one_spelling(text: str) -> None:
    try:
        size = parse_size(text)
    except Malformed:
        return
    assert str(size) == text and 0 <= size <= MOST_SIZE
