"""Decides whether a witness cosigns (C2SP tlog-witness, add-checkpoint): its checks, in the specification's order."""

import base64
from http import HTTPStatus

from comity.errors import Malformed, Refused
from comity.transparency.checkpoints import MOST_TEXT, Checkpoint, parse_checkpoint
from comity.transparency.merkle import check_consistency
from comity.transparency.notes import NoteSigner, VerifierKey, check_lines, signature_line, split_note
from comity_server.clock import Clock
from comity_server.log.witness_protocol import Submission, open_submission
from comity_server.logging import logger
from comity_server.witness.store import Head, WitnessStore


class Declined(Exception):
    """A submission that is not cosigned: the HTTP status, the reason, and for 409 the size that was cosigned last."""

    def __init__(self, status: HTTPStatus, why: str, size: int | None = None) -> None:
        self.status = status
        self.why = why
        self.size = size
        super().__init__(why)


class Witness:
    """A key and the record of what it cosigned. Not thread-safe."""

    def __init__(self, signer: NoteSigner, store: WitnessStore, clock: Clock) -> None:
        self._signer = signer
        self._store = store
        self._clock = clock

    @property
    def key(self) -> VerifierKey:
        """The key that its cosignatures are checked with."""
        return self._signer.verifier

    def note(self, origin_hash: str) -> str | None:
        """The last checkpoint that was cosigned of that log, with its signature and the cosignature."""
        return self._store.note(origin_hash)

    def cosign(self, body: bytes) -> str:
        """Cosigns the checkpoint in a request's body, records it, and returns the signature line. Raises Declined,
        DatabaseFault (then nothing is cosigned, though the checkpoint may be recorded)."""
        try:
            submission = open_submission(body)
            text, lines = split_note(submission.note)
            origin = text.partition("\n")[0]
            if not origin or len(text) > MOST_TEXT:
                raise Malformed("not a checkpoint")
            signed = self._log_signature(origin, text, lines)
            new = _read(text)
        except Refused as refused:
            raise Declined(HTTPStatus.BAD_REQUEST, refused.detail or refused.title) from None
        line = ""

        def decide(last: Head) -> Head:
            nonlocal line
            now = self._clock.now() // 1000
            check(submission, new, last, now)
            line = signature_line(text, self._signer, now)
            return Head(new.size, new.root, now, f"{text}\n{signed}{line}")

        # Stored before anybody sees the signature: a crash in between costs the log one more request (409); in the
        # other order it could get two histories cosigned.
        self._store.replace(origin, decide)
        return line

    def _log_signature(self, origin: str, text: str, lines: list[tuple[str, bytes]]) -> str:
        """The line of that log's signature of the text. Raises Declined."""
        log = self._store.log(origin)
        if log is None:
            raise Declined(HTTPStatus.NOT_FOUND, "this log is not known here")
        try:
            held = check_lines(text, lines, [log])
        except Refused:
            raise Declined(HTTPStatus.FORBIDDEN, "the log's signature is not valid") from None
        if not held:
            raise Declined(HTTPStatus.FORBIDDEN, "the log did not sign this")
        blob = next(blob for name, blob in lines if (name, blob[:4]) == (log.name, log.id))
        return f"— {log.name} {base64.b64encode(blob).decode('ascii')}\n"


def _read(text: str) -> Checkpoint:
    """The checkpoint in a text. Raises Malformed."""
    origin, size, rest = text.split("\n", 2) if text.count("\n") > 1 else ("", "", "")
    if size == "0":
        # A wrong root of the empty tree has a status of its own; here only the form is checked.
        return parse_checkpoint(f"{origin}\n1\n{rest}")._replace(size=0)
    return parse_checkpoint(text)


def check(submission: Submission, new: Checkpoint, last: Head, now: int) -> None:
    """Checks that a checkpoint, which its log signed, continues the recorded one; `now` in s. Raises Declined."""
    if submission.old > new.size:
        raise Declined(HTTPStatus.BAD_REQUEST, "the old size is larger than the checkpoint's")
    if submission.old != last.size:
        raise Declined(HTTPStatus.CONFLICT, "the last cosigned size is another one", last.size)
    if not check_consistency(last.size, last.root, new.size, new.root, submission.proof):
        # Two signed roots of one size are two histories; otherwise only the proof may be wrong.
        forked = new.size == last.size and new.root != last.root
        logger().warning("two_histories" if forked else "not_continued", where=new.origin, count=new.size)
        raise Declined(
            HTTPStatus.UNPROCESSABLE_ENTITY, "the proof does not show that the last cosigned checkpoint is continued"
        )
    if now < last.time:
        # A cosignature states the largest tree at its time; at that earlier time it was not yet this one.
        logger().error("clock_went_back", where=new.origin, seconds=last.time - now)
        raise Declined(HTTPStatus.SERVICE_UNAVAILABLE, "the clock of this witness went back")
