"""The errors of the protocol, and the table with the HTTP status and title of each refusal code.

    ComityError
    ├── Refused            the protocol does not accept an input; `code` is a key of CODES
    │   └── Malformed      the input does not have its required form; the one type that parsers raise
    ├── Unreachable        the other end did not answer, or its answer is not one of this protocol
    └── Contradiction      the server contradicts what was signed; carries the evidence
        └── Fork           a log shows two histories; carries both signed checkpoints and the proof

CODES is the single place where a code has its HTTP status and title. spec/http.md repeats the table, and a test
compares the two. The server answers from it and the SDK raises from it.
"""

from typing import NamedTuple


class Code(NamedTuple):
    """The HTTP status and the RFC 9457 `title` of a refusal code."""

    status: int
    title: str


CODES: dict[str, Code] = {
    # Form.
    "malformed": Code(400, "The input is malformed."),
    "too_large": Code(413, "The body is larger than the limit."),
    "too_slow": Code(408, "The body did not arrive in time."),
    "unsupported_media_type": Code(415, "This route does not accept that content type."),
    "method_not_allowed": Code(405, "This path does not allow that method."),
    # Signatures and keys.
    "bad_signature": Code(401, "The signature is not valid for the named key."),
    "unknown_key": Code(401, "The named key is not known."),
    "signature_required": Code(401, "This request must be signed (RFC 9421)."),
    "signature_stale": Code(401, "The time of the request's signature is too far in the past or future."),
    "signature_replayed": Code(401, "This signed request was already used."),
    # One answer for what does not exist and for what the caller may not see (HTTP-9, OFFER-9).
    "not_found": Code(404, "Not found, or not visible to you."),
    # The chain.
    "cursor_expired": Code(410, "The items after this cursor were deleted."),
    "wrong_audience": Code(403, "The act is addressed to another party."),
    "key_replaced": Code(403, "The key was replaced by a newer one."),
    "seq_taken": Code(409, "Another act already has this position in the chain."),
    "seq_gap": Code(409, "Acts before this one are missing."),
    "prev_mismatch": Code(409, "The act does not follow the head of its chain."),
    "iat_out_of_range": Code(409, "The signer's clock is more than ten minutes off."),
    "after_refused": Code(409, "An earlier act of this chain in the same batch was refused."),
    "connection_ended": Code(409, "The connection has ended."),
    "connection_open": Code(409, "The connection has not ended."),
    "too_many_statements": Code(409, "Too many erasure statements were made already."),
    # The gate.
    "no_grant": Code(403, "There is no valid grant for this purpose and channel."),
    "already_has": Code(403, "The other side already has something of this kind."),
    "no_interest": Code(403, "The other side is not interested in this topic."),
    "topic_needed": Code(403, "A topic is required, since the other side has or does not want something of this kind."),
    "not_now": Code(409, "Not now."),
    "over_budget": Code(409, "The budget of the grant is used up for this period."),
    "hold_full": Code(409, "Too many messages are held already."),
    "recovering": Code(409, "The server was restored, and not both sides have confirmed their records."),
    # Grants and mutes.
    "index_not_reserved": Code(409, "The status index was not reserved for this side, or is already used."),
    "grant_expired": Code(409, "The end of the grant is in the past, or too far in the future."),
    "too_many_grants": Code(409, "Too many grants are in force."),
    "no_such_grant": Code(409, "No grant of this side with that id is in force."),
    "until_passed": Code(409, "The end is in the past."),
    "unknown_zone": Code(409, "This server does not know the time zone."),
    "too_many_mutes": Code(409, "Too many mutes are in force."),
    "no_such_mute": Code(409, "No such mute is in force."),
    "message_expired": Code(409, "The message has expired."),
    "wrong_proof": Code(409, "The second key did not sign the proof."),
    # Favours.
    "ask_open": Code(409, "An ask in this direction is still open."),
    "cooling_down": Code(409, "It is too soon to ask again."),
    "ask_budget": Code(409, "Too many asks in this period."),
    "after_exempt_notice": Code(409, "It is too soon to ask after an exempt notice."),
    "by_passed": Code(409, "The requested date is in the past."),
    "no_such_ask": Code(409, "No ask with that id is in a state that allows this act."),
    # Notes and milestones.
    "nothing_remembered": Code(409, "There is no note under that key."),
    "too_much_remembered": Code(409, "There are too many notes already."),
    "too_many_milestones": Code(409, "There are too many milestones already."),
    # Feedback.
    "no_such_message": Code(409, "No message of the other side with that id can have feedback."),
    "too_many_contests": Code(409, "Too many contests are in force."),
    "too_much_feedback": Code(409, "Too much feedback in this period."),
    # Connecting.
    "offer_expired": Code(409, "The end of the offer is in the past, or too far in the future."),
    "wrong_home": Code(409, "The offer or agreement names another home server or operator."),
    "key_not_stated": Code(409, "The home server has not published that key."),
    "test_only": Code(409, "The offer or agreement is from a sandbox and valid only there."),
    "too_many_offers": Code(409, "Too many offers are open."),
    "agreement_conflict": Code(409, "The agreement does not fit the offer."),
    # The log.
    "proof_failed": Code(409, "The proof is not valid."),
    "too_few_witnesses": Code(409, "Too few witnesses cosigned the checkpoint."),
    # The business side.
    "invalid_request": Code(400, "The request does not have the required form."),
    "api_key_required": Code(401, "This route requires an API key (Authorization: Bearer)."),
    "no_sandbox": Code(403, "This server has no sandbox."),
    "scope_missing": Code(403, "The API key lacks the required scope."),
    "idempotency_mismatch": Code(422, "The Idempotency-Key was used for another request."),
    "signing_key_not_kept": Code(409, "The business holds its own signing key: send the signed act (JWS)."),
    "too_many_keys": Code(409, "Too many API keys are in force."),
    "last_owner": Code(409, "This is the last API key of an owner."),
    "too_many_drafts": Code(409, "There are too many drafts already."),
    "invite_quota": Code(429, "Too many people were invited in this period."),
    "too_many_notices": Code(429, "Too many notices in this period."),
    "exempt_limit": Code(429, "Too many exempt notices in this period."),
    "not_public": Code(422, "Webhooks may only be sent to public addresses."),
    "not_owned": Code(422, "The endpoint did not confirm that it accepts these webhooks."),
    "too_many_webhooks": Code(409, "Too many webhook endpoints are registered."),
    # Load.
    "rate_limited": Code(429, "Too many requests."),
    "overloaded": Code(503, "The server is overloaded."),
    "disk_full": Code(503, "The server's disk is full."),
    "store_failing": Code(503, "The server cannot write to its store at the moment."),
    "clock_doubtful": Code(503, "The server's clock is in doubt: only acts that restrict the other side are accepted."),
    "internal": Code(500, "Internal server error."),
}


class ComityError(Exception):
    """The root of the tree: every error that Comity raises on purpose is one."""


class Refused(ComityError):
    """The protocol does not accept an input.

    `code` is a key of CODES, and `status` its HTTP status. `detail` tells a person more and never quotes the input.
    `errors` are pairs of a JSON pointer and a description of the fault. `retry_after` is in seconds, set where waiting
    helps. `until` (seconds since the epoch) is the end of "not now", set where the other side shows it.
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
    """The input does not have its required form. Every parser raises this type, whatever its input."""

    def __init__(self, detail: str, *, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__("malformed", detail, errors=errors)


class Unreachable(ComityError):
    """The other end did not answer, or its answer is not one of this protocol. A retry may help."""


class Contradiction(ComityError):
    """The server contradicts what was signed.

    `evidence` holds the signed texts, unchanged, and the answer that contradicts them, so that the caller can pass them
    on.
    """

    def __init__(self, claim: str, evidence: tuple[str, ...] = ()) -> None:
        self.claim = claim
        self.evidence = evidence
        super().__init__(claim)


class Fork(Contradiction):
    """A log shows two histories, or returns to an earlier size than one it signed.

    `checkpoints` holds both signed checkpoints, the smaller tree first. `proof` holds the hashes (base64) that show,
    for the smaller size, another root in the larger tree than the one that was signed. It is empty for two trees of one
    size, and where nobody gave a proof. `file` is the path of the written evidence, None if it could not be written.
    """

    def __init__(
        self, claim: str, checkpoints: tuple[str, str], proof: tuple[str, ...] = (), file: str | None = None
    ) -> None:
        self.checkpoints = checkpoints
        self.proof = proof
        self.file = file
        super().__init__(claim, (*checkpoints, *proof))
