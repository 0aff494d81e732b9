"""Gathers cosignatures: a checkpoint goes to all witnesses at once, and none of them delays another (C2SP tlog-witness;
LOG-15).

A witness has one submission at a time. A slow witness is left out of later rounds until it has answered, so it costs
the others nothing; its late answer still counts, since it tells the size that the witness cosigned.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from http import HTTPStatus
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from comity.errors import Malformed, Refused
from comity.http_api import MOST_WITNESSES
from comity.transparency.checkpoints import SignedCheckpoint, open_checkpoint, with_cosignatures
from comity.transparency.notes import COSIGNATURE, MOST_NOTE, VerifierKey, parse_vkey
from comity.transparency.tiles import parse_size
from comity_server.clock import ServerClock
from comity_server.log.witness_protocol import PATH, origin_hash, seal_submission
from comity_server.logging import logger

MOST_ANSWER = 64 * 1024
"""Bytes of an answer: some cosignatures."""
MOST_SKEW = 10
"""Seconds by which a witness's clock may differ from ours. An entry with an earlier time than a cosignature that does
not cover it looks backdated, so a witness whose clock is ahead would discredit an honest log."""
COSIGNS = "cosigns"
"""How a witness is when all is well."""

Prove = Callable[[int, int], Awaitable[list[bytes]]]
"""From two sizes, the smaller one first, to the proof that the larger tree continues the smaller one."""


class WitnessAt(NamedTuple):
    """A witness: its key, and its submission prefix without a slash at the end."""

    key: VerifierKey
    url: str


class WitnessAhead(Exception):
    """A witness remembers a larger tree of this log than any that was submitted: nothing more may be signed.

    `proof` is that tree's checkpoint under our own signature, as the witness keeps it; None: its word alone.
    """

    def __init__(self, name: str, size: int, proof: SignedCheckpoint | None = None) -> None:
        self.name = name
        self.size = size
        self.proof = proof
        said = "shows our signature on" if proof is not None else "says that it cosigned"
        super().__init__(f"the witness {name} {said} a tree of {size} entries, more than there are here")


def read_witnesses(text: str) -> tuple[WitnessAt, ...]:
    """The witnesses in "VKEY URL, VKEY URL", none in an empty text. Raises Malformed."""
    found = tuple(_read_witness(part) for part in text.split(",")) if text.strip() else ()
    if len(found) > MOST_WITNESSES:
        raise Malformed(f"more than {MOST_WITNESSES} witnesses")
    for what, several in (
        ("name", [witness.key.name for witness in found]),
        # One key under two names would be counted as two who saw the same.
        ("key", [witness.key.key.raw for witness in found]),
        ("URL", [witness.url for witness in found]),
    ):
        if len(set(several)) != len(found):
            raise Malformed(f"two witnesses with the same {what}")
    return found


def _read_witness(text: str) -> WitnessAt:
    parts = text.split()
    if len(parts) != 2:
        raise Malformed("each witness is its key and its URL, with a comma before the next")
    key = parse_vkey(parts[0])
    if key.kind != COSIGNATURE:
        raise Malformed("a key in the list of witnesses is a log's")
    if not key.name.isascii():
        raise Malformed("the name of a witness is not one that can be published")
    return WitnessAt(key, _read_url(parts[1]))


def _read_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise Malformed("the URL of a witness is none") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or "?" in text or "#" in text:
        raise Malformed("the URL of a witness is https://host[:port][/path]")
    if parts.scheme == "http" and not _is_loopback(host):
        raise Malformed("a witness is reached over https, and over http on this machine only")
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class _Failed(Exception):
    """A witness did not cosign; the text is a code for the log."""


class _WitnessState:
    """The state of one witness."""

    def __init__(self, at: WitnessAt) -> None:
        self.at = at
        self.old = 0
        """The size that it cosigned last, as far as is known: the old size of the next submission."""
        self.seen = 0
        """The largest size of which it gave a cosignature that holds."""
        self.condition: str | None = None
        self.rests_until = 0.0
        self.task: asyncio.Task[str | None] | None = None

    @property
    def name(self) -> str:
        """The key name of its cosignatures."""
        return self.at.key.name

    def is_free(self, now: float) -> bool:
        """True if it has answered its last request, and has not failed just now."""
        return (self.task is None or self.task.done()) and now >= self.rests_until

    def turn(self, condition: str) -> bool:
        """Note down how it is; said once for each change. Whether it is one."""
        if condition == self.condition:
            return False
        self.condition = condition
        if condition == COSIGNS:
            logger().info("witness_cosigns", where=self.name)
        else:
            logger().warning("witness_fails", where=self.name, code=condition)
        return True


class Witnesses:
    """The witnesses of one log, asked by the one process that signs it.

    `timeout` (s) bounds each request, and one that failed is left alone for `rest` (s).
    """

    def __init__(
        self,
        log: VerifierKey,
        witnesses: tuple[WitnessAt, ...],
        *,
        timeout: float = 5.0,
        rest: float = 1.0,
        clock: ServerClock | None = None,
    ) -> None:
        self.keys = tuple(witness.key for witness in witnesses)
        self._log = log
        self._asked = [_WitnessState(witness) for witness in witnesses]
        self._timeout = timeout
        self._rest = rest
        self._clock = clock
        self._newest = 0
        self._ahead: WitnessAhead | None = None
        self._session: aiohttp.ClientSession | None = None

    def are_needed(self) -> bool:
        """Whether the clock is in doubt, and the time in a new cosignature may end that (CLOCK-3)."""
        return self._clock is not None and self._clock.ahead() > 0

    def _now(self) -> float:
        """s since the epoch."""
        return time.time() if self._clock is None else self._clock.now() / 1000

    def away(self) -> str:
        """Which of them did not cosign what they were asked last, each with the code that says why; empty: none."""
        return ", ".join(
            f"{witness.name}: {witness.condition}"
            for witness in self._asked
            if witness.condition not in (None, COSIGNS)
        )

    async def gather(self, signed: SignedCheckpoint, prove: Prove) -> AsyncGenerator[SignedCheckpoint, None]:
        """Yields the checkpoint again with each new cosignature, until every free witness has answered.

        Asks the witnesses that have not cosigned it and are not busy with an earlier one. The caller may stop iterating
        at any time: requests go on until their timeout. Raises WitnessAhead, also for answers since the last call: at
        once if it is proven, and else at the end, so that a lie withholds nothing from anybody.
        """
        self._newest = max(self._newest, signed.size)
        self._raise_if_ahead(proven=True)
        now = asyncio.get_running_loop().time()
        asked: dict[asyncio.Task[str | None], _WitnessState] = {}
        for witness in self._asked:
            if witness.is_free(now) and witness.name not in signed.cosignatures:
                witness.task = asyncio.create_task(
                    self._request_cosignature(witness, signed, prove), name=f"witness {witness.name}"
                )
                asked[witness.task] = witness
        while asked:
            done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            self._raise_if_ahead(proven=True)
            for task in done:
                key = asked.pop(task).at.key
                # Cancelled by `close`; the caller that iterates must not be cancelled by that.
                lines = None if task.cancelled() else task.result()
                if lines is not None:
                    signed = with_cosignatures(signed, lines, (key,))
                    yield signed
        self._raise_if_ahead(proven=False)

    async def close(self) -> None:
        """Cancels the requests under way."""
        tasks = [witness.task for witness in self._asked if witness.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _raise_if_ahead(self, *, proven: bool) -> None:
        if proven and (self._ahead is None or self._ahead.proof is None):
            return
        ahead, self._ahead = self._ahead, None
        # The tree may have grown over it since.
        if ahead is not None and ahead.size > self._newest:
            raise ahead

    async def _request_cosignature(self, witness: _WitnessState, signed: SignedCheckpoint, prove: Prove) -> str | None:
        """The cosignature lines of a witness, None if it did not cosign. Raises nothing: nobody may be waiting for
        it."""
        try:
            lines = await self._ask(witness, signed, prove)
        except _Failed as fault:
            witness.turn(str(fault))
        except WitnessAhead as ahead:
            witness.turn("ahead")
            if self._ahead is None or self._ahead.proof is None:
                self._ahead = ahead
        except Exception as error:
            # A fault of ours: the data of the proof could not be read.
            if witness.turn("not_asked"):
                logger().error("witness_not_asked", exc_info=error)
        else:
            witness.turn(COSIGNS)
            return lines
        witness.rests_until = asyncio.get_running_loop().time() + self._rest
        return None

    async def _ask(self, witness: _WitnessState, signed: SignedCheckpoint, prove: Prove) -> str:
        """The lines by which it cosigned, its own among them. Raises _Failed, WitnessAhead, and what `prove` does."""
        before = self._now()
        status, body = await self._submit(witness, signed, prove)
        if status == HTTPStatus.CONFLICT:
            witness.old = await self._read_witnessed_size(witness, body, signed)
            status, body = await self._submit(witness, signed, prove)
        if status != HTTPStatus.OK:
            raise _Failed(f"status_{status}")
        self._check(witness.at.key, signed, body, before)
        witness.old = witness.seen = signed.size
        return body

    async def _submit(self, witness: _WitnessState, signed: SignedCheckpoint, prove: Prove) -> tuple[int, str]:
        if witness.old > signed.size:
            raise _Failed("newer_known")
        proof = await prove(witness.old, signed.size) if 0 < witness.old < signed.size else []
        submission = seal_submission(witness.old, proof, signed.raw)
        return await self._exchange("POST", f"{witness.at.url}{PATH}", submission, MOST_ANSWER)

    def _check(self, key: VerifierKey, signed: SignedCheckpoint, lines: str, before: float) -> None:
        """Whether that witness's cosignature is among the lines, holds and was made just now. Raises _Failed."""
        try:
            time_ = with_cosignatures(signed, lines, (key,)).cosignatures.get(key.name)
        except Malformed:
            raise _Failed("garbage") from None
        except Refused:
            raise _Failed("bad_signature") from None
        if time_ is None:
            raise _Failed("no_cosignature")
        if self.are_needed() and self._clock is not None and self._clock.confirm(time_ * 1000):
            return
        if not before - MOST_SKEW <= time_ <= self._now() + MOST_SKEW:
            raise _Failed("clock")

    async def _read_witnessed_size(self, witness: _WitnessState, body: str, signed: SignedCheckpoint) -> int:
        """The size that the witness says it cosigned last. Raises _Failed, WitnessAhead."""
        try:
            size = parse_size(body.removesuffix("\n"))
        except Malformed:
            raise _Failed("garbage") from None
        if size > self._newest:
            proof = await self._largest(witness)
            # Another checkpoint may have been submitted meanwhile; the caller checks again.
            raise WitnessAhead(witness.name, size if proof is None else proof.size, proof)
        if size > signed.size:
            raise _Failed("newer_known")
        # It signed that it had seen more, or it names the very size that it was given.
        if size < witness.seen or size == witness.old:
            raise _Failed("contradicts_itself")
        return size

    async def _largest(self, witness: _WitnessState) -> SignedCheckpoint | None:
        """The checkpoint that the witness keeps of this log, if we signed it and it is larger than any submitted."""
        url = f"{witness.at.url}/{origin_hash(self._log.name)}/checkpoint"
        try:
            status, body = await self._exchange("GET", url, None, MOST_NOTE)
            found = open_checkpoint(body, self._log) if status == HTTPStatus.OK else None
        except (_Failed, Refused):
            return None
        return found if found is not None and found.size > self._newest else None

    async def _exchange(self, method: str, url: str, body: bytes | None, most: int) -> tuple[int, str]:
        """Status and body of an answer. Raises _Failed."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"Accept-Encoding": "identity", "User-Agent": "Comity"},
                timeout=aiohttp.ClientTimeout(total=self._timeout),
            )
        read = bytearray()
        try:
            async with self._session.request(method, url, data=body, allow_redirects=False) as answer:
                async for part in answer.content.iter_any():
                    read += part
                    if len(read) > most:
                        raise _Failed("too_long")
            return answer.status, read.decode("utf-8")
        except UnicodeDecodeError:
            raise _Failed("garbage") from None
        except TimeoutError:
            raise _Failed("timeout") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise _Failed("unreachable") from None
