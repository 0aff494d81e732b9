"""The progress bar of commands that take long."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Shows progress on a terminal: a bar for each part, which is updated with (part, done, size)."""
    if quiet or not sys.stderr.isatty():
        yield lambda _part, _done, _size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def progress(part: str, done: int, size: int) -> None:
            if part not in tasks:
                tasks[part] = bars.add_task(part, total=None)
            bars.update(tasks[part], completed=done, total=size or None)

        yield progress
