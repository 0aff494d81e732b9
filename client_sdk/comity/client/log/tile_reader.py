"""Reads one log over HTTP: its checkpoint, its tiles and its entry bundles (C2SP tlog-tiles; spec/log.md, LOG-3).

    source = TileReader("https://comity.example/log", transport)
    signed = open_checkpoint(await source.checkpoint(), vkey)
    node = await source.nodes(needed(lambda node: prove_consistency(old, signed.size, node)), signed.size)
    proof = prove_consistency(old, signed.size, node)

An answer has the length that was asked for, and is not trusted yet: a proof made of it is valid or not, and `tree`
checks each tile against the one above it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from comity import http_api
from comity.client.http.transport import Request, Response, Transport, send_with_retries
from comity.crypto.keys import split_origin
from comity.encoding import parse_object
from comity.errors import ComityError, Contradiction, Malformed, Refused, Unreachable
from comity.lru import LRU
from comity.transparency.merkle import Node, NodeReader
from comity.transparency.notes import MOST_NOTE, VerifierKey, parse_vkey
from comity.transparency.tiles import (
    HASH,
    MOST_BUNDLE,
    WIDTH,
    Tile,
    check_tile,
    decode_bundle,
    encode_bundle,
    node_of,
    tile_of,
)

CACHED_TILES = 64
"""Hash tiles that a reader caches: half a megabyte, and more than one proof needs."""
AT_ONCE = 8
"""Tiles that `nodes` requests at a time."""
ONE_ANSWER = 30.0
"""Seconds for a complete answer."""
_GONE = frozenset({404, 410})
_PATH = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._~-]+)*\Z")

FINDINGS: dict[str, str] = {
    "bad_checkpoint": "it serves a checkpoint that it did not sign",
    "too_few_witnesses": "too few of the named witnesses cosigned the checkpoint",
    "forked": "it signed two histories",
    "rolled_back": "it serves a smaller tree than before, and does not prove that both are one history",
    "missing": "it does not serve what its checkpoint covers",
    "wrong_length": "an answer is not as long as what was asked for",
    "bad_tile": "a tile does not belong to the tree that was signed",
    "bad_bundle": "an entry is not the one in the tree that was signed",
    "bad_entry": "it signed an invalid entry",
    "time_back": "the time of its entries goes back",
    "withheld_key": "its server does not list a key that is in the log",
    "key_not_stated": "its server lists a key that the log does not confirm",
}
"""Every kind of finding about a log."""


class LogFinding(Contradiction):
    """A log that answers, and whose answers are not valid.

    `code` is a key of FINDINGS and `claim` its text for a person; `at` is the size of the tree or the index of the
    entry; `evidence` can be checked by anybody, and is empty where the log could deny it.
    """

    def __init__(self, code: str, detail: str, *, at: int = 0, evidence: tuple[str, ...] = ()) -> None:
        self.code = code
        self.at = at
        super().__init__(f"{FINDINGS[code]}: {detail}", evidence)


def log_prefix(url: str) -> str:
    """The prefix of a log in its one spelling, without a slash at the end. Raises Malformed unless it is https, or http
    on loopback, with nothing but a host and a plain path."""
    base, path = split_origin(url.removesuffix("/"))
    if not _PATH.match(path):
        raise Malformed("the URL of a log is https (http on loopback only) and has a host and a path")
    return base + path


async def announced_key(prefix: str, transport: Transport) -> VerifierKey:
    """The key that the home server of that host announces for the log at the prefix: its word alone.

    Raises Unreachable, and Malformed where it announces none.
    """
    for log in await _announced_logs(prefix, transport):
        if str(log.get("url")).removesuffix("/") == prefix:
            return _read_announced(log, prefix)
    raise Malformed("the server announces no log with that URL")


async def log_after_restore(prefix: str, transport: Transport) -> str | None:
    """The prefix of the log that the home server of that host says it began after a restore: its word alone (REC-1).
    None where it says nothing of that, or does not answer."""
    try:
        found = await _announced_logs(prefix, transport)
    except ComityError:
        return None
    urls = [str(it.get("url")).removesuffix("/") for it in found if it.get("restored_at") and not it.get("ended")]
    host = prefix.partition("/log")[0]
    return next((url for url in urls if url.startswith(f"{host}/log/")), None)


async def _announced_logs(prefix: str, transport: Transport) -> list[dict[str, Any]]:
    parts = urlsplit(prefix)
    url = f"{parts.scheme}://{parts.netloc}{http_api.WELL_KNOWN}"
    response = await send_with_retries(transport, lambda: Request("GET", url))
    if response.status != 200:
        raise Unreachable(f"{url}: the server answers {response.status}")
    logs = parse_object(response.body).get("logs")
    return [log for log in logs if isinstance(log, dict)] if isinstance(logs, list) else []


def _read_announced(log: dict[str, Any], prefix: str) -> VerifierKey:
    key = parse_vkey(str(log.get("vkey")))
    # Stored logs are found by name: no host may use another host's name (LOG-19).
    if not log.get("origin") == key.name == prefix.partition("://")[2]:
        raise Malformed("the server announces the log under another name than its URL's or its key's")
    return key


class TileReader:
    """One log, by the prefix of its URL. Repeats requests as the whole SDK does."""

    def __init__(self, prefix: str, transport: Transport, *, timeout: float = ONE_ANSWER) -> None:
        """`timeout`: seconds in which a whole answer must be there. Raises Malformed for a URL that no log can have."""
        self.prefix = log_prefix(prefix)
        self._transport = transport
        self._timeout = timeout
        self._cache = LRU[Tile, bytes](CACHED_TILES)

    async def checkpoint(self) -> str:
        """The signed note that the log serves now, unchecked. Raises Unreachable, LogFinding."""
        response = await self._get("checkpoint", {"cache-control": "no-cache"})
        if response.status != 200:
            raise Unreachable(f"there is no log at {self.prefix} (its checkpoint: {response.status})")
        if len(response.body) > MOST_NOTE:
            raise LogFinding("bad_checkpoint", f"it is longer than {MOST_NOTE} bytes")
        try:
            return response.body.decode("utf-8")
        except UnicodeDecodeError:
            raise LogFinding("bad_checkpoint", "it is not UTF-8") from None

    @property
    def origin(self) -> str:
        """The name of a log that is served here by its own server: the URL without the scheme (LOG-19)."""
        return self.prefix.partition("://")[2]

    async def get_beside(self, path: str) -> bytes | None:
        """The body at another path of the log's server; None where it has none. Raises Unreachable."""
        parts = urlsplit(self.prefix)
        request = Request("GET", f"{parts.scheme}://{parts.netloc}{path}", {}, timeout=self._timeout)
        response = await send_with_retries(self._transport, lambda: request)
        if response.status not in (200, *_GONE):
            raise Unreachable(f"{request.url}: the server answers {response.status}")
        return response.body if response.status == 200 else None

    async def tile(self, tile: Tile) -> bytes:
        """The bytes of a tile or an entry bundle, exactly as wide as asked; a partial one that is no longer served is
        cut from the full one.

        Raises Unreachable, LogFinding("missing" | "wrong_length").
        """
        if tile in self._cache:
            return self._cache[tile]
        data = await self._fetch_tile(tile)
        if data is None and not tile.is_full:
            whole = await self._fetch_tile(tile._replace(width=WIDTH))
            data = None if whole is None else _cut_tile(tile, whole)
        if data is None:
            raise LogFinding("missing", f"{self.prefix}/{tile.path} is not there", at=tile.number)
        if tile.level >= 0:
            self._cache.put(tile, data)
        return data

    async def nodes(self, nodes: Iterable[Node], size: int) -> NodeReader:
        """A reader of these complete subtrees in a tree of `size` leaves, for the makers of proofs.

        It raises KeyError for nodes that lie in other tiles. Raises what `tile` does.
        """
        tiles = list({tile_of(height, index, size) for height, index in nodes})
        found: dict[Tile, bytes] = {}
        for first in range(0, len(tiles), AT_ONCE):
            some = tiles[first : first + AT_ONCE]
            found |= zip(some, await gather_or_cancel(self.tile(tile) for tile in some), strict=True)
        return lambda height, index: node_of(height, index, found[tile_of(height, index, size)])

    async def _fetch_tile(self, tile: Tile) -> bytes | None:
        """The bytes at that very path, or None where there are none."""
        response = await self._get(tile.path)
        if response.status in _GONE:
            return None
        if response.status != 200:
            raise Unreachable(f"{self.prefix}/{tile.path}: the log answers {response.status}")
        if tile.level >= 0 and len(response.body) != tile.width * HASH:
            raise self._wrong_length(tile, len(response.body))
        if tile.level < 0 and not 2 * tile.width <= len(response.body) <= MOST_BUNDLE:
            raise self._wrong_length(tile, len(response.body))
        return response.body

    def _wrong_length(self, tile: Tile, length: int) -> LogFinding:
        return LogFinding("wrong_length", f"{self.prefix}/{tile.path} has {length} bytes", at=tile.number)

    async def _get(self, path: str, headers: dict[str, str] | None = None) -> Response:
        request = Request("GET", f"{self.prefix}/{path}", headers or {}, timeout=self._timeout)
        return await send_with_retries(self._transport, lambda: request)


def _cut_tile(tile: Tile, whole: bytes) -> bytes:
    """The partial tile, cut from the full one. Raises LogFinding."""
    if tile.level >= 0:
        return check_tile(tile, whole[: tile.width * HASH])
    try:
        return encode_bundle(decode_bundle(tile._replace(width=WIDTH), whole)[: tile.width])
    except Refused as fault:
        raise LogFinding("bad_bundle", f"{tile.path}: {fault.detail}", at=tile.number) from None


async def gather_or_cancel(work: Iterable[Any]) -> list[Any]:
    """The results of all; on the first error cancels the others and raises it."""
    tasks = [asyncio.ensure_future(it) for it in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
