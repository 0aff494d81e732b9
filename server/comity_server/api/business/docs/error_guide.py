"""The meaning of each refusal code and what to do about it: the texts of the error guide (BIZ-10)."""

from typing import NamedTuple


class Advice(NamedTuple):
    """The cause of a refusal, and the remedy."""

    means: str
    do: str


_REBASE = "Read the connection again, compose the act for the current head of its chain, and sign it again."

ADVICE: dict[str, dict[str, Advice]] = {
    "Invalid requests": {
        "invalid_request": Advice(
            "The path, the query, a header or the body does not have the form that this route takes. Nothing was"
            " changed.",
            "Look at `errors`: `in` is the part of the request, `pointer` the place in it. Members that the route does"
            " not know, `null`, and names that occur twice are faults too.",
        ),
        "malformed": Advice(
            "A signed text, or a request of the signed protocol, does not have its form. Nothing was changed.",
            "Compare it with the specification. `errors` has a JSON Pointer to each fault.",
        ),
        "too_large": Advice(
            "The body is larger than the limit.", "Send less in one request; split a long list into several requests."
        ),
        "too_slow": Advice("The body did not arrive in time.", "Send the request again on a new connection."),
        "unsupported_media_type": Advice(
            "`Content-Type` is missing or not one that the route takes, or the body has a content coding.",
            "Send `Content-Type: application/json`, or the type that the page of the route names, without"
            " `Content-Encoding`.",
        ),
        "method_not_allowed": Advice(
            "The path exists, but it does not take this method.", "Use a method that the `Allow` header names."
        ),
    },
    "Signatures": {
        "bad_signature": Advice(
            "The signature does not match the text and the key that the text names.",
            "Sign exactly the bytes that you send, with the key that `kid` names.",
        ),
        "unknown_key": Advice(
            "The owner of the key that `kid` names has not published it.",
            "Publish the key first, and check its name for typos.",
        ),
        "signature_required": Advice(
            "This route is for wallets, which sign each request.", "Sign the request (RFC 9421)."
        ),
        "signature_stale": Advice(
            "The request was signed too long ago, too far in the future, or before the server started.",
            "Correct the clock, and sign the request again.",
        ),
        "signature_replayed": Advice(
            "The server has received this signed request before.", "Sign each request anew, with a fresh nonce."
        ),
    },
    "Missing things": {
        "not_found": Advice(
            "There is nothing with this id, or it belongs to another business. The answer is the same in both cases, so"
            " that it reveals nothing about others. `detail` says what was looked for.",
            "Check the id for typos, and check that the API key belongs to the right business.",
        ),
        "cursor_expired": Advice(
            "The cursor is so old that the server has deleted notifications that come after it.",
            "Start again without a cursor, and read the timelines of your connections for what you missed.",
        ),
    },
    "Acts that you sign yourself": {
        "wrong_audience": Advice(
            "The act is addressed to another party.", "Set `aud` to the current name (DID) of the other side."
        ),
        "key_replaced": Advice("A newer key has replaced this one.", "Sign with the newest key."),
        "seq_taken": Advice("Another act of yours has this sequence number.", _REBASE),
        "seq_gap": Advice(
            "The server lacks acts of yours that come before this one.", "Send the missing acts first, in order."
        ),
        "prev_mismatch": Advice("`prev` is not the hash of the last act of the chain.", _REBASE),
        "iat_out_of_range": Advice(
            "`iat` is more than ten minutes before or after the time of the server.",
            "Correct the clock, and sign the act again.",
        ),
        "after_refused": Advice(
            "The server refused an earlier act of the same batch.", "Correct that act first, then send this one again."
        ),
        "wrong_proof": Advice(
            "The new key has not signed the key rotation.", "Sign the rotation with the new key as well."
        ),
    },
    "The connection": {
        "connection_ended": Advice(
            "One side has ended the connection. This is final: nothing reaches the other side any more.",
            "Stop writing. A new connection starts with a new offer.",
        ),
        "connection_open": Advice(
            "An erasure statement needs a connection that has ended.", "End the connection first, if you mean to."
        ),
        "too_many_statements": Advice(
            "The connection has the largest number of erasure statements.", "No further statement is possible."
        ),
    },
    "Permissions of the customer": {
        "no_grant": Advice(
            "The customer has not granted this purpose on this channel, or the grant has ended.",
            "Do not write. Ask for permission once, when there is a good occasion.",
        ),
        "already_has": Advice(
            "The customer already has what the message is about.", "Do not sell it to her again; a check-in may help."
        ),
        "no_interest": Advice("The customer has said that this topic does not interest her.", "Avoid the topic."),
        "topic_needed": Advice(
            "The customer has, or does not want, something in this category, and the message has no exact topic.",
            "Name the exact topic in `topic`.",
        ),
        "not_now": Advice(
            "The customer does not want to be reached at the moment. The reason is private.",
            "Wait. `ends_at` is the end, where the customer shows it. A message that may be held is delivered later.",
        ),
        "over_budget": Advice(
            "You have sent as many messages as the customer allows in this period.",
            "Wait for the next period, or write less often.",
        ),
        "recovering": Advice(
            "The server was restored from a backup and may lack recent acts of the customer.",
            "Wait until the customer's wallet has confirmed what it holds. A business that signs for itself also hands"
            " in its own acts and confirms.",
        ),
        "hold_full": Advice(
            "Too many messages to this customer are held already.",
            "Wait. A newer message on a topic replaces the held one.",
        ),
        "message_expired": Advice(
            "The expiry of the message has passed.", "Give it a later expiry, or do not send it."
        ),
    },
    "Feedback": {
        "no_such_message": Advice(
            "No message with this id can get feedback: it is unknown, did not reach you, or is older than 90 days.",
            "Use the id of a message that you received.",
        ),
        "too_many_contests": Advice(
            "You have as many contests in force as are allowed.", "Take one back: give other feedback on its message."
        ),
        "too_much_feedback": Advice(
            "You gave as much feedback as is allowed within 30 days.", "Wait. A contest is still accepted."
        ),
    },
    "Grants and mutes": {
        "index_not_reserved": Advice(
            "The index in the status list is not reserved for this side, or was used before.",
            "Reserve an index for each grant.",
        ),
        "grant_expired": Advice(
            "The grant ends before it begins, or more than ten years ahead.", "Choose an end within ten years."
        ),
        "too_many_grants": Advice("You have as many grants in force as are allowed.", "Withdraw a grant."),
        "no_such_grant": Advice(
            "No grant of yours with this id is in force.", "Read the connection: the grant may have ended."
        ),
        "until_passed": Advice("The time in the request has passed.", "Choose a time in the future."),
        "unknown_zone": Advice("The server does not know the time zone.", "Use a name of the IANA time zone database."),
        "too_many_mutes": Advice("As many mutes are in force as are allowed.", "End one, or mute everything."),
        "no_such_mute": Advice("No mute with this id is in force. It may have expired.", "Nothing needs to be done."),
    },
    "Favours": {
        "ask_open": Advice(
            "You have an open ask to this customer.", "Wait for the answer: one ask at a time is possible."
        ),
        "cooling_down": Advice("The customer answered the last ask with no, or not now.", "Wait before you ask again."),
        "ask_budget": Advice(
            "You have asked this customer as often as is allowed in this period.", "Wait for the next period."
        ),
        "after_exempt_notice": Advice(
            "You sent a safety, security or legal notice to this customer less than a day ago.", "Wait a day."
        ),
        "by_passed": Advice("The date until which you ask has passed.", "Choose a date in the future."),
        "no_such_ask": Advice(
            "No ask with this id is open for this step: it may have been answered, or have lapsed.",
            "Read the favours of the connection.",
        ),
    },
    "Notes and milestones": {
        "nothing_remembered": Advice("There is no note with this key and topic.", "Nothing needs to be done."),
        "too_much_remembered": Advice("There are as many notes as are allowed.", "Delete a note first."),
        "too_many_milestones": Advice(
            "There are as many milestones as are allowed.", "Record only milestones that matter."
        ),
    },
    "Connecting": {
        "offer_expired": Advice(
            "The offer ends before it begins, or too far in the future.", "Choose another end of the offer."
        ),
        "wrong_home": Advice(
            "The signed text names another server or operator.", "Use the names of this server and its operator."
        ),
        "key_not_stated": Advice(
            "The home server has not published the key that the signed text names.",
            "Take the key from the server's key document, and make the text again.",
        ),
        "test_only": Advice(
            "The offer or agreement is marked as a test, and this server is not a sandbox.",
            "Leave `test` out, or use a sandbox server.",
        ),
        "too_many_offers": Advice(
            "You have as many open offers as are allowed.", "Delete an offer that is not in use."
        ),
        "agreement_conflict": Advice(
            "The agreement does not match the offer, or the offer was used.", "Read the offer again, and start anew."
        ),
    },
    "The log": {
        "proof_failed": Advice("The receipt does not prove this act.", "Fetch the receipt of this act."),
        "too_few_witnesses": Advice(
            "Fewer witnesses have signed the checkpoint than you require.", "Try again in a minute."
        ),
    },
    "API keys": {
        "api_key_required": Advice(
            "The request has no API key, or its key is misspelt, expired or unknown.",
            "Send `Authorization: Bearer ck_live_…`. If the key has ended, create another with the key of an owner, or"
            " ask the operator of the server.",
        ),
        "no_sandbox": Advice(
            "The request has the key of a sandbox, and this server has no sandbox.",
            "Use a key that begins with `ck_live_`.",
        ),
        "scope_missing": Advice(
            "The API key lacks the required scope. Nothing was looked at.",
            "Use a key whose role has the scope, or ask an owner for one. `GET /v1/business/self` shows the scopes of"
            " a key.",
        ),
        "idempotency_mismatch": Advice(
            "This `Idempotency-Key` was used with another request.",
            "Use a new key for each new request. Repeat a key only to retry the same request.",
        ),
        "too_many_keys": Advice("Your business has as many API keys as are allowed.", "Delete keys that are not used."),
        "last_owner": Advice(
            "Without this key nobody could manage the API keys.", "Create another owner's key without an end first."
        ),
    },
    "Your business": {
        "signing_key_not_kept": Advice(
            "The server does not keep your signing key, so it cannot sign for you.",
            "Sign the act yourself, and send it as the body of the same route (`Content-Type: application/jwt`).",
        ),
        "too_many_drafts": Advice("You have as many drafts as are allowed.", "Send or delete some."),
        "invite_quota": Advice(
            "You created as many personal offers as are allowed within a day.", "Come back after `Retry-After`."
        ),
        "too_many_notices": Advice(
            "You published as many notices as are allowed within a year.",
            "Come back after `Retry-After`. You can always end a notice (`ends_at` now).",
        ),
        "exempt_limit": Advice(
            "You sent as many safety, security and legal notices to this customer as are allowed within 30 days.",
            "Combine several notices into one. Send everything else under its own purpose.",
        ),
    },
    "Webhooks": {
        "not_public": Advice(
            "The URL does not lead to a public address, or is not HTTPS.", "Use a URL that the internet can reach."
        ),
        "not_owned": Advice(
            "The endpoint has not answered the challenge, so the server does not know whether it accepts webhooks.",
            "Let the endpoint answer the challenge as described, then verify it again.",
        ),
        "too_many_webhooks": Advice(
            "You have as many webhook endpoints as are allowed.", "Delete one that is not used."
        ),
    },
    "Load": {
        "rate_limited": Advice(
            "The API key, or the address, sent too many requests in a minute.",
            "Wait for `Retry-After`. `RateLimit` in each answer says how many requests are left.",
        ),
        "overloaded": Advice(
            "The server is at its limit. Nothing was changed.",
            "Try again after `Retry-After`, and wait longer each time.",
        ),
        "disk_full": Advice(
            "The server's disk is full. Nothing was changed; reading still works.",
            "Try again after `Retry-After`. Tell the operator if it lasts.",
        ),
        "store_failing": Advice(
            "The server cannot write to its database, or does not know whether it did.",
            "Try again after `Retry-After`, with the same `Idempotency-Key`.",
        ),
        "clock_doubtful": Advice(
            "The server does not trust its clock. It accepts only acts that narrow permissions.",
            "Do not write to customers. Try again after `Retry-After`, and tell the operator if it lasts.",
        ),
        "internal": Advice(
            "Internal server error. The request may or may not have changed something.",
            "Try again with the same `Idempotency-Key`. If it fails again, tell the operator the `X-Request-Id`.",
        ),
    },
}
"""Heading → code → advice, for every code of CODES."""
