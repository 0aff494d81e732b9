"""Rename the API keys' scopes and the webhooks' event types as the REST API names them today, and list proposals by the
time at which they came.

`door:write` becomes `permissions:write`. `notes:write` is new and covers a part of `messages:write`, so every key that
has the one gets the other.
"""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "v3_0002"
down_revision = "v3_0001"
branch_labels = None
depends_on = None

TYPES = {
    "fact.remembered": "note.remembered",
    "fact.forgotten": "note.forgotten",
    "fact.milestone": "milestone.recorded",
    "message.waiting": "message.held",
    "proposal.taken_back": "proposal.withdrawn",
}
FORMER_COUNT, COUNT = "contests.taken_back", "contests.withdrawn"


def upgrade() -> None:
    """Write the names of today."""
    _rename_count(FORMER_COUNT, COUNT)
    _index_proposals("created_at")
    _rewrite("api_keys", "scopes", _new_scopes)
    _rewrite("webhooks", "types", lambda types: {TYPES.get(type_, type_) for type_ in types})


def downgrade() -> None:
    """Write the names of before."""
    _rename_count(COUNT, FORMER_COUNT)
    _index_proposals("countersign_by")
    former = {new: old for old, new in TYPES.items()}
    _rewrite("api_keys", "scopes", _former_scopes)
    _rewrite("webhooks", "types", lambda types: {former.get(type_, type_) for type_ in types})


def _new_scopes(scopes: set[str]) -> set[str]:
    added = {"notes:write"} if "messages:write" in scopes else set()
    return {"permissions:write" if scope == "door:write" else scope for scope in scopes} | added


def _former_scopes(scopes: set[str]) -> set[str]:
    return {"door:write" if scope == "permissions:write" else scope for scope in scopes - {"notes:write"}}


def _index_proposals(time: str) -> None:
    op.drop_index("proposals_waiting", "proposals")
    op.create_index("proposals_waiting", "proposals", ["first_did", "phase", time, "cid"])


def _rename_count(before: str, after: str) -> None:
    counts = sa.table("counts", sa.column("what"))
    op.execute(sa.update(counts).where(counts.c.what == before).values(what=after))


def _rewrite(table: str, column: str, rename: Callable[[set[str]], set[str]]) -> None:
    """Rename the words of a column that holds them with a blank between."""
    rows = sa.table(table, sa.column("name"), sa.column("id"), sa.column(column))
    connection = op.get_bind()
    for name, id_, words in connection.execute(sa.select(rows)).all():
        renamed = " ".join(sorted(rename(set(words.split(" ")))))
        if renamed != words:
            row = sa.and_(rows.c.name == name, rows.c.id == id_)
            connection.execute(sa.update(rows).where(row).values({column: renamed}))
