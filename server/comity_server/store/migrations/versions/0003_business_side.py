"""What businesses work with over REST: sealed signing keys, API keys, seats, what was done by whom, and what is kept
for them: drafts, counts, answers to requests that may be repeated.

Everything that names a business begins its key with the name, everything that names a connection with the connection.
"""

import base64
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = (
    "webhooks",
    "duties",
    "counts",
    "drafts",
    "business_offers",
    "relations",
    "idempotent",
    "doings",
    "seat_secrets",
    "seats",
    "api_keys",
    "kept_keys",
)


def upgrade() -> None:
    """Make the tables."""
    _keys_and_people()
    _what_was_done()
    _connections_and_offers()
    _drafts_webhooks_and_duties()
    _what_is_there()
    _what_has_ended()
    # When news were told, for those who ask for all since then.
    op.add_column("inbox", sa.Column("told_at", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    """Take them away."""
    op.drop_column("inbox", "told_at")
    op.drop_index("offers_expires_at", "offers")
    op.drop_index("proposals_waiting", "proposals")
    for table in TABLES:
        op.drop_table(table)


def _text(name: str, *, key: bool = False, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=null)


def _number(name: str, *, key: bool = False, null: bool = False) -> sa.Column[int]:
    # Without autoincrement=False an integer key would become the engine's own row number.
    return sa.Column(name, sa.BigInteger, primary_key=key, nullable=null, autoincrement=False)


def _cid(*, key: bool = False) -> sa.Column[str]:
    return sa.Column("cid", sa.Text, sa.ForeignKey("connections.cid"), primary_key=key, nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _table(name: str, *columns: sa.Column[Any]) -> None:
    op.create_table(name, *columns, sqlite_with_rowid=False)


def _keys_and_people() -> None:
    op.create_table("kept_keys", _text("name", key=True), _text("kid", key=True), _bytes("sealed"), _number("added_at"))
    op.create_table(
        "api_keys",
        _text("name", key=True),
        _text("id", key=True),
        _text("hash"),
        _text("role"),
        _text("scopes"),
        _text("seat", null=True),
        _text("label"),
        _number("created_at"),
        _number("expires_at", null=True),
        _number("last_used_at", null=True),
    )
    op.create_index("api_keys_hash", "api_keys", ["hash"], unique=True)
    _table("seats", _text("name", key=True), _text("seat", key=True), _number("created_at"))
    op.create_table("seat_secrets", _text("name", key=True), _bytes("sealed"))


def _what_was_done() -> None:
    _table(
        "doings",
        _cid(key=True),
        _text("act", key=True),
        _text("key_id"),
        _text("seat", null=True),
    )
    op.create_table(
        "idempotent",
        _text("name", key=True),
        _text("key", key=True),
        _text("request"),
        _number("status"),
        _text("location", null=True),
        _bytes("body"),
        _number("at"),
    )
    op.create_index("idempotent_at", "idempotent", ["at"])
    _table("counts", _text("name", key=True), _number("day", key=True), _text("what", key=True), _number("n"))


def _connections_and_offers() -> None:
    op.create_table(
        "relations",
        _cid(key=True),
        _text("name", key=True),
        _text("side"),
        _text("offer"),
        _number("opened_at"),
    )
    op.create_index("relations_name", "relations", ["name", "opened_at", "cid"])
    op.create_index("relations_offer", "relations", ["name", "offer", "opened_at", "cid"])
    op.create_table(
        "business_offers",
        _text("name", key=True),
        _text("short", key=True),
        _text("label"),
        _number("countersign"),
        _text("uses"),
        _number("created_at"),
    )
    op.create_index("business_offers_uses", "business_offers", ["name", "uses", "created_at"])
    op.create_index("business_offers_created_at", "business_offers", ["name", "created_at", "short"])
    # A business publishes offers every day: the open ones and the halves that wait are looked for by when they end.
    op.create_index("offers_expires_at", "offers", ["iss", "expires_at"])
    op.create_index("proposals_waiting", "proposals", ["first_did", "phase", "countersign_by", "cid"])


def _drafts_webhooks_and_duties() -> None:
    op.create_table(
        "drafts",
        _text("name", key=True),
        _text("id", key=True),
        _text("cid"),
        _bytes("sealed"),
        _number("waits"),
        _number("created_at"),
        _number("updated_at"),
    )
    op.create_index("drafts_waiting", "drafts", ["name", "waits"])
    op.create_index("drafts_created_at", "drafts", ["name", "created_at", "id"])
    op.create_index("drafts_updated_at", "drafts", ["updated_at"])
    op.create_table(
        "webhooks",
        _text("name", key=True),
        _text("id", key=True),
        _text("url"),
        _text("types"),
        _number("enabled"),
        _bytes("sealed"),
        _number("after"),
        _number("created_at"),
    )
    op.create_table(
        "duties",
        _cid(key=True),
        _text("name", key=True),
        _number("due_at"),
        _text("ended_by"),
        _number("done_at", null=True),
        _text("statement", null=True),
    )
    op.create_index("duties_due_at", "duties", ["name", "due_at", "cid"])
    op.create_index("duties_done_at", "duties", ["name", "done_at", "due_at", "cid"])


def _what_is_there() -> None:
    """Take in the connections and offers of businesses that were here before."""
    op.execute(
        "INSERT INTO relations (cid, name, side, offer, opened_at) "
        "SELECT s.cid, b.name, s.side, p.offer, e.at FROM sides s JOIN businesses b ON b.did = s.stream "
        "JOIN proposals p ON p.cid = s.cid JOIN events e ON e.cid = s.cid AND e.kind = 'opened'"
    )
    bind = op.get_bind()
    query = "SELECT b.name, o.short, o.uses, o.raw FROM offers o JOIN businesses b ON b.did = o.iss"
    made = sa.text(
        "INSERT INTO business_offers (name, short, label, countersign, uses, created_at) "
        "VALUES (:name, :short, '', 0, :uses, :at)"
    )
    for name, short, uses, raw in bind.execute(sa.text(query)).fetchall():
        payload = raw.split(".")[1]
        members = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        bind.execute(made, {"name": name, "short": short, "uses": uses, "at": members["iat"] * 1000})


_MONTH = 30 * 86_400_000
"""ms in which a business is to say what became of the data."""


def _what_has_ended() -> None:
    """Tell the connections that ended before when that was, and by whom: the last that happened in them was a revoke.
    From then on businesses owe an account."""
    bind = op.get_bind()
    last = sa.text("SELECT side FROM acts WHERE cid = :cid ORDER BY accepted_at DESC LIMIT 1")
    told = sa.text("UPDATE connections SET state = :state WHERE cid = :cid")
    whose = sa.text("SELECT b.name, s.side FROM sides s JOIN businesses b ON b.did = s.stream WHERE s.cid = :cid")
    owed = sa.text(
        "INSERT INTO duties (cid, name, due_at, ended_by, done_at, statement) "
        "VALUES (:cid, :name, :due_at, :ended_by, :done_at, :statement)"
    )
    ended = sa.text("SELECT cid, state, at FROM connections WHERE phase = 'ended'")
    for cid, raw, at in bind.execute(ended).fetchall():
        state = json.loads(raw)
        if "ended_at" not in state:
            state |= {"ended_at": at, "ended_by": bind.execute(last, {"cid": cid}).scalar_one()}
            ending = json.dumps({name: state[name] for name in ("ended_at", "ended_by")}, separators=(",", ":"))
            bind.execute(told, {"cid": cid, "state": bytes(raw)[:-1] + b"," + ending[1:].encode()})
        for name, side in bind.execute(whose, {"cid": cid}).fetchall():
            said = state[side].get("erasure", {})
            row = {"cid": cid, "name": name, "due_at": state["ended_at"] + _MONTH}
            row |= {"ended_by": "us" if state["ended_by"] == side else "them"}
            bind.execute(owed, {**row, "done_at": said.get("first_at"), "statement": said.get("id")})
