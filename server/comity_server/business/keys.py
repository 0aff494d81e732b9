"""API keys and seats over REST (BIZ-1 to BIZ-6)."""

from comity_server.business.models import Instant, Model, instant
from comity_server.business.roles import Role, Scope
from comity_server.business.route import Call, Reply, Route


class Self(Model):
    """Who an API key speaks for, and what it may do."""

    business: str
    did: str
    key: str
    role: Role
    scopes: tuple[Scope, ...]
    seat: str | None = None
    expires_at: Instant | None = None
    signing: str


async def get_self(call: Call) -> Reply:
    """The business, and what the key may do for it."""
    key = call.key
    ends = None if key.expires_at is None else instant(key.expires_at)
    kept = call.server.grounds.kept.newest(call.business.name) is not None
    return Reply.of(
        Self(
            business=call.business.name,
            did=call.business.did,
            key=key.id,
            role=key.role,
            scopes=tuple(sorted(key.scopes)),
            seat=key.seat,
            expires_at=ends,
            signing="kept" if kept else "own",
        )
    )


ROUTES = (
    Route(
        "GET",
        "/self",
        None,
        get_self,
        "getSelf",
        "Who this API key speaks for",
        "keys",
        answer=Self,
    ),
)
