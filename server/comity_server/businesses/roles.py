"""The roles of API keys, and their scopes (BIZ-4)."""

from typing import Literal, get_args

Role = Literal["owner", "agent", "marketer", "auditor", "read_only"]
Scope = Literal[
    "offers:read",
    "offers:write",
    "connections:read",
    "check",
    "messages:write",
    "notes:write",
    "favours:write",
    "permissions:write",
    "notifications:read",
    "webhooks:manage",
    "keys:manage",
    "report:read",
]

SCOPES: frozenset[Scope] = frozenset(get_args(Scope))
_READING: frozenset[Scope] = frozenset({"offers:read", "connections:read", "check"})

ROLES: dict[Role, frozenset[Scope]] = {
    "owner": SCOPES,
    "agent": _READING | {"messages:write", "notes:write", "favours:write", "permissions:write", "notifications:read"},
    "marketer": _READING | {"offers:write", "messages:write", "notes:write", "report:read"},
    "auditor": _READING | {"notifications:read", "report:read"},
    "read_only": _READING,
}
"""Role → its scopes. A key can have fewer scopes than its role."""
