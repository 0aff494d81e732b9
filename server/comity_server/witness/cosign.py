"""Whether a witness cosigns (C2SP tlog-witness, add-checkpoint): all its checks, in the order of the specification."""

import base64
from http import HTTPStatus

from comity.errors import Malformed, Refused
from comity.transparency.checkpoints import MOST_TEXT, Checkpoint, read_checkpoint
from comity.transparency.merkle import check_consistency
from comity.transparency.notes import NoteSigner, VerifierKey, check_lines, signature_line, split_note
from comity_server.clock import Clock
from comity_server.log.witness_protocol import Submission, open_submission
from comity_server.logging import logger
from comity_server.witness.store import Head, Memory


class Declined(Exception):
    """A submission that is not cosigned: the status that says so, and for 409 the size that was cosigned last."""

    def __init__(self, status: HTTPStatus, why: str, size: int | None = None) -> None:
        self.status = status
        self.why = why
        self.size = size
        super().__init__(why)


class Witness:
    """One key and what it cosigned. Not to be used by two threads at once."""

    def __init__(self, signer: NoteSigner, memory: Memory, clock: Clock) -> None:
        self._signer = signer
        self._memory = memory
        self._clock = clock

    @property
    def key(self) -> VerifierKey:
        """The key that its cosignatures are checked with."""
        return self._signer.verifier

    def note(self, origin_hash: str) -> str | None:
        """The last checkpoint that was cosigned of that log, with its signature and the cosignature."""
        return self._memory.note(origin_hash)

    def cosign(self, body: bytes) -> str:
        """The line that cosigns the checkpoint in a request's body, once it is remembered. Raises Declined,
        DatabaseFault (then nothing is cosigned, and it may be remembered)."""
        try:
            submission = open_submission(body)
            text, lines = split_note(submission.note)
            origin = text.partition("\n")[0]
            if not origin or len(text) > MOST_TEXT:
                raise Malformed("not a checkpoint")
            signed = self._signed(origin, text, lines)
            new = _read(text)
        except Refused as refused:
            raise Declined(HTTPStatus.BAD_REQUEST, refused.detail or refused.title) from None
        line = ""

        def judge(kept: Head) -> Head:
            nonlocal line
            now = self._clock.now() // 1000
            check(submission, new, kept, now)
            line = signature_line(text, self._signer, now)
            return Head(new.size, new.root, now, f"{text}\n{signed}{line}")

        # On the disk before anybody sees it: a crash in between costs the log one more request (409), and the other
        # way round it would let it have two histories cosigned.
        self._memory.replace(origin, judge)
        return line

    def _signed(self, origin: str, text: str, lines: list[tuple[str, bytes]]) -> str:
        """The line by which that log signed the text. Raises Declined."""
        log = self._memory.log(origin)
        if log is None:
            raise Declined(HTTPStatus.NOT_FOUND, "a log that is not known here")
        try:
            held = check_lines(text, lines, [log])
        except Refused:
            raise Declined(HTTPStatus.FORBIDDEN, "the log's signature does not hold") from None
        if not held:
            raise Declined(HTTPStatus.FORBIDDEN, "the log did not sign this")
        blob = next(blob for name, blob in lines if (name, blob[:4]) == (log.name, log.id))
        return f"— {log.name} {base64.b64encode(blob).decode('ascii')}\n"


def _read(text: str) -> Checkpoint:
    """The checkpoint in a text. Raises Malformed."""
    origin, size, rest = text.split("\n", 2) if text.count("\n") > 1 else ("", "", "")
    if size == "0":
        # Another root than that of the empty tree has a status of its own; here only the form is looked at.
        return read_checkpoint(f"{origin}\n1\n{rest}")._replace(size=0)
    return read_checkpoint(text)


def check(submission: Submission, new: Checkpoint, kept: Head, now: int) -> None:
    """Whether a checkpoint that its log signed continues the one that is remembered, at that time (s). Raises
    Declined."""
    if submission.old > new.size:
        raise Declined(HTTPStatus.BAD_REQUEST, "the old size is larger than the checkpoint's")
    if submission.old != kept.size:
        raise Declined(HTTPStatus.CONFLICT, "another size was cosigned last", kept.size)
    if not check_consistency(kept.size, kept.root, new.size, new.root, submission.proof):
        # Signed by the log: two roots of one size are two histories; anything else may be a wrong proof alone.
        forked = new.size == kept.size and new.root != kept.root
        logger().warning("two_histories" if forked else "not_continued", where=new.origin, count=new.size)
        raise Declined(HTTPStatus.UNPROCESSABLE_ENTITY, "not shown to continue what was cosigned last")
    if now < kept.time:
        # A cosignature says which tree was the largest at its time; at that time, it was not yet this one.
        logger().error("clock_went_back", where=new.origin, seconds=kept.time - now)
        raise Declined(HTTPStatus.SERVICE_UNAVAILABLE, "the clock of this witness went back")
