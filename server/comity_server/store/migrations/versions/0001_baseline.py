"""The one schema that stores begin with.

Times are integers: milliseconds since the epoch. Primary keys start with the connection where there is one, and with
the business where there is one, so that a distributed engine keeps what belongs together in one place. Counters are the
server's own, never the engine's.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "v3_0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "contests",
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
    "meta",
    "heads",
    "tiles",
    "entries",
    "home_places",
    "home_statements",
    "business_keys",
    "notices",
    "businesses",
    "status_entries",
    "inbox",
    "proposals",
    "offers",
    "events",
    "acts",
    "sides",
    "agreements",
    "connections",
)


def upgrade() -> None:
    """Make the tables."""
    _connections()
    _acts_and_events()
    _logs()
    _offers_and_proposals()
    _inbox_and_status()
    _businesses_and_meta()
    _keys_and_seats()
    _idempotency_and_counts()
    _business_connections_and_offers()
    _drafts_webhooks_and_duties()


def downgrade() -> None:
    """Drop the tables."""
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


def _some(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _connections() -> None:
    op.create_table(
        "connections",
        _text("cid", key=True),
        _bytes("state"),
        _number("at"),
        _text("phase"),
        _number("wake_at", null=True),
        _bytes("tag_secret"),
    )
    op.create_index(
        "connections_wake_at",
        "connections",
        ["wake_at"],
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )
    op.create_table("agreements", _cid(key=True), _bytes("raw"), _text("opened"))
    _table("sides", _cid(key=True), _text("side", key=True), _text("did"), _text("stream"))
    op.create_index("sides_did", "sides", ["did"])
    op.create_index("sides_stream", "sides", ["stream"])


def _acts_and_events() -> None:
    op.create_table(
        "acts",
        _cid(key=True),
        _text("id", key=True),
        _text("side"),
        _text("chain"),
        _number("seq"),
        _text("raw"),
        _number("accepted_at"),
        _text("event"),
    )
    op.create_index("acts_id", "acts", ["id"])
    op.create_table(
        "events",
        _cid(key=True),
        _number("at", key=True),
        _text("kind"),
        _text("act", null=True),
        _text("raw"),
    )


def _logs() -> None:
    _table(
        "entries",
        _text("log", key=True),
        _number("idx", key=True),
        _text("cid"),
        _text("act"),
        _number("at"),
        _bytes("salt"),
        _bytes("entry"),
        _number("erased"),
    )
    op.create_table(
        "tiles",
        _text("log", key=True),
        _number("level", key=True),
        _number("number", key=True),
        _bytes("hashes"),
    )
    op.create_table(
        "heads",
        _text("log", key=True),
        _number("size"),
        _bytes("root"),
        _number("at"),
        _number("term"),
        _number("ended"),
    )


def _offers_and_proposals() -> None:
    op.create_table(
        "offers",
        _text("short", key=True),
        _text("hash"),
        _text("iss"),
        _text("raw"),
        _number("expires_at"),
        _number("good_until"),
        _text("uses"),
        _number("used_at", null=True),
    )
    op.create_index("offers_good_until", "offers", ["good_until"])
    op.create_index("offers_iss", "offers", ["iss"])
    op.create_index("offers_hash", "offers", ["hash"])
    # A business publishes offers every day: open offers and waiting halves are searched by the time they end.
    op.create_index("offers_expires_at", "offers", ["iss", "expires_at"])
    op.create_table(
        "proposals",
        _text("cid", key=True),
        _text("offer"),
        _text("first_did"),
        _text("second_did"),
        _bytes("raw"),
        _number("countersign_by"),
        _text("phase"),
        _number("alternative"),
        _number("created_at"),
        _number("ended_at", null=True),
        _text("ended_by", null=True),
        _text("reason", null=True),
    )
    # What waits for one offer, those first that give way first; and what one accepter did there.
    op.create_index("proposals_offer", "proposals", ["offer", "phase", "alternative", "created_at"])
    op.create_index("proposals_accepter", "proposals", ["offer", "second_did"])
    op.create_index("proposals_waiting", "proposals", ["first_did", "phase", "countersign_by", "cid"])
    op.create_index("proposals_countersign_by", "proposals", ["countersign_by"])
    _some("proposals_replaced", "proposals", ["ended_at"], "phase = 'replaced'")


def _inbox_and_status() -> None:
    _table(
        "inbox",
        _text("stream", key=True),
        _number("n", key=True),
        _text("kind"),
        _text("cid"),
        _text("act", null=True),
        _number("shown"),
        _number("at", null=True),
        # Time of the commit, for readers that ask for all items since a time.
        _number("told_at"),
        _number("quiet"),
    )
    # What goes with its offer or half; the rows of acts, which are many, are in none of these.
    _some("inbox_offers", "inbox", ["act"], "kind = 'offer'")
    _some("inbox_halves", "inbox", ["cid"], "kind IN ('proposal', 'declined')")
    _table(
        "status_entries",
        _number("list_no", key=True),
        _number("idx", key=True),
        _text("cid"),
        _text("side"),
        _number("reserved_at"),
        _text("grant_id", null=True),
        _number("ended"),
        _number("ask_until"),
        _number("expires_at"),
    )
    op.create_index("status_entries_cid", "status_entries", ["cid", "side"])


def _businesses_and_meta() -> None:
    op.create_table("home_statements", _number("n", key=True), _text("statement"), _text("signed", null=True))
    _table("home_places", _text("log", key=True), _number("idx", key=True), _number("n"))
    op.create_table("businesses", _text("name", key=True), _text("did"), _number("created_at"))
    op.create_index("businesses_did", "businesses", ["did"], unique=True)
    op.create_table(
        "business_keys",
        _text("name", key=True),
        _text("kid", key=True),
        _text("multibase"),
        _text("statement"),
        _text("log"),
        _number("idx"),
        _number("added_at"),
    )
    op.create_table(
        "notices",
        _text("name", key=True),
        _text("id", key=True),
        _text("kind"),
        _text("raw"),
        _text("log"),
        _number("idx"),
        _number("added_at"),
        _number("counts"),
    )
    op.create_index("notices_name", "notices", ["name", "added_at", "idx"])
    op.create_index("notices_place", "notices", ["log", "idx"])
    op.create_table("meta", _text("name", key=True), _text("value"))


def _keys_and_seats() -> None:
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
        _text("line"),
    )
    op.create_index("api_keys_hash", "api_keys", ["hash"], unique=True)
    _table("seats", _text("name", key=True), _text("seat", key=True), _number("created_at"))
    op.create_table("seat_secrets", _text("name", key=True), _bytes("sealed"))


def _idempotency_and_counts() -> None:
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
        _text("line", key=True),
        _text("key", key=True),
        _text("request"),
        _number("status"),
        _text("location", null=True),
        _bytes("body"),
        _number("at"),
    )
    op.create_index("idempotent_at", "idempotent", ["at"])
    _table("counts", _text("name", key=True), _number("day", key=True), _text("what", key=True), _number("n"))


def _business_connections_and_offers() -> None:
    op.create_table(
        "relations",
        _cid(key=True),
        _text("name", key=True),
        _text("side"),
        _text("offer"),
        _number("opened_at"),
        _text("kept_grant", null=True),
        _number("grant_ended_at", null=True),
    )
    op.create_index("relations_name", "relations", ["name", "opened_at", "cid"])
    op.create_index("relations_offer", "relations", ["name", "offer", "opened_at", "cid"])
    _table("contests", _text("name", key=True), _number("at", key=True), _text("act", key=True), _cid())
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
