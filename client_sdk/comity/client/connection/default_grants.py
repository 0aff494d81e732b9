"""The grants that a wallet suggests for offers (spec/offer.md, ALLOW-6): the customer's own rule, which nobody else
learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from comity.documents.offers import Offer
from comity.documents.types import PERIODS
from comity.errors import Malformed

Default = dict[str, Any] | None
"""For a class of purposes (its root word): `channels`, `days` and `budget` (max, per) of a grant; None: no grant."""

FIRST_DEFAULTS: Mapping[str, Default] = {
    "care": {"channels": ["app"], "days": 365, "budget": [2, "month"]},
    "favour": {"channels": ["app"], "days": 365, "budget": [1, "month"]},
    "sales": None,
}
"""The defaults of a new wallet."""


def suggest_grants(defaults: Mapping[str, Default], offer: Offer) -> tuple[dict[str, Any], ...]:
    """The grants (arguments of `Connection.grant`) that the offer asks for and the defaults allow: one for each
    class."""
    classes: dict[str, list[str]] = {}
    for purpose in offer.purposes:
        classes.setdefault(purpose.partition(".")[0], []).append(purpose)
    found = []
    for root, purposes in classes.items():
        default = defaults.get(root)
        if default is None:
            continue
        channels = [it for it in default["channels"] if offer.channels is None or it in offer.channels]
        if channels:
            found.append({**default, "purposes": purposes, "channels": channels})
    return tuple(found)


class _Limits(msgspec.Struct, forbid_unknown_fields=True):
    channels: list[str]
    days: int
    budget: tuple[int, str] | None = None


def check_default(default: Default) -> Default:
    """The default in its stored form. Raises Malformed for values that no grant can have."""
    if default is None:
        return None
    try:
        limits = msgspec.convert(default, _Limits)
    except msgspec.ValidationError:
        raise Malformed("a default has `channels`, `days` and perhaps a `budget` of (max, period)") from None
    if not limits.channels or not 1 <= limits.days <= 366:
        raise Malformed("a default has a channel, and 1 to 366 days")
    if limits.budget is not None and (limits.budget[0] < 1 or limits.budget[1] not in PERIODS):
        raise Malformed("a budget is at least 1 in a day, week or month")
    members: dict[str, Any] = msgspec.to_builtins(limits)
    return {name: value for name, value in members.items() if value is not None}
