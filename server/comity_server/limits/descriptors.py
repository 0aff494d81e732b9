"""How many files and sockets the process may have open: one that runs out of them takes no "no" any more (HTTP-15)."""

import resource

OWN = 256
"""File descriptors of a server beside those of its clients' connections: its files, two for each question to the sender
of webhooks, one for each witness."""


class TooFewDescriptors(Exception):
    """The system allows too few; the text says how many, and what can be done."""


def allow(connections: int, setting: str | None = None) -> None:
    """Raise the limit of this process to what so many connections need; `setting` is what bounds them, if anybody can
    set it. Raises TooFewDescriptors where the system does not let it."""
    needed = connections + OWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (OSError, ValueError):
        less = "" if setting is None else f", or set {setting} to {max(hard - OWN, 1)} or less"
        raise TooFewDescriptors(
            f"{connections} connections need {needed} file descriptors, and the system allows {hard}: raise its hard "
            f"limit (ulimit -Hn {needed}; in a systemd unit LimitNOFILE={needed}; for a container "
            f"--ulimit nofile={needed}){less}"
        ) from None
