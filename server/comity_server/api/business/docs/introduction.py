"""The introduction of the API page, and a description of each tag."""

ABOUT = """\
Comity keeps *mutual* connections: you and your customer have both signed the purposes for which you may write, and
either side can mute or end the connection. Your systems take part through this API. It allows nothing that the rules of
a connection forbid: where a customer has said "no" or "not now", the API tells you before the customer is disturbed.

**Start here**

1. Get your first API key from the operator of this server (`comity business create NAME`), or create one for each of
   your systems with `POST /keys`. Press **Authorize**, paste the key, and try `GET /self`.
2. Create an offer (`POST /offers`) and show its QR code. A customer who accepts it becomes a connection.
3. Check before you write: `POST /check`. Then write: `POST /connections/{connection}/messages`.
4. Follow what customers do with `GET /notifications?order=oldest`, or let a webhook deliver it.

**Keys and roles.** Send the key as `Authorization: Bearer ck_live_…`, and nowhere else. A key has a role (owner, agent,
marketer, auditor, read_only). Each route names the scope that it requires.

**Retries are safe.** Every route that changes something takes an `Idempotency-Key`. Within 24 hours, the same request
with the same key gets the first answer again, with `Idempotency-Replayed: true`. An `Idempotency-Key` belongs to the
API key that sent it, and to its successors by rotation, so two of your systems cannot collide.

**Errors** are problem documents (RFC 9457). Decide by `code`; [the error guide](/docs/errors) explains every code. On
`429` and `503`, `Retry-After` says when to try again. Each answer has an `X-Request-Id`: give it to the operator when
you report a problem.

**Lists** begin with the newest item. Send the `next_cursor` of a page back as `cursor` for the next page. A page can be
short while more follow; the last page has no `next_cursor`.

**Resources** have an `id`, and an `object` that says what they are: a `connection`, a `message`, an `offer`. Their
state is in `status`. A member that holds the id of another resource has that one's name, as `connection` and `draft`.

**Times** are RFC 3339. Ids are opaque. A member without a value is absent, never `null`. A request with a member that
the route does not know is refused. Answers can get new members in later versions: ignore those that you do not know.

**Signatures.** Your requests become signed acts. Most businesses leave their signing key with this server, and then the
server signs. If you keep the key yourself, send the signed act as the body of the same route (`application/jwt`).
"""

AREAS = {
    "keys": "API keys, and seats for members of staff. Give each system its own key, with the scopes that it needs.",
    "offers": "Offers to connect, as a link, a QR code or a poster.",
    "proposals": "Agreements that a customer has signed and that wait for your signature.",
    "connections": "Your customers: the permissions of both sides, and the history of each connection.",
    "check": "Permission checks before you write: for one customer, or for a whole list.",
    "messages": "Messages to a customer, and contacts outside the app.",
    "drafts": "Messages that were not sent. You can edit and send them later.",
    "notes": "Notes about a customer, and milestones such as a purchase. Your customer can read both.",
    "favours": "Favours that you ask of a customer, and favours that a customer asks of you.",
    "permissions": "Mute and unmute a customer, end a connection, and grant, withdraw and give up permissions.",
    "feedback": "Feedback on messages in both directions, and contests of your customers.",
    "notices": "Notices for all of your customers: your absence, and your plans.",
    "notifications": "Acts of your customers, as a list or as a feed.",
    "webhooks": "The same notifications, delivered to your own endpoint (Standard Webhooks).",
    "erasures": "Statements, after the end of a connection, about the deletion of the customer's data.",
    "report": "Daily counts of what became of your messages.",
}
"""Tag → description, in the order of the page."""
