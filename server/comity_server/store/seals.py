"""Everything that is sealed under the master key, in one table (BIZ-7)."""

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of secret: its name, its three queries in business.sql, and the purpose for which its key is derived
    from the master key, if it is."""

    what: str
    seals: str
    sealed: str
    reseal: str
    purpose: str | None = None


SEALED = (
    Kind("signing keys", "seals_of_kept_keys", "sealed_kept_keys", "reseal_kept_key"),
    Kind("secrets of seats", "seals_of_seat_secrets", "sealed_seat_secrets", "reseal_seat_secret"),
    Kind("drafts", "seals_of_drafts", "sealed_drafts", "reseal_draft"),
    Kind("secrets of webhooks", "seals_of_webhooks", "sealed_webhooks", "reseal_webhook", "webhooks"),
)
"""Every table with a column `sealed`. A secret is sealed in a unit of work, under the master key of that moment, so
every secret that is stored before a master key rotation is sealed again by it."""
