"""The process that holds the identity of one unlocked wallet in memory for a while (WALLET-9).

`unlocked_identities` starts it by the name of this file, so that it imports only the standard library: a small process
with nothing of the wallet in it but the identity. It answers only its owner (it checks the peer's user id, beside the
modes of socket and folder). It ends at its time, on the word `lock`, and when its socket is gone or another's.
"""

import ctypes
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from contextlib import suppress

ASK, LOCK, LOCKED = b"identity\n", b"lock\n", b"locked\n"
_PATIENCE = 1.0
"""s for which one caller may keep the others waiting."""
_LOOK = 5.0
"""s after which the process looks whether it is still wanted."""


def peer_uid(connection: socket.socket) -> int | None:
    """The user id of the process at the other end; None where this system does not tell."""
    if hasattr(socket, "SO_PEERCRED"):
        _, uid, _ = struct.unpack(
            "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        )
        return int(uid)
    with suppress(OSError, struct.error):
        # macOS and the BSDs: LOCAL_PEERCRED gives a struct xucred, version first.
        _, uid = struct.unpack_from("=II", connection.getsockopt(0, 1, 76))
        return int(uid)
    return None


def clock() -> float:
    """Seconds that also pass while the machine sleeps, where it can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def serve(listener: socket.socket, path: str, identity: bytes, ends: float) -> None:
    """Answers until `ends`. A caller of another user gets nothing."""
    mine = _file_of(path)
    while (remaining := ends - clock()) > 0 and _file_of(path) == mine:
        if not select.select([listener], [], [], min(remaining, _LOOK))[0]:
            continue
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.settimeout(_PATIENCE)
            if peer_uid(connection) != os.geteuid():
                continue
            word = connection.recv(16)
            if word == ASK and clock() < ends:
                connection.sendall(identity)
            elif word == LOCK:
                os.unlink(path)
                connection.sendall(LOCKED)
                return
    if _file_of(path) == mine:
        os.unlink(path)


def _file_of(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _hide() -> None:
    """No core dump, and no other process of the same user may look into this one."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def main() -> None:
    """Reads `folder`, `name`, `identity` and `seconds` from standard input, answers `ready` once the socket is there,
    and goes on by itself."""
    _hide()
    request = json.loads(sys.stdin.buffer.readline())
    os.umask(0o077)
    # By a short name: a socket's path is at most about a hundred bytes long.
    os.chdir(request["folder"])
    path, draft = request["name"], f".{request['name']}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(draft)
    os.chmod(draft, 0o600)
    listener.listen(8)
    # The socket listens before it has its name, so every client that finds it is answered.
    os.rename(draft, path)
    if os.fork():
        os.write(1, b"ready\n")
        os._exit(0)
    null_device = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null_device, stream)
    serve(listener, path, str(request["identity"]).encode("ascii"), clock() + float(request["seconds"]))


if __name__ == "__main__":
    main()
