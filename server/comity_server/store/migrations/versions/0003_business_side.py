"""What businesses work with over REST: sealed signing keys, API keys, seats, what was done by whom, and what is kept
for them: drafts, counts, answers to requests that may be repeated.

Everything that names a business begins its key with the name, everything that names a connection with the connection.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = (
    "duties",
    "counts",
    "drafts",
    "business_offers",
    "relations",
    "idempotent",
    "doings",
    "seats",
    "api_keys",
    "kept_keys",
)


def upgrade() -> None:
    """Make the tables."""
    _keys_and_people()
    _what_was_done()
    _connections_and_offers()


def downgrade() -> None:
    """Take them away."""
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
    op.create_index("relations_offer", "relations", ["name", "offer"])
    op.create_table(
        "business_offers",
        _text("name", key=True),
        _text("short", key=True),
        _text("label"),
        _number("countersign"),
        _number("created_at"),
    )
    op.create_index("business_offers_created_at", "business_offers", ["name", "created_at", "short"])
    op.create_table(
        "drafts",
        _text("name", key=True),
        _text("id", key=True),
        _text("cid"),
        _bytes("sealed"),
        _number("created_at"),
        _number("updated_at"),
    )
    op.create_index("drafts_created_at", "drafts", ["name", "created_at", "id"])
    op.create_table(
        "duties",
        _cid(key=True),
        _text("name", key=True),
        _number("due_at"),
        _number("done_at", null=True),
    )
    op.create_index("duties_due_at", "duties", ["name", "due_at", "cid"])
