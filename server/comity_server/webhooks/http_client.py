"""One attempt over HTTP, and what became of it in words (HOOK-6, HOOK-7)."""

import asyncio
import time
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver

from comity.http_api import retry_after_seconds
from comity_server.webhooks.ssrf_guard import NotPublic, public_sockets

TIMEOUT = 15.0
"""Seconds for the whole of an attempt."""
CONNECT_TIMEOUT = 5.0
MOST_READ = 4096
"""Bytes of an answer that are read."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an attempt. `asked` is the pause (ms) that the receiver asked for; `body` is the beginning of its
    answer."""

    ms: int
    status: int | None = None
    error: str | None = None
    is_public: bool = True
    asked: int = 0
    body: bytes = b""

    @property
    def is_well(self) -> bool:
        """Whether the endpoint did its part, whatever it says about this webhook (HOOK-12)."""
        return self.status is not None and self.status != 429 and self.status < 500


class Post:
    """Sends, taking `seconds` for each at most. Whatever a `resolver` says, only public addresses are connected to."""

    def __init__(
        self, *, to_loopback: bool, resolver: AbstractResolver | None = None, seconds: float = TIMEOUT
    ) -> None:
        self._seconds = seconds
        connector = aiohttp.TCPConnector(
            socket_factory=public_sockets(to_loopback=to_loopback),
            resolver=resolver,
            use_dns_cache=False,
            limit=0,
            keepalive_timeout=15.0,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=seconds, connect=CONNECT_TIMEOUT),
            # Decompressing a stranger's body could take any amount of memory.
            auto_decompress=False,
            headers={"User-Agent": "Comity", "Content-Type": "application/json", "Accept-Encoding": "identity"},
            # A proxy named in the environment would connect in our place, to whatever it resolves the name to.
            trust_env=False,
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    async def __call__(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        """Send it once."""
        began = time.monotonic()

        def took() -> int:
            return int((time.monotonic() - began) * 1000)

        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                read = await _read_beginning(response)
                asked = _requested_pause(response)
                return Outcome(took(), response.status, _complaint(response.status), asked=asked, body=read)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # A TimeoutError is an OSError; a ValueError is a URL or a name that no library can make sense of.
            return Outcome(took(), error=self._words(error), is_public=not _is_not_public(error))

    def _words(self, error: Exception) -> str:
        """The fault in words of ours: an exception's text could quote a stranger."""
        if _is_not_public(error):
            return "its address is not public"
        # The first kinds are special cases of the later ones.
        kinds: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
            (aiohttp.ClientConnectorDNSError, "its name was not found"),
            (aiohttp.ClientConnectorCertificateError, "its certificate does not hold"),
            (aiohttp.ClientSSLError, "no secure connection could be made"),
            (aiohttp.ConnectionTimeoutError, f"no connection within {CONNECT_TIMEOUT:.0f} s"),
            ((asyncio.TimeoutError, TimeoutError), f"no answer within {self._seconds:g} s"),
            (aiohttp.ClientConnectorError, "no connection could be made"),
            ((aiohttp.InvalidURL, ValueError), "its URL names no host that can be reached"),
            (aiohttp.ClientResponseError, "its answer is not HTTP"),
        )
        return next((words for kind, words in kinds if isinstance(error, kind)), "the connection broke off")


async def _read_beginning(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of the answer, as far as it is read; a longer answer is cut off."""
    read = bytearray()
    while len(read) <= MOST_READ:
        more = await response.content.read(MOST_READ + 1 - len(read))
        if not more:
            return bytes(read)
        read += more
    response.close()
    return bytes(read[:MOST_READ])


def _requested_pause(response: aiohttp.ClientResponse) -> int:
    headers = response.headers
    return (retry_after_seconds(headers.get("Retry-After"), headers.get("Date"), int(time.time())) or 0) * 1000


def _complaint(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"it answered {status}: redirects are not followed"
    if status == 410:
        return "it answered 410: it wants no more webhooks"
    return f"it answered {status}"


def _is_not_public(error: Exception) -> bool:
    found = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return isinstance(found, NotPublic)
