"""What an engineer reads first: the introduction of the API page, and what each group of routes is for."""

ABOUT = """\
Comity keeps *mutual* connections: your customer and you have both signed what you may come for, and each side can mute
or end it. This interface is how your systems take part. It can do nothing that the rules of a connection do not allow:
where a customer said "no" or "not now", you get that as an answer, before anybody is annoyed.

**Start here**

1. Ask the operator of this server for your first API key (`comity business create NAME`), or make one for each of your
   systems with `POST /keys`. Press **Authorize**, paste it, and try `GET /self`.
2. Make an offer (`POST /offers`) and show its QR code. A customer who accepts it is a connection.
3. Before you write, ask: `POST /check`. Then write: `POST /connections/{connection}/messages`.
4. Learn what customers do by `GET /notifications`, or have it brought to you by a webhook.

**Keys and roles.** `Authorization: Bearer ck_live_…`, and nowhere else. A key has a role (owner, agent, marketer,
auditor, read_only); each route says which scope it takes.

**Writing twice does no harm.** Every route that changes something takes an `Idempotency-Key`. The same request with the
same key gets the first answer again, for 24 hours, with `Idempotency-Replayed: true`. The keys of two of your systems
never meet: each belongs to the API key that sent it, and to its successors by rotation.

**Refusals** are problem documents (RFC 9457). Decide by `code`; [every code is explained](/docs/errors). On `429` and
`503`, `Retry-After` says when to come back. Each answer has an `X-Request-Id`: tell us that one when something is odd.

**Lists** have a `cursor`: send it back for the next page. A page can be short while there is more; without a cursor
you have reached the end.

**Times** are RFC 3339. Ids say nothing; do not take them apart. A member that has no value is left out, never `null`;
what you send with members that a route does not know is refused. What you get may have new members one day: pass over
those that you do not know.

**Who signs.** What you do here becomes signed acts. Most businesses leave their signing key with this server, and then
it signs. If you keep the key yourself, send the signed act as the body of the same route (`application/jwt`).
"""

AREAS = {
    "keys": "API keys, and the seats of your staff. Give each system a key of its own, with no more than it needs.",
    "offers": "What you put onto the counter: an offer to connect, as a link, a QR code or a poster.",
    "proposals": "Customers who have signed and wait for your signature.",
    "connections": "Your customers as both sides see the connection: what is allowed, and what happened.",
    "check": "May we write? Ask before you do: for one customer, or for a whole list.",
    "messages": "Writing to a customer.",
    "drafts": "Messages that did not go out, kept so that nobody has to write them again.",
    "favours": "Asking somebody for a favour, and returning it.",
    "door": "What may reach you: mute a customer for a while, unmute, end a connection; what you allow her to do.",
    "feedback": "What a message was like: yours to customers, theirs to you; and consents that you give up.",
    "notices": "One text for all of your customers: that you are away, and what you mean to do.",
    "notifications": "What your customers did: page by page, or as it happens.",
    "webhooks": "The same, brought to an address of yours (Standard Webhooks).",
    "duties": "After the end of a connection: saying what became of the customer's data.",
    "report": "How your messages fared, day by day.",
}
"""Tag → what its routes are for, in the order of the page."""
