"""What each code means to whoever gets it, and what to do: the page of codes is made of this (BIZ-10)."""

from typing import NamedTuple


class Advice(NamedTuple):
    """Why a request is refused with a code, and what helps."""

    means: str
    do: str


_AGAIN = "Read the connection again, compose the act for where its chain is now, and sign it anew."

ADVICE: dict[str, dict[str, Advice]] = {
    "What cannot be read": {
        "malformed": Advice(
            "The path, the query, a header or the body is not what this route takes. Nothing was changed.",
            "Look at `errors`: each has a JSON Pointer to the fault. Members that a route does not know, `null`, and"
            " names that are there twice are faults too.",
        ),
        "too_large": Advice(
            "The body has more bytes than are taken.", "Send less at once; long lists in several requests."
        ),
        "too_slow": Advice("The body stopped coming.", "Send it again, on a new connection."),
        "unsupported_media_type": Advice(
            "`Content-Type` is missing, or not one of those that the route takes; or the body is compressed.",
            "Send `Content-Type: application/json`, or what the page of the route names, without `Content-Encoding`.",
        ),
        "method_not_allowed": Advice(
            "The path is right, the method is not.", "The `Allow` header names those that are."
        ),
    },
    "Who says it": {
        "bad_signature": Advice(
            "The text was not signed by the key that it names, or was changed after that.",
            "Sign exactly the bytes that you send, with the key that `kid` names.",
        ),
        "unknown_key": Advice(
            "The key that `kid` names is not one of its owner's.", "Publish the key first; look for a slip in its name."
        ),
        "signature_required": Advice("This is a route for wallets: they sign each request.", "Sign it by RFC 9421."),
        "signature_stale": Advice(
            "The request was signed too long ago, too far ahead, or before the server was started.",
            "Set the clock right, and sign it anew.",
        ),
        "signature_replayed": Advice("This very request came before.", "Sign each request anew, with a fresh nonce."),
    },
    "What is not there": {
        "not_found": Advice(
            "There is nothing of that name, or it is not yours: the answer is the same, so that nobody can find out"
            " what others have.",
            "Look for a slip in the id, and whether the API key is that of the right business.",
        ),
        "cursor_expired": Advice(
            "You come with a cursor from so long ago that the notifications behind it are not kept any more.",
            "Begin again without a cursor, and read the timelines of your connections for what you missed.",
        ),
    },
    "Acts that you sign yourself": {
        "wrong_audience": Advice(
            "The act is addressed to somebody else.", "Set `aud` to the other side's current name."
        ),
        "key_replaced": Advice("A newer key has taken the place of this one.", "Sign with the newest key."),
        "seq_taken": Advice("Another act of yours came first.", _AGAIN),
        "seq_gap": Advice("The server lacks acts of yours that come before this one.", "Send those first, in order."),
        "prev_mismatch": Advice("The act does not follow the last one of its chain.", _AGAIN),
        "iat_out_of_range": Advice(
            "By the time in it, the act was signed more than ten minutes ago, or ahead.",
            "Set the clock right, and sign the act anew.",
        ),
        "after_refused": Advice(
            "An act before this one in the same batch was refused.", "See to that one first, then send this one again."
        ),
        "wrong_proof": Advice(
            "The new key has not signed that it is to take over.", "Let the new key sign the rotation."
        ),
    },
    "The connection": {
        "connection_ended": Advice(
            "One side has ended the connection, for good: nothing reaches the other any more.",
            "Stop writing. Who wants to come back accepts a new offer.",
        ),
        "connection_open": Advice(
            "This is said after a connection has ended, and this one has not.",
            "End the connection first, if that is meant.",
        ),
        "too_many_statements": Advice(
            "As many statements about this connection were made as are taken.", "Make one that says all of it."
        ),
    },
    "What the customer allows": {
        "no_grant": Advice(
            "The customer has not allowed this purpose on this channel, or no longer does.",
            "Do not write. Ask for permission once, when there is a good occasion.",
        ),
        "already_has": Advice(
            "The customer has what this is about.", "Sell it to somebody else; a check-in may be welcome."
        ),
        "no_interest": Advice("The customer said that this is of no interest.", "Leave the topic alone."),
        "topic_needed": Advice(
            "The customer has, or does not want, something of this kind, and nobody can say whether this is it.",
            "Name what exactly it is about in `topic`, in a word that does not take that in.",
        ),
        "not_now": Advice(
            "The customer wants to be left alone for the moment. Why is nobody's business.",
            "Wait. Where `until` is there, it says until when. A message that may be held comes by itself later on.",
        ),
        "over_budget": Advice(
            "The customer said how often you may write, and that is used up.",
            "Wait for the next period, or write less.",
        ),
        "recovering": Advice(
            "The server was put back from a backup and may lack what was said since.",
            "Wait: it goes on by itself once the customer's wallet has been in touch. A business that signs for itself "
            "hands in its own acts and confirms as well.",
        ),
        "hold_full": Advice(
            "Too many messages to this customer are waiting already.", "Wait; newer ones on a topic replace the older."
        ),
        "message_expired": Advice("The message's own end has passed.", "Give it a later end, if it is still worth it."),
    },
    "Feedback": {
        "no_such_message": Advice(
            "There is no message of the other side of that id that feedback can be about: it is unknown, or did not"
            " reach you, or is older than 90 days.",
            "Take the id of a message that you received.",
        ),
        "too_many_contests": Advice(
            "As many contests are in force as there can be.", "Take one back, by other feedback on its message."
        ),
        "too_much_feedback": Advice("You gave much feedback within 30 days.", "Wait; a contest is still taken."),
    },
    "Grants and mutes": {
        "index_not_reserved": Advice(
            "The place in the status list was not reserved for this side, or was used.", "Reserve one for each grant."
        ),
        "grant_expired": Advice(
            "The grant would end before it begins, or too late.", "Give it an end within ten years."
        ),
        "too_many_grants": Advice(
            "You have given as many grants as can be in force.", "Withdraw one that is not needed."
        ),
        "no_such_grant": Advice(
            "No grant of yours with that id is in force.", "Look at the connection: it may have ended."
        ),
        "until_passed": Advice("The time you named has passed.", "Name one in the future."),
        "unknown_zone": Advice("The server does not know this time zone.", "Take a name of the IANA database."),
        "too_many_mutes": Advice("As many mutes are in force as there can be.", "Unmute one, or mute everything."),
        "no_such_mute": Advice("No such mute is in force: it may have ended by itself.", "Nothing needs to be done."),
    },
    "Favours": {
        "ask_open": Advice(
            "You have asked this customer something already.", "Wait for the answer: one ask at a time."
        ),
        "cooling_down": Advice(
            "The last answer was no, or not now.", "Give it time; asking again soon costs goodwill."
        ),
        "ask_budget": Advice("You have asked this customer often in this period.", "Wait for the next one."),
        "after_exempt_notice": Advice(
            "A safety notice went out shortly before.", "Wait a day: nobody should be asked for something with it."
        ),
        "by_passed": Advice("The date until which you ask has passed.", "Name one in the future."),
        "no_such_ask": Advice(
            "There is no ask of that id which this answers: perhaps it was answered, or ended.", "Look at the favours."
        ),
    },
    "The little things": {
        "nothing_remembered": Advice("Nothing is remembered under that key.", "Nothing needs to be done."),
        "too_much_remembered": Advice("As much is remembered as there can be.", "Forget something first."),
        "too_many_milestones": Advice("As many milestones are kept as there can be.", "Keep to those that matter."),
    },
    "Connecting": {
        "offer_expired": Advice("The offer would end before it begins, or too late.", "Give it another end."),
        "wrong_home": Advice("The text names another server or operator.", "Take those of this server."),
        "key_not_stated": Advice(
            "The text names a key that its home server does not state as its own.",
            "Take the key from the server's document, and make the text anew.",
        ),
        "test_only": Advice(
            "The offer or agreement is marked as a test, and this server is no sandbox.",
            "Leave `test` out, or use a server that is for trying things out.",
        ),
        "too_many_offers": Advice("As many offers are open as there can be.", "End one that is no longer shown."),
        "agreement_conflict": Advice(
            "The agreement is not what the offer says, or the offer was used.", "Start again from the offer as it is."
        ),
    },
    "The log": {
        "proof_failed": Advice("The receipt does not prove this act.", "Ask for the act's own receipt."),
        "too_few_witnesses": Advice("Fewer witnesses have signed than you ask for.", "Try again in a minute."),
    },
    "API keys": {
        "api_key_required": Advice(
            "There is no API key in the request, or none that is good: misspelt, ended, or never was.",
            "Send `Authorization: Bearer ck_live_…`. If it was ended, make another with a key of an owner, or ask the"
            " operator of the server.",
        ),
        "no_sandbox": Advice(
            "A key of a sandbox was used, and this server has none.", "Use a key that begins `ck_live_`."
        ),
        "scope_missing": Advice(
            "The key is good, and is not for this. Nothing was looked at.",
            "Use a key whose role has the scope, or ask an owner for one. `GET /v1/business/self` shows what a key may"
            " do.",
        ),
        "idempotency_mismatch": Advice(
            "The same `Idempotency-Key` came before, with another request.",
            "Take a new key for each new request; keep it only for trying the very same one again.",
        ),
        "too_many_keys": Advice("Your business has as many API keys as there can be.", "End those that are not used."),
        "last_owner": Advice(
            "Without this key nobody could manage keys any more.", "Make another key of an owner first, without an end."
        ),
    },
    "Your business": {
        "signing_key_not_kept": Advice(
            "Your business has not left its signing key with this server, so it cannot sign for you.",
            "Sign the act yourself, and send it as the body of the same route (`Content-Type: application/jwt`).",
        ),
        "too_many_drafts": Advice("As many drafts are kept as there can be.", "Send or delete some."),
        "invite_quota": Advice(
            "So many personal offers were made that it looks like mail to strangers.", "Come back after `Retry-After`."
        ),
        "too_many_notices": Advice(
            "So many notices were published within a year that customers would stop reading them.",
            "Come back after `Retry-After`. Ending a notice (`until` now) is always possible.",
        ),
        "exempt_limit": Advice(
            "So many safety, security or legal notices went to this customer that they would lose their weight.",
            "Put them together; or send what is no such notice as what it is.",
        ),
    },
    "Webhooks": {
        "not_public": Advice(
            "The URL leads to no public address, or not by HTTPS.", "Give one that can be reached from the internet."
        ),
        "not_owned": Advice(
            "The endpoint did not answer the challenge, so nobody knows whether it wants these webhooks.",
            "Let it answer the challenge as described, then verify it once more.",
        ),
        "too_many_webhooks": Advice("You have as many endpoints as there can be.", "Delete one that is not used."),
    },
    "Load": {
        "rate_limited": Advice(
            "Too many requests in a minute.",
            "Wait for `Retry-After`. `RateLimit` in each answer says how many are left.",
        ),
        "overloaded": Advice(
            "The server has its hands full. Nothing was changed.",
            "Try again after `Retry-After`, a little later each time.",
        ),
        "disk_full": Advice(
            "The server has no room to write. Nothing was changed; what can be read is answered.",
            "Try again after `Retry-After`, and tell the operator if it stays.",
        ),
        "store_failing": Advice(
            "The server cannot write, or does not know whether it did.",
            "Try again after `Retry-After`, with the same `Idempotency-Key`.",
        ),
        "clock_doubtful": Advice(
            "The server is in doubt about its clock. What says no is taken, and nothing else.",
            "Write to nobody, and try again after `Retry-After`; tell the operator if it stays.",
        ),
        "internal": Advice(
            "A mistake of the server. It may or may not have changed something.",
            "Try again with the same `Idempotency-Key`. If it stays, tell the operator the `X-Request-Id`.",
        ),
    },
}
"""Heading → code → advice: all of CODES."""
