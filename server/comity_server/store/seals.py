"""What is sealed under the master key: one table of all of it (BIZ-7)."""

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of secret: what it is called, the three questions that business.sql has for it, and the purpose for
    which its key is derived from the master key, where it is."""

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
"""Every table with a column `sealed`. Each is sealed where it is decided, in a group, under the master key of that
moment: so whatever comes into the store before a resealing is resealed with the rest."""
