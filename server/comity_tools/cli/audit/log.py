"""`comity log`: checks a public consent log from outside."""

import asyncio
import base64
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import stamina

from comity.client.http.aiohttp_transport import over_aiohttp
from comity.client.http.transport import Transport
from comity.client.log.monitor import Report, follow_log
from comity.client.log.monitor_state import MonitorFile, MonitorFileError, MonitorState, default_file
from comity.client.log.tile_reader import LogFinding, TileReader, announced_key, log_after_restore, log_prefix
from comity.errors import ComityError, Malformed, Refused
from comity.transparency.checkpoints import Policy
from comity.transparency.notes import ED25519, VerifierKey
from comity_tools.cli.audit.receipt import cosignatures_option, key_option, witness_option, witness_policy
from comity_tools.cli.groups import Sections
from comity_tools.cli.parameters import Finite
from comity_tools.cli.progress import progress_bar
from comity_tools.cli.text import plain, say, utc_time

LOG_IS_WRONG, NOT_READ, INTERRUPTED = 1, 2, 130
"""Exit codes: the log answers and something in it is wrong; it cannot be read, or an option is wrong; Ctrl-C."""


@click.group(cls=Sections)
def log() -> None:
    """Check a public consent log. You need its URL and nothing else."""


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of one run."""

    prefix: str
    key: VerifierKey | None
    policy: Policy
    state: Path | None
    timeout: float


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of one run: a report, or the fault and the file with the evidence."""

    state: MonitorState | None = None
    file: MonitorFile | None = None
    first_use: bool = False
    report: Report | None = None
    fault: ComityError | None = None
    evidence: Path | None = None
    new_log: str | None = None
    """The log that the server announces as begun after a restore."""

    @property
    def code(self) -> int:
        """The exit code."""
        return 0 if self.fault is None else LOG_IS_WRONG if isinstance(self.fault, LogFinding) else NOT_READ


@log.command(name="follow")
@click.argument("url")
@click.option(
    "--vkey",
    metavar="VKEY|FILE",
    callback=key_option(ED25519),
    help="The log's verifier key. Default: the key stored by an earlier run, or the one that the server announces.",
)
@witness_option
@cosignatures_option
@click.option(
    "--state", type=click.Path(dir_okay=False, path_type=Path), help="The file that remembers what was checked."
)
@click.option(
    "--timeout",
    type=Finite(0.1, 3600),
    default=30.0,
    show_default=True,
    help="Seconds without an answer after which the log counts as unreachable.",
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
    """Check all new entries of the log at URL, and that the log still contains everything checked before.

    Exit code: 0 if everything is correct, 1 if the log answers and something is wrong, 2 if the log cannot be read.
    """
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        prefix = log_prefix(url)
    except Malformed as fault:
        raise click.UsageError(str(fault.detail)) from None
    options = _Options(prefix, vkey, witness_policy(witnesses, cosignatures), state, timeout)
    if not as_json:
        say(f"Following {prefix}")
    try:
        with progress_bar(as_json) as progress:
            outcome = asyncio.run(_follow_log(options, lambda done, size: progress("entries", done, size)))
    except KeyboardInterrupt:
        # Not click's exit code 1, which means that the log is wrong.
        sys.exit(INTERRUPTED)
    if as_json:
        click.echo(json.dumps(_as_json(options, outcome)))
    else:
        _print_outcome(options, outcome)
    sys.exit(outcome.code)


async def _follow_log(options: _Options, progress: Callable[[int, int], None]) -> _Outcome:
    transport = replace(over_aiohttp(), patience=options.timeout)
    try:
        file, announced = await _find_file(options, transport)
        with file.lock():
            state = _load_state(file, options.key or announced)
            outcome = _Outcome(state, file, announced is not None)
            source = TileReader(options.prefix, transport, timeout=options.timeout)
            try:
                report = await follow_log(source, state, options.policy, file.save, progress)
                return replace(outcome, report=report)
            except LogFinding as finding:
                return replace(outcome, fault=finding, evidence=_save_evidence(file, finding, state.key.name))
            except ComityError as fault:
                return replace(outcome, fault=fault, new_log=await log_after_restore(options.prefix, transport))
    except ComityError as fault:
        return _Outcome(fault=fault)
    finally:
        if transport.close is not None:
            await transport.close()


def _save_evidence(file: MonitorFile, finding: LogFinding, origin: str) -> Path | None:
    """The file with the evidence; None if there is no evidence or it cannot be saved, which does not end the run."""
    try:
        return file.save_evidence(finding, origin) if finding.evidence else None
    except MonitorFileError:
        return None


async def _find_file(options: _Options, transport: Transport) -> tuple[MonitorFile, VerifierKey | None]:
    """The file that remembers this log, and the key that its server announces if none is given or stored."""
    # A log is named like its URL (tlog-tiles), so its file is found before the server is asked.
    origin = options.prefix.partition("://")[2] if options.key is None else options.key.name
    file = default_file(origin) if options.state is None else MonitorFile(options.state)
    if options.key is not None or file.path.exists():
        return file, None
    key = await announced_key(options.prefix, transport)
    if key.kind != ED25519:
        raise Malformed("the server announces a key that is not the key of a log")
    return (default_file(key.name) if options.state is None else file), key


def _load_state(file: MonitorFile, key: VerifierKey | None) -> MonitorState:
    """The stored state of the log, checked against `key` if one is given. Raises NotKept."""
    kept = file.load()
    if kept is None:
        if key is None:
            raise MonitorFileError(f"{file.path} was removed during the check")
        return MonitorState(key)
    if key is not None and kept.key.name != key.name:
        raise MonitorFileError(f"{file.path} belongs to another log, {kept.key.name}")
    if key is not None and kept.key != key:
        raise MonitorFileError(f"{file.path} has another key for this log, {kept.key.text}")
    return kept


# --- output


def _print_outcome(options: _Options, outcome: _Outcome) -> None:
    if outcome.first_use and outcome.state is not None:
        say("No key was given (--vkey). On this first run, the key that the server announces is used and stored:")
        say(f"  {outcome.state.key.text}")
    if outcome.fault is not None:
        click.echo(f"Error: {_error_sentence(outcome.fault)}", err=True)
        if outcome.new_log is not None:
            now = plain(outcome.new_log)
            click.echo(f"Its server says that it was restored from a backup. Its log is now {now}.", err=True)
        if outcome.evidence is not None:
            click.echo(f"The evidence is in {outcome.evidence}", err=True)
        elif isinstance(outcome.fault, LogFinding) and outcome.fault.evidence:
            click.echo("The evidence could not be saved. Here it is:\n", err=True)
            click.echo(plain("\n".join(outcome.fault.evidence)), err=True)
        return
    assert outcome.report is not None and outcome.file is not None
    for name, text in _report_lines(options, outcome.report):
        say(f"  {name:11} {text}")
    say(f"  {'stored in':11} {outcome.file.path}")
    say("All checks passed.")


def _report_lines(options: _Options, report: Report) -> Iterator[tuple[str, str]]:
    followed = report.state
    assert followed.seen is not None
    yield "log", followed.key.name
    yield "size", f"{followed.seen.size:,} entries, {report.new:,} of them new"
    if report.is_lagging:
        yield "behind", f"the checkpoint has {report.served.size:,} entries; the larger tree continues it"
    if followed.position:
        yield "newest", utc_time(followed.minute * 60)
    for kind, number in sorted(followed.kinds.items()):
        yield kind.name.lower(), f"{number:,}"
    for key, time in report.served.cosigned.items():
        yield "witness", f"{key.name} signed {utc_time(time)}"
    if not options.policy.witnesses:
        yield "witnesses", "none given (--witness), so only the log's own signature was checked"


def _error_sentence(fault: ComityError) -> str:
    text = fault.detail or fault.title.rstrip(".") if isinstance(fault, Refused) else str(fault)
    return " ".join(plain(text).split())


def _as_json(options: _Options, outcome: _Outcome) -> dict[str, Any]:
    fields: dict[str, Any] = {"ok": outcome.fault is None, "url": options.prefix}
    if outcome.state is not None and outcome.file is not None:
        fields |= {"vkey": outcome.state.key.text, "first_use": outcome.first_use, "state": str(outcome.file.path)}
    if outcome.fault is not None:
        code = outcome.fault.code if isinstance(outcome.fault, LogFinding) else "not_read"
        fields |= {"code": code, "error": _error_sentence(outcome.fault)}
        if outcome.new_log is not None:
            fields["log_after_restore"] = outcome.new_log
        if outcome.evidence is not None:
            fields["evidence"] = str(outcome.evidence)
        elif isinstance(outcome.fault, LogFinding) and outcome.fault.evidence:
            fields["evidence_text"] = outcome.fault.evidence
        return fields
    report = outcome.report
    assert report is not None and report.state.seen is not None
    return fields | {
        "size": report.state.seen.size,
        "root": base64.b64encode(report.state.seen.root).decode("ascii"),
        "served": report.served.size,
        "new": report.new,
        "newest": report.state.minute * 60 if report.state.position else None,
        "entries": {kind.name.lower(): number for kind, number in sorted(report.state.kinds.items())},
        "witnesses": report.served.cosignatures,
    }
