"""Structured logs on stderr. A line never holds a DID, a token, a name, a connection id or a body.

That holds by construction: log events have fixed names with counts, durations, codes and routes, and every other key is
dropped before the line is written.
"""

import logging
import math
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from random import getrandbits
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

KEYS = frozenset({
    *("event", "level", "timestamp", "code", "count", "seconds", "error", "where", "exc_info", "log", "reason"),
    *("request_id", "request_ids", "condition", "cure"),
})  # fmt: skip
"""The keys that a line may have; `log` is the origin of a log, `reason` a sentence of ours about one."""

MINUTE = 60.0
"""Seconds between two lines about what happens again and again."""

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request (HTTP-19). Work that is handed to another task carries it along."""


def begin_request() -> str:
    """A new id, for the request that this task works for from now on (HTTP-19)."""
    id_ = new_request_id()
    REQUEST_ID.set(id_)
    return id_


def new_request_id() -> str:
    """An id for one request."""
    # The id distinguishes requests and protects no secret.
    return getrandbits(96).to_bytes(12, "big").hex()


def _with_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**event, **_request_id()}


def _request_id() -> dict[str, str]:
    id_ = REQUEST_ID.get()
    return {} if id_ is None else {"request_id": id_}


def _only_known_keys(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in [key for key in event if key not in KEYS]:
        del event[key]
    return event


class Repeated:
    """An event that can repeat: it is logged at once, and from then on once a minute, with the count since."""

    def __init__(self, event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._often = _Often(clock)

    def note(self, count: int = 1, **why: object) -> None:
        """It happened, so many times; of the last time it is logged `why`."""
        if (so_far := self._often.count_if_due(count)) is not None:
            logger().warning(self._event, count=so_far, **why)


class _Often:
    """How often something happened since it was logged."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._count = 0
        self._again_at = -math.inf

    def count_if_due(self, count: int = 1) -> int | None:
        """How often it happened, these included, if it is to be logged now."""
        self._count += count
        now = self._clock()
        if now < self._again_at:
            return None
        so_far, self._count, self._again_at = self._count, 0, now + MINUTE
        return so_far


class _OnceAMinute(logging.Filter):
    """Logs the same line of a library once a minute at most: asyncio reports a thousand times a second that no socket
    can be opened."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[tuple[str, int], _Often] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        count = self._places.setdefault((record.pathname, record.lineno), _Often()).count_if_due()
        record.so_far = count
        return count is not None


class _Unfailing:
    """Writes log lines. A line that cannot be written is dropped: a full disk under the log must not stop the work that
    is logged."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()


def configure(style: str = "auto", level: str = "info") -> None:
    """Set up logging for the process: JSON, or coloured lines where a person looks."""
    pretty = style == "pretty" or (style == "auto" and sys.stderr.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            _with_request_id,
            _only_known_keys,
            _where_it_failed,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Unfailing(sys.stderr))),
        cache_logger_on_first_use=False,
    )
    # Libraries write through the standard module: warnings and worse only, and never with their arguments.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OwnWords())
    handler.addFilter(_OnceAMinute())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _where_it_failed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A fault of ours is logged by type and place; its text could quote a client."""
    error = event.pop("exc_info", None)
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["where"] = _place(error)
    return event


def _place(error: BaseException) -> str:
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}:{code.co_name}")
        trace = trace.tb_next
    return " > ".join(frames[-6:])


class _OwnWords(logging.Formatter):
    """A library's record as one JSON line of its logger's name, level and the place of its error."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        return structlog.processors.JSONRenderer()(
            None,
            "",
            {
                "event": f"library:{record.name}",
                "level": record.levelname.lower(),
                "where": f"{record.filename}:{record.lineno}",
                "count": getattr(record, "so_far", 1),
                **_request_id(),
                **({"error": type(error).__name__, "reason": _place(error)} if error else {}),
            },
        )  # type: ignore[return-value]


def logger() -> FilteringBoundLogger:
    """The logger of the server."""
    found: FilteringBoundLogger = structlog.get_logger()
    return found
