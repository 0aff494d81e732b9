"""One log over HTTP: its checkpoint, its tiles and its entry bundles (C2SP tlog-tiles; spec/log.md, LOG-3).

    source = LogSource("https://comity.example/log", transport)
    signed = open_checkpoint(await source.checkpoint(), vkey)
    node = await source.nodes(needed(lambda node: prove_consistency(old, signed.size, node)), signed.size)
    proof = prove_consistency(old, signed.size, node)

An answer from here has the length that was asked for, and is not believed yet: a proof that is made of it holds or does
not, and `log_tree` holds each tile against the one above it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from comity import http_api
from comity.client.http.transport import Request, Response, Transport, send_again
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

KEPT_TILES = 64
"""Hash tiles that a source remembers: half a megabyte, and more than a proof is made of."""
AT_ONCE = 8
"""Tiles that `nodes` asks for at a time."""
ONE_ANSWER = 30.0
"""Seconds in which a whole answer must be there."""
_GONE = frozenset({404, 410})
_PATH = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._~-]+)*\Z")

FINDINGS: dict[str, str] = {
    "bad_checkpoint": "what it serves as its checkpoint is none that it signed",
    "too_few_witnesses": "too few of the named witnesses cosigned the checkpoint",
    "forked": "it signed two histories",
    "rolled_back": "it serves a smaller tree than before, and does not prove that both are one history",
    "missing": "it does not serve what its checkpoint covers",
    "wrong_length": "an answer is not as long as what was asked for",
    "bad_tile": "a tile does not belong to the tree that was signed",
    "bad_bundle": "an entry is not the one in the tree that was signed",
    "bad_entry": "it signed an entry that is none",
    "time_back": "the time of its entries goes back",
    "withheld_key": "its server does not list a key that stands in the log",
    "key_not_stated": "its server lists a key that the log does not bear out",
}
"""Every way in which a log can be found out."""


class LogFinding(Contradiction):
    """A log that answers, and whose answers do not hold.

    `code` is a key of FINDINGS, `claim` says it for a person, `at` is the size of the tree or the index of the entry
    that it is about; `evidence` holds what anybody else can check, and is empty where the log could deny it.
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
    for it in await _announced_logs(prefix, transport):
        if str(it.get("url")).removesuffix("/") == prefix:
            return _announced(it, prefix)
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
    response = await send_again(transport, lambda: Request("GET", url))
    if response.status != 200:
        raise Unreachable(f"{url}: the server answers {response.status}")
    logs = parse_object(response.body).get("logs")
    return [it for it in logs if isinstance(it, dict)] if isinstance(logs, list) else []


def _announced(log: dict[str, Any], prefix: str) -> VerifierKey:
    key = parse_vkey(str(log.get("vkey")))
    # What is kept of a log is found by its name: nobody may take that of another host's (LOG-19).
    if not log.get("origin") == key.name == prefix.partition("://")[2]:
        raise Malformed("the server announces the log under another name than its URL's or its key's")
    return key


class LogSource:
    """One log, by the prefix of its URL. Asks again where that may help, as everything in the SDK does."""

    def __init__(self, prefix: str, transport: Transport, *, timeout: float = ONE_ANSWER) -> None:
        """`timeout`: seconds in which a whole answer must be there. Raises Malformed for a URL that no log can have."""
        self.prefix = log_prefix(prefix)
        self._transport = transport
        self._timeout = timeout
        self._cache = LRU[Tile, bytes](KEPT_TILES)

    async def checkpoint(self) -> str:
        """The signed note that the log serves now, unopened. Raises Unreachable, LogFinding."""
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

    async def beside(self, path: str) -> bytes | None:
        """What the log's server answers under another path, None where there is nothing. Raises Unreachable."""
        parts = urlsplit(self.prefix)
        request = Request("GET", f"{parts.scheme}://{parts.netloc}{path}", {}, timeout=self._timeout)
        response = await send_again(self._transport, lambda: request)
        if response.status not in (200, *_GONE):
            raise Unreachable(f"{request.url}: the server answers {response.status}")
        return response.body if response.status == 200 else None

    async def tile(self, tile: Tile) -> bytes:
        """The bytes of a tile or an entry bundle, just as wide as asked; of a partial one that is no longer served, the
        beginning of the full one.

        Raises Unreachable, LogFinding("missing" | "wrong_length").
        """
        if tile in self._cache:
            return self._cache[tile]
        data = await self._served(tile)
        if data is None and not tile.is_full:
            whole = await self._served(tile._replace(width=WIDTH))
            data = None if whole is None else _beginning(tile, whole)
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
            found |= zip(some, await together(self.tile(tile) for tile in some), strict=True)
        return lambda height, index: node_of(height, index, found[tile_of(height, index, size)])

    async def _served(self, tile: Tile) -> bytes | None:
        """The bytes under that very path, or None where there is nothing."""
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
        return await send_again(self._transport, lambda: request)


def _beginning(tile: Tile, whole: bytes) -> bytes:
    """The partial tile out of the full one. Raises LogFinding."""
    if tile.level >= 0:
        return check_tile(tile, whole[: tile.width * HASH])
    try:
        return encode_bundle(decode_bundle(tile._replace(width=WIDTH), whole)[: tile.width])
    except Refused as fault:
        raise LogFinding("bad_bundle", f"{tile.path}: {fault.detail}", at=tile.number) from None


async def together(work: Iterable[Any]) -> list[Any]:
    """The results of all, at once; the first error, once the others have been let go."""
    tasks = [asyncio.ensure_future(it) for it in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
