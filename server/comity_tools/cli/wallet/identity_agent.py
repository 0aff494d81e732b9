"""The process that holds the identity of one unlocked wallet in memory for a while (WALLET-9).

`unlocked` starts it by the name of this file, so that it imports nothing but the standard library: a small process with
nothing of the wallet in it but the identity. It answers its owner alone (the peer's user id, beside the modes of socket
and folder), and ends at its time, when it is told to, and when its socket has gone or is another's.
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


def peer_uid(connected: socket.socket) -> int | None:
    """The user id of the process at the other end; None where this system does not tell."""
    if hasattr(socket, "SO_PEERCRED"):
        _, uid, _ = struct.unpack(
            "3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        )
        return int(uid)
    with suppress(OSError, struct.error):
        # macOS and the BSDs: LOCAL_PEERCRED gives a struct xucred, version first.
        _, uid = struct.unpack_from("=II", connected.getsockopt(0, 1, 76))
        return int(uid)
    return None


def clock() -> float:
    """Seconds that also pass while the machine sleeps, where it can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def serve(listener: socket.socket, path: str, identity: bytes, ends: float) -> None:
    """Answers until `ends`. A caller of another user gets nothing."""
    mine = _file_of(path)
    while (left := ends - clock()) > 0 and _file_of(path) == mine:
        if not select.select([listener], [], [], min(left, _LOOK))[0]:
            continue
        connected, _ = listener.accept()
        with connected, suppress(OSError):
            connected.settimeout(_PATIENCE)
            if peer_uid(connected) != os.geteuid():
                continue
            word = connected.recv(16)
            if word == ASK and clock() < ends:
                connected.sendall(identity)
            elif word == LOCK:
                os.unlink(path)
                connected.sendall(LOCKED)
                return
    if _file_of(path) == mine:
        os.unlink(path)


def _file_of(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _hide() -> None:
    """No core dump, and no other process of the same user may look into this one."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def main() -> None:
    """Reads `folder`, `name`, `identity` and `seconds` from standard input, answers `ready` once the socket is there,
    and goes on by itself."""
    _hide()
    wanted = json.loads(sys.stdin.buffer.readline())
    os.umask(0o077)
    # By a short name: a socket's path is at most about a hundred bytes long.
    os.chdir(wanted["folder"])
    path, made = wanted["name"], f".{wanted['name']}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(made)
    os.chmod(made, 0o600)
    listener.listen(8)
    # Ready before it has its name: whoever finds it is answered.
    os.rename(made, path)
    if os.fork():
        os.write(1, b"ready\n")
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    serve(listener, path, str(wanted["identity"]).encode("ascii"), clock() + float(wanted["seconds"]))


if __name__ == "__main__":
    main()
