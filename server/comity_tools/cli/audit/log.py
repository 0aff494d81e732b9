"""`comity log`: a consent log, looked at from outside."""

import asyncio
import base64
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import stamina

from comity.client.http.aiohttp_transport import over_aiohttp
from comity.client.http.transport import Transport
from comity.client.log.monitor import Report, follow
from comity.client.log.monitor_state import Followed, FollowedFile, NotKept, usual_file
from comity.client.log.tile_reader import LogFinding, LogSource, announced_key, log_after_restore, log_prefix
from comity.errors import ComityError, Malformed, Refused
from comity.transparency.checkpoints import Policy
from comity.transparency.notes import ED25519, VerifierKey
from comity_tools.cli.audit.receipt import cosignatures_option, key_option, policy_of, witness_option
from comity_tools.cli.parameters import Finite
from comity_tools.cli.wallet.session import day, plain, say

FOUND, NOT_READ, INTERRUPTED = 1, 2, 130
"""Exit codes: the log answered and it does not hold; it could not be read, or was not asked rightly; Ctrl-C."""


@click.group()
def log() -> None:
    """A consent log, looked at from outside: by anybody who knows its URL."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for on the command line."""

    prefix: str
    key: VerifierKey | None
    policy: Policy
    state: Path | None
    timeout: float


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How it went: a report, or what was wrong and where the evidence is."""

    kept: Followed | None = None
    file: FollowedFile | None = None
    first_use: bool = False
    report: Report | None = None
    fault: ComityError | None = None
    evidence: Path | None = None
    instead: str | None = None
    """The log that its server says it began after a restore."""

    @property
    def code(self) -> int:
        """The exit code."""
        return 0 if self.fault is None else FOUND if isinstance(self.fault, LogFinding) else NOT_READ


@log.command(name="follow")
@click.argument("url")
@click.option(
    "--vkey", metavar="VKEY|FILE", callback=key_option(ED25519), help="The log's key; else the one kept, or announced."
)
@witness_option
@cosignatures_option
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), help="Where to keep what was seen.")
@click.option(
    "--timeout",
    type=Finite(0.1, 3600),
    default=30.0,
    show_default=True,
    help="Seconds until a silent log counts as away.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def follow_(
    url: str,
    vkey: VerifierKey | None,
    witnesses: tuple[VerifierKey, ...],
    cosignatures: int | None,
    state: Path | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Check everything in the log at URL that was not checked before, and that it did not change what was.

    Exits with 0 if all of it holds, with 1 if the log answers and something does not, with 2 if it cannot be read.
    """
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        prefix = log_prefix(url)
    except Malformed as fault:
        raise click.UsageError(str(fault.detail)) from None
    wish = _Wish(prefix, vkey, policy_of(witnesses, cosignatures), state, timeout)
    if not as_json:
        say(f"Following {prefix}")
    try:
        with _bar(as_json) as progress:
            outcome = asyncio.run(_followed(wish, progress))
    except KeyboardInterrupt:
        # Not click's own 1, which would say that the log was found out.
        sys.exit(INTERRUPTED)
    if as_json:
        click.echo(json.dumps(_as_json(wish, outcome)))
    else:
        _tell(wish, outcome)
    sys.exit(outcome.code)


@contextmanager
def _bar(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Shows how far it is, where somebody looks on."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("entries"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("entries", total=None)
        yield lambda done, size: shown.update(task, completed=done, total=size)


async def _followed(wish: _Wish, progress: Callable[[int, int], None]) -> _Outcome:
    transport = replace(over_aiohttp(), patience=wish.timeout)
    try:
        file, announced = await _where(wish, transport)
        with file.held():
            kept = _known(file, wish.key or announced)
            outcome = _Outcome(kept, file, announced is not None)
            source = LogSource(wish.prefix, transport, timeout=wish.timeout)
            try:
                report = await follow(source, kept, wish.policy, file.save, progress)
                return replace(outcome, report=report)
            except LogFinding as finding:
                return replace(outcome, fault=finding, evidence=_written(file, finding, kept.key.name))
            except ComityError as fault:
                return replace(outcome, fault=fault, instead=await log_after_restore(wish.prefix, transport))
    except ComityError as fault:
        return _Outcome(fault=fault)
    finally:
        if transport.close is not None:
            await transport.close()


def _written(file: FollowedFile, finding: LogFinding, origin: str) -> Path | None:
    """Where the evidence is, or None where there is none or it cannot be written: the finding counts all the same."""
    try:
        return file.save_evidence(finding, origin) if finding.evidence else None
    except NotKept:
        return None


async def _where(wish: _Wish, transport: Transport) -> tuple[FollowedFile, VerifierKey | None]:
    """Where this log is remembered, and the key that its server announces if nobody knows one yet."""
    # A log is named like its URL (tlog-tiles), so what was kept of it is found before it is asked.
    origin = wish.prefix.partition("://")[2] if wish.key is None else wish.key.name
    file = usual_file(origin) if wish.state is None else FollowedFile(wish.state)
    if wish.key is not None or file.path.exists():
        return file, None
    key = await announced_key(wish.prefix, transport)
    if key.kind != ED25519:
        raise Malformed("the server announces a key that is no log's")
    return (usual_file(key.name) if wish.state is None else file), key


def _known(file: FollowedFile, key: VerifierKey | None) -> Followed:
    """What is remembered, of that key if one is named. Raises NotKept."""
    kept = file.load()
    if kept is None:
        if key is None:
            raise NotKept(f"{file.path} has gone")
        return Followed(key)
    if key is not None and kept.key.name != key.name:
        raise NotKept(f"{file.path} is about another log, {kept.key.name}")
    if key is not None and kept.key != key:
        raise NotKept(f"{file.path} knows this log under another key, {kept.key.text}")
    return kept


# --- telling


def _tell(wish: _Wish, outcome: _Outcome) -> None:
    if outcome.first_use and outcome.kept is not None:
        say("No key was named: it is taken from the server itself, this first time, and kept from now on.")
        say(f"  {outcome.kept.key.text}")
    if outcome.fault is not None:
        click.echo(f"Error: {_sentence(outcome.fault)}", err=True)
        if outcome.instead is not None:
            now = plain(outcome.instead)
            click.echo(f"Its server says that it was put back from a backup, and has the log {now} since.", err=True)
        if outcome.evidence is not None:
            click.echo(f"The evidence is in {outcome.evidence}", err=True)
        elif isinstance(outcome.fault, LogFinding) and outcome.fault.evidence:
            click.echo("The evidence could not be written down; here it is:\n", err=True)
            click.echo(plain("\n".join(outcome.fault.evidence)), err=True)
        return
    assert outcome.report is not None and outcome.file is not None
    for name, text in _lines(wish, outcome.report):
        say(f"  {name:11} {text}")
    say(f"  {'kept in':11} {outcome.file.path}")
    say("All of it holds.")


def _lines(wish: _Wish, report: Report) -> Iterator[tuple[str, str]]:
    followed = report.followed
    assert followed.seen is not None
    yield "log", followed.key.name
    yield "size", f"{followed.seen.size:,} entries, {report.new:,} of them looked at now"
    if report.lags:
        yield "it lags", f"its checkpoint has {report.served.size:,}; the larger tree is served and continues it"
    if followed.position:
        yield "newest", day(followed.minute * 60)
    for kind, number in sorted(followed.kinds.items()):
        yield kind.name.lower(), f"{number:,}"
    for key, time in report.served.cosigned.items():
        yield "witness", f"{key.name} signed {day(time)}"
    if not wish.policy.witnesses:
        yield "witnesses", "none were named, so the log's own signature is all that was checked"


def _sentence(fault: ComityError) -> str:
    told = fault.detail or fault.title.rstrip(".") if isinstance(fault, Refused) else str(fault)
    return " ".join(plain(told).split())


def _as_json(wish: _Wish, outcome: _Outcome) -> dict[str, Any]:
    told: dict[str, Any] = {"ok": outcome.fault is None, "url": wish.prefix}
    if outcome.kept is not None and outcome.file is not None:
        told |= {"vkey": outcome.kept.key.text, "first_use": outcome.first_use, "state": str(outcome.file.path)}
    if outcome.fault is not None:
        code = outcome.fault.code if isinstance(outcome.fault, LogFinding) else "not_read"
        told |= {"code": code, "error": _sentence(outcome.fault)}
        if outcome.instead is not None:
            told["log_after_restore"] = outcome.instead
        if outcome.evidence is not None:
            told["evidence"] = str(outcome.evidence)
        elif isinstance(outcome.fault, LogFinding) and outcome.fault.evidence:
            told["evidence_text"] = outcome.fault.evidence
        return told
    report = outcome.report
    assert report is not None and report.followed.seen is not None
    return told | {
        "size": report.followed.seen.size,
        "root": base64.b64encode(report.followed.seen.root).decode("ascii"),
        "served": report.served.size,
        "new": report.new,
        "newest": report.followed.minute * 60 if report.followed.position else None,
        "entries": {kind.name.lower(): number for kind, number in sorted(report.followed.kinds.items())},
        "witnesses": report.served.cosignatures,
    }
