"""The last checkpoint that a witness cosigned, in a file beside the head file, so that a restart does not forget it
while the witnesses are away (LOG-15).

Nothing rests on the file but what can be served: a torn, older or missing one costs cosignatures and nothing else. So
it is replaced whole, and not synced.
"""

import os
import threading
from pathlib import Path

from comity.errors import Refused
from comity.transparency.checkpoints import SignedCheckpoint, open_checkpoint
from comity.transparency.notes import MOST_NOTE
from comity_server.log.sequencer import Sequencer
from comity_server.log.witness_client import Witnesses


class CosignedFile:
    """The file of one log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._last: SignedCheckpoint | None = None

    def read(self, log: Sequencer, witnesses: Witnesses) -> SignedCheckpoint | None:
        """The checkpoint in it with the cosignatures of today's witnesses that hold. None unless it is the very one
        that the log has published: an older one was served before, and is not shown again."""
        try:
            with self._path.open("rb") as file:
                found = open_checkpoint(file.read(MOST_NOTE + 1), log.key, witnesses.keys)
        except (OSError, Refused):
            return None
        return found if found.cosigned and found.checkpoint == log.published.checkpoint else None

    def write(self, signed: SignedCheckpoint) -> None:
        """Put the checkpoint in the place of the one before, unless that is newer or has more cosignatures; from any
        thread. Raises OSError."""
        draft = self._path.with_name(f"{self._path.name}.new")
        with self._lock:
            if self._last is not None and _worth(self._last) >= _worth(signed):
                return
            with open(draft, "wb", opener=_private) as file:
                file.write(signed.raw.encode("utf-8"))
            os.replace(draft, self._path)
            self._last = signed


def _worth(signed: SignedCheckpoint) -> tuple[int, int]:
    return signed.size, len(signed.cosigned)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
