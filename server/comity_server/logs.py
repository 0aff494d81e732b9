"""Structured logs on stderr. A line never holds a DID, a token, a name, a cid or a body.

That is kept by construction: what is logged are fixed event names with counts, durations, codes and routes, and
every other key is dropped before it is written.
"""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

KEYS = frozenset(
    {"event", "level", "timestamp", "code", "count", "seconds", "error", "where", "exc_info", "log", "reason"}
)
"""The keys that a line may have; `log` is the origin of a log, `reason` a sentence of ours about one."""


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
                **({"error": type(error).__name__, "reason": _place(error)} if error else {}),
            },
        )  # type: ignore[return-value]


def logger() -> FilteringBoundLogger:
    """The logger of the server."""
    found: FilteringBoundLogger = structlog.get_logger()
    return found
