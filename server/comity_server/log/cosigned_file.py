"""The last checkpoint that a witness cosigned, in a file beside the head file, so that a restart does not forget it
while the witnesses are away (LOG-15).

Nothing rests on the file but what can be served: a torn, older or missing one costs cosignatures and nothing else. So
it is replaced whole, and not synced.
"""

import os
from pathlib import Path

from comity.checkpoint import SignedCheckpoint, open_checkpoint
from comity.errors import Refused
from comity.note import MOST_NOTE
from comity_server.log.sequencer import Sequencer
from comity_server.log.witnesses import Witnesses


class CosignedFile:
    """The file of one log."""

    def __init__(self, path: Path) -> None:
        self._path = path

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
        """Put the checkpoint in the place of the one before. Raises OSError."""
        draft = self._path.with_name(f"{self._path.name}.new")
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as written:
            written.write(signed.raw.encode("utf-8"))
        os.replace(draft, self._path)
