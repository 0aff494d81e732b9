"""The data folder of a witness: its key and its store, which must belong together."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from comity.crypto.keys import SigningKey
from comity.errors import Malformed
from comity.transparency.notes import COSIGNATURE, NoteSigner, VerifierKey, parse_vkey
from comity_server.clock import Clock
from comity_server.data_dir import seed_in
from comity_server.logging import logger
from comity_server.store.sqlite_file import DatabaseFault
from comity_server.witness.cosign import Witness
from comity_server.witness.store import AnotherKey, AnotherVersion, WitnessStore

SEED = "witness.key"
DATABASE = "witness.db"


class CannotWitness(Exception):
    """The folder cannot be used; the text says why, and what to do."""


@contextmanager
def open_witness(
    data: Path, name: str | None, usual: str, logs: Iterable[VerifierKey], clock: Clock
) -> Iterator[Witness]:
    """Opens the witness of that folder, or creates it, and adds those logs. Without a `name` it keeps its name; a new
    one gets the `usual` name. The caller holds the folder's lock. Raises CannotWitness."""
    if (data / SEED).exists() and not (data / DATABASE).exists():
        raise CannotWitness(
            f"{data} has a key, but {DATABASE} is missing. A witness that has forgotten can be made to cosign two "
            f"histories of a log: start a new witness in another folder"
        )
    try:
        store = WitnessStore(data / DATABASE)
    except (DatabaseFault, AnotherVersion) as fault:
        raise CannotWitness(f"{data / DATABASE} cannot be used: {fault}") from None
    try:
        signer = _signer(data, store, name, usual)
        for log in logs:
            store.take(log)
        if not store.logs():
            logger().warning("no_logs_taken")
        yield Witness(signer, store, clock)
    except AnotherKey as fault:
        raise CannotWitness(str(fault)) from None
    finally:
        store.close()


def _signer(data: Path, store: WitnessStore, name: str | None, usual: str) -> NoteSigner:
    known = store.own_key()
    if known is None:
        # The store is on the disk already, so from here on a key without a store means that the store was lost.
        signer = NoteSigner(name or usual, COSIGNATURE, SigningKey(seed_in(data / SEED)))
        try:
            parse_vkey(signer.verifier.text)
        except Malformed:
            raise CannotWitness("a witness's name must not contain spaces or a plus sign") from None
        store.begin(signer.verifier)
        return signer
    if name not in (None, known.name):
        raise CannotWitness(f"the witness in {data} is called {known.name}; another name needs another folder")
    if not (data / SEED).exists():
        raise CannotWitness(f"{data / SEED} is missing: restore it, or start a new witness in another folder")
    try:
        signer = NoteSigner(known.name, COSIGNATURE, SigningKey((data / SEED).read_bytes()))
    except Malformed:
        raise CannotWitness(f"{data / SEED} is not a key") from None
    if signer.verifier != known:
        raise CannotWitness(f"{data / SEED} is not the key of the witness in this folder, {known.text}")
    return signer
