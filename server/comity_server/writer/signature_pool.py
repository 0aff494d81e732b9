"""Checking signatures, many at a time, on threads.

libsodium lets go of the interpreter's lock while it verifies, so a chunk of acts runs beside the event loop; a hop to
a thread for each act would cost more than its verification, so few are done in place.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from comity.crypto.jws import FindKey
from comity.documents.acts import SignedAct, open_act
from comity.errors import Refused

CHUNK = 32
IN_PLACE = 4
"""Up to so many signatures are checked without a hop to a thread."""
THREADS = 2


class SignaturePool:
    """The threads that check signatures."""

    def __init__(self, find_key: FindKey) -> None:
        self._find_key = find_key
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="crypto")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True)

    async def open_acts(self, raws: Sequence[bytes]) -> list[SignedAct | Refused]:
        """Each act, or why it is none, in order."""
        if len(raws) <= IN_PLACE:
            return self._open_chunk(raws)
        loop = asyncio.get_running_loop()
        # An even split: two threads with 20 each are done sooner than one with 32 and one with 8.
        size = min(CHUNK, -(-len(raws) // THREADS))
        chunks = [raws[start : start + size] for start in range(0, len(raws), size)]
        done = await asyncio.gather(*(loop.run_in_executor(self._threads, self._open_chunk, it) for it in chunks))
        return [act for chunk in done for act in chunk]

    def _open_chunk(self, raws: Sequence[bytes]) -> list[SignedAct | Refused]:
        return [self._open(raw) for raw in raws]

    def _open(self, raw: bytes) -> SignedAct | Refused:
        try:
            return open_act(raw, self._find_key)
        except Refused as refused:
            return refused
