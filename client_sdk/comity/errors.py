"""Everything that can go wrong, and the one table that says how it is told.

    ComityError
    ├── Refused            the protocol does not accept this input; `code` is a key of CODES
    │   └── Malformed      bytes that are not what they claim to be: what every parser raises, and nothing else
    ├── Unreachable        the other end did not answer, or not with an answer of this protocol
    └── Contradiction      the server says otherwise than what was signed; carries the evidence
        └── Fork           a log shows two histories; carries both signed checkpoints and the proof

CODES is the single place where a code has its HTTP status and title (spec/http.md repeats it, and a test
compares the two). The server answers from it and the SDK raises from it.
"""

from typing import NamedTuple


class Code(NamedTuple):
    """What a refusal code means on the wire: the HTTP status and the RFC 9457 `title`."""

    status: int
    title: str


CODES: dict[str, Code] = {
    # What cannot be read.
    "malformed": Code(400, "The bytes are not what they claim to be."),
    "too_large": Code(413, "The body is larger than the limit."),
    "too_slow": Code(408, "The body did not arrive in time."),
    "unsupported_media_type": Code(415, "The content type is not one that this route takes."),
    "method_not_allowed": Code(405, "This path does not take that method."),
    # Who says it.
    "bad_signature": Code(401, "The signature does not hold under the named key."),
    "unknown_key": Code(401, "The named key is not one that this server can find."),
    "signature_required": Code(401, "This request must be signed (RFC 9421)."),
    "signature_stale": Code(401, "The request was signed too long ago, or too far ahead."),
    "signature_replayed": Code(401, "This signed request was seen before."),
    # What is not there, or not yours: one answer for all of it (HTTP-9, OFFER-9).
    "not_found": Code(404, "There is nothing here for you."),
    # The chain.
    "cursor_expired": Code(410, "What comes behind this cursor is not kept any more."),
    "wrong_audience": Code(403, "The act is addressed to another party."),
    "key_replaced": Code(403, "The key was replaced by a newer one."),
    "seq_taken": Code(409, "Another act was accepted at this place of the chain."),
    "seq_gap": Code(409, "Acts before this one are missing."),
    "prev_mismatch": Code(409, "The act does not follow the head of its chain."),
    "iat_out_of_range": Code(409, "The clock of the signer is more than ten minutes off."),
    "after_refused": Code(409, "An earlier act of this chain in the same batch was refused."),
    "connection_ended": Code(409, "The connection has ended."),
    "connection_open": Code(409, "The connection has not ended."),
    "too_many_statements": Code(409, "Too many statements were made already."),
    # The door.
    "no_grant": Code(403, "There is no valid grant for this purpose and channel."),
    "already_has": Code(403, "The other side already has what this is about."),
    "no_interest": Code(403, "The other side said that this topic is of no interest."),
    "topic_needed": Code(403, "The other side has, or does not want, something of this kind: name the topic."),
    "not_now": Code(409, "Not now."),
    "over_budget": Code(409, "The budget of the grant is used up for this period."),
    "hold_full": Code(409, "Too many messages are waiting already."),
    "recovering": Code(409, "The server was restored, and not both sides have confirmed what they hold."),
    # Grants and mutes.
    "index_not_reserved": Code(409, "The status index was not reserved for this side, or was used."),
    "grant_expired": Code(409, "The grant ends before it begins, or too late."),
    "too_many_grants": Code(409, "Too many grants are in force."),
    "no_such_grant": Code(409, "No grant of this side with that id is in force."),
    "until_passed": Code(409, "The end named is in the past."),
    "unknown_zone": Code(409, "The time zone is not one that this server's rules know."),
    "too_many_mutes": Code(409, "Too many mutes are in force."),
    "no_such_mute": Code(409, "No such mute is in force."),
    "message_expired": Code(409, "The message has expired."),
    "wrong_proof": Code(409, "The other key that is named did not sign this."),
    # Favours.
    "ask_open": Code(409, "An ask in this direction is still open."),
    "cooling_down": Code(409, "It is too soon to ask again."),
    "ask_budget": Code(409, "Too many asks in this period."),
    "after_exempt_notice": Code(409, "No asking on the heels of a safety notice."),
    "by_passed": Code(409, "The date asked for is in the past."),
    "no_such_ask": Code(409, "No ask with that id is in a state that this answers."),
    # The little things.
    "nothing_remembered": Code(409, "Nothing is remembered under that key."),
    "too_much_remembered": Code(409, "Too much is remembered already."),
    "too_many_milestones": Code(409, "Too many milestones are kept already."),
    # Feedback.
    "no_such_message": Code(409, "No message of the other side that feedback can be about has that id."),
    "too_many_contests": Code(409, "Too many contests are in force."),
    "too_much_feedback": Code(409, "Too much feedback in this period."),
    # Connecting.
    "offer_expired": Code(409, "The offer ends before it begins, or too late."),
    "wrong_home": Code(409, "The offer or agreement names another home server or operator."),
    "key_not_stated": Code(409, "The home server does not state that key as its own."),
    "test_only": Code(409, "The offer or agreement is of a sandbox, and counts nowhere else."),
    "too_many_offers": Code(409, "Too many offers are open."),
    "agreement_conflict": Code(409, "The agreement does not fit the offer."),
    # The log.
    "proof_failed": Code(409, "The proof does not prove what it is for."),
    "too_few_witnesses": Code(409, "Too few witnesses cosigned the checkpoint."),
    # The business side.
    "invalid_request": Code(400, "The request does not have the form that this route takes."),
    "api_key_required": Code(401, "This route takes an API key (Authorization: Bearer)."),
    "no_sandbox": Code(403, "There is no sandbox on this server."),
    "scope_missing": Code(403, "The API key has not the scope that this takes."),
    "idempotency_mismatch": Code(422, "The Idempotency-Key was used for another request."),
    "signing_key_not_kept": Code(409, "The business keeps its signing key itself: send the act's JWS."),
    "too_many_keys": Code(409, "Too many API keys are in force."),
    "last_owner": Code(409, "This is the last key of an owner."),
    "too_many_drafts": Code(409, "Too many drafts are kept already."),
    "invite_quota": Code(429, "Too many people were invited in this period."),
    "too_many_notices": Code(429, "Too many notices in this period."),
    "exempt_limit": Code(429, "Too many exempt notices in this period."),
    "not_public": Code(422, "Webhooks go to public addresses only."),
    "not_owned": Code(422, "The endpoint did not prove that it takes these webhooks."),
    "too_many_webhooks": Code(409, "Too many webhook endpoints are registered."),
    # Load.
    "rate_limited": Code(429, "Too many requests."),
    "overloaded": Code(503, "The server has more to do than it can hold."),
    "disk_full": Code(503, "The server has no room to write."),
    "store_failing": Code(503, "The server cannot write at the moment."),
    "clock_doubtful": Code(503, "The server is in doubt about its clock: it takes what says no, and nothing else."),
    "internal": Code(500, "The server made a mistake."),
}


class ComityError(Exception):
    """The root: catching it catches everything that Comity raises on purpose."""


class Refused(ComityError):
    """The protocol does not accept an input.

    `code` is a key of CODES; `status` its HTTP status; `detail` says more to a person and never quotes what was
    sent; `errors` are (JSON pointer, what is wrong) pairs; `retry_after` is in seconds where waiting helps;
    `until` (seconds since the epoch) says when "not now" ends, where the other side shows it.
    """

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        errors: tuple[tuple[str, str], ...] = (),
        retry_after: int | None = None,
        until: int | None = None,
    ) -> None:
        self.code = code
        self.status, self.title = CODES[code]
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after
        self.until = until
        super().__init__(f"{code}: {detail or self.title}")


class Malformed(Refused):
    """Bytes that are not what they claim to be. Parsers raise this one type, whatever they are fed."""

    def __init__(self, detail: str, *, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__("malformed", detail, errors=errors)


class Unreachable(ComityError):
    """The other end did not answer, or not with an answer of this protocol. Trying again may help."""


class Contradiction(ComityError):
    """The server says otherwise than what was signed.

    `evidence` holds the signed texts (and the answer that does not fit them), as they came, to be handed on.
    """

    def __init__(self, claim: str, evidence: tuple[str, ...] = ()) -> None:
        self.claim = claim
        self.evidence = evidence
        super().__init__(claim)


class Fork(Contradiction):
    """A log shows two histories, or goes back behind one that it signed.

    `checkpoints`: both, as they were signed, the smaller tree first; `proof`: the hashes (base64) that lead from the
    larger one to another root for the smaller size than was signed; none where no proof is needed (the same size), or
    none was given. `file` is where all of it was written down for others, if it could be.
    """

    def __init__(
        self, claim: str, checkpoints: tuple[str, str], proof: tuple[str, ...] = (), file: str | None = None
    ) -> None:
        self.checkpoints = checkpoints
        self.proof = proof
        self.file = file
        super().__init__(claim, (*checkpoints, *proof))
