"""A folder under a short name, for sockets in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short(folder: Path) -> Iterator[str]:
    """The folder under a short name: a socket's path is at most about a hundred bytes long."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        short = f"/proc/self/fd/{opened}"
        yield short if os.path.isdir(short) else str(folder)
    finally:
        os.close(opened)
