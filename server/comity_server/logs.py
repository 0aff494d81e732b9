"""Structured logs on stderr. A line never holds a DID, a token, a name, a cid or a body.

That is kept by construction: what is logged are fixed event names with counts, durations, codes and routes, and
every other key is dropped before it is written.
"""

import logging
import sys
from contextvars import ContextVar
from random import getrandbits
from typing import Any

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

KEYS = frozenset({
    *("event", "level", "timestamp", "code", "count", "seconds", "error", "where", "exc_info", "log", "reason"),
    *("request_id", "request_ids"),
})  # fmt: skip
"""The keys that a line may have; `log` is the origin of a log, `reason` a sentence of ours about one."""

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is worked for (HTTP-19). What hands work to another task hands this on as well."""


def begin_request() -> str:
    """A new id, for the request that this task works for from now on (HTTP-19)."""
    # It tells requests apart and keeps no secret.
    id_ = f"{getrandbits(96):024x}"
    REQUEST_ID.set(id_)
    return id_


def _with_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**event, **_request_id()}


def _request_id() -> dict[str, str]:
    id_ = REQUEST_ID.get()
    return {} if id_ is None else {"request_id": id_}


def _only_known_keys(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in [key for key in event if key not in KEYS]:
        del event[key]
    return event


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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries write through the standard module: warnings and worse only, and never with their arguments.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OwnWords())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _where_it_failed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A mistake of ours is told by type and place; its text could quote what a client sent."""
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
                **_request_id(),
                **({"error": type(error).__name__, "reason": _place(error)} if error else {}),
            },
        )  # type: ignore[return-value]


def logger() -> FilteringBoundLogger:
    """The logger of the server."""
    found: FilteringBoundLogger = structlog.get_logger()
    return found
