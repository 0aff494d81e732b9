"""How a business begins here: its did:web, its signing key, and its API keys (BIZ-1, BIZ-8)."""

import secrets
from dataclasses import replace

from comity.crypto.keys import Signer, SigningKey
from comity.errors import Refused
from comity_server.businesses.api_keys import MOST_KEYS, MOST_LISTED, ApiKey, new_key
from comity_server.businesses.directory import Business
from comity_server.commands.onboarding import Onboarding
from comity_server.errors import NotPossible
from comity_server.writer.unit_of_work import UnitOfWork


async def publish_key(connecting: Onboarding, name: str, did_key: str | None, unit: UnitOfWork) -> Business:
    """Publishes a key of a business, its first or a further one: the given public key, else a new one whose private key
    is stored here, sealed. Raises NotPossible."""
    if did_key is not None:
        return await connecting.add_business_key(name, did_key, unit)
    known = unit.context.directory.get(name)
    if known is not None and unit.context.kept.newest(name) is None:
        raise NotPossible("this business holds its own signing key")
    key = SigningKey(secrets.token_bytes(32))
    business = await connecting.add_business_key(name, key.public.did, unit)
    signer = Signer(next(iter(business.keys)), key)
    unit.batch.put_kept_key.append(unit.context.kept.row(name, signer, unit.now))
    unit.added_signers.append((name, signer))
    return business


async def begin(
    connecting: Onboarding, name: str, did_key: str | None, unit: UnitOfWork
) -> tuple[Business, str | None]:
    """Carries out an operator's command: a new business with its first key, and an API key of its owner (shown once)
    where the business is new here; or a further public key of a known one. Raises NotPossible, Refused."""
    new = any(row["name"] == name for row in unit.batch.put_business)
    known = new or unit.context.directory.get(name) is not None
    if known and did_key is None:
        raise NotPossible(f"there is such a business: `comity keys rotate {name}` gives it a new signing key")
    business = await publish_key(connecting, name, did_key, unit)
    return business, None if known else admit(unit, *new_key(name, "owner", unit.now, label="owner"))[0]


def keys_of(unit: UnitOfWork, name: str) -> dict[str, ApiKey]:
    """The API keys of a business by id, ended ones too, with what the group did to them."""
    keys = {key.id: key for key in unit.context.keyring.of(name)}
    keys |= {key.id: key for key in unit.added_api_keys if key.name == name}
    for row in unit.batch.end_api_key:
        if row["name"] == name:
            keys[row["id"]] = replace(keys[row["id"]], expires_at=row["expires_at"])
    return keys


def admit(unit: UnitOfWork, shown: str, key: ApiKey, instead_of: str | None = None) -> tuple[str, ApiKey]:
    """Puts a new API key into force (as it is shown, and as it is stored); `instead_of` is the id of the key that ends
    with this. Raises Refused("too_many_keys")."""
    others = [it for it in keys_of(unit, key.name).values() if it.id != instead_of]
    if sum(other.is_in_force(unit.now) for other in others) >= MOST_KEYS:
        raise Refused("too_many_keys", f"at most {MOST_KEYS} at a time")
    if len(others) >= MOST_LISTED:
        raise Refused("too_many_keys", "too many were made and ended within an hour", retry_after=3600)
    unit.batch.put_api_key.append(key.row())
    unit.added_api_keys.append(key)
    return shown, key


async def first_key(name: str, unit: UnitOfWork) -> tuple[str, ApiKey]:
    """An API key of an owner, for a business that has none in force yet or lost all. Raises NotPossible, Refused."""
    if unit.context.directory.get(name) is None:
        raise NotPossible("there is no business of that name here")
    return admit(unit, *new_key(name, "owner", unit.now, label="owner"))
