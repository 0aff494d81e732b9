"""A log as anybody reads it: checkpoint, tiles and bundles over HTTP, checked by the rules of C2SP alone."""

from dataclasses import dataclass
from pathlib import Path

from comity.transparency.checkpoints import SignedCheckpoint, open_checkpoint
from comity.transparency.merkle import (
    NodeReader,
    check_consistency,
    check_inclusion,
    leaf_hash,
    needed_nodes,
    prove_consistency,
    prove_inclusion,
    root_of_hashes,
)
from comity.transparency.notes import VerifierKey, parse_vkey
from comity.transparency.receipts import Receipt, open_receipt
from comity.transparency.tiles import Tile, bundles_of, check_tile, decode_bundle, node_of, tile_of, tiles_of
from support.world import World


@dataclass
class Reader:
    """Reads one log of a world's server. Whatever does not hold is an assertion that fails."""

    world: World
    path: str
    key: VerifierKey

    @classmethod
    async def of(cls, world: World, path: str = "/log") -> "Reader":
        """The reader of the log at that path; its key is what the server says of itself."""
        told = (await world.send("GET", "/.well-known/comity")).json["logs"]
        (vkey,) = (log["vkey"] for log in told if log["url"] == world.origin + path)
        return cls(world, path, parse_vkey(vkey))

    async def checkpoint(self) -> SignedCheckpoint:
        """The checkpoint that is served."""
        reply = await self.world.send("GET", f"{self.path}/checkpoint")
        assert reply.status == 200, reply
        return open_checkpoint(reply.body, self.key)

    async def data(self, tile: Tile) -> bytes:
        """A tile or a bundle."""
        reply = await self.world.send("GET", f"{self.path}/{tile.path}")
        assert reply.status == 200, (tile, reply)
        return reply.body

    async def nodes(self, size: int, nodes: list[tuple[int, int]]) -> NodeReader:
        """Those complete subtrees of the tree of that size."""
        tiles = {tile: check_tile(tile, await self.data(tile)) for tile in {tile_of(*it, size) for it in nodes}}
        found = {it: node_of(*it, tiles[tile_of(*it, size)]) for it in nodes}
        return lambda height, index: found[(height, index)]

    async def entries(self, size: int) -> list[bytes]:
        """All entries of a tree of that size."""
        return [entry for tile in bundles_of(size) for entry in decode_bundle(tile, await self.data(tile))]

    async def whole(self) -> tuple[SignedCheckpoint, list[bytes]]:
        """The checkpoint, and the entries that have its root."""
        signed = await self.checkpoint()
        entries = await self.entries(signed.size)
        assert root_of_hashes([leaf_hash(entry) for entry in entries]) == signed.root
        return signed, entries

    async def extends(self, old: SignedCheckpoint, new: SignedCheckpoint) -> None:
        """The tree of `new` begins with that of `old`."""
        assert old.size <= new.size
        node = await self.nodes(new.size, needed_nodes(lambda it: prove_consistency(old.size, new.size, it)))
        proof = prove_consistency(old.size, new.size, node)
        assert check_consistency(old.size, old.root, new.size, new.root, proof)

    async def holds(self, text: str, act: str | bytes, new: SignedCheckpoint | None = None) -> Receipt:
        """The receipt, if it is one of that act, and, where `new` is given, of an entry in that tree too."""
        receipt = open_receipt(text, self.key)
        assert receipt.is_of(act if isinstance(act, bytes) else act.encode())
        if new is not None:
            await self.extends(receipt.checkpoint, new)
            node = await self.nodes(new.size, needed_nodes(lambda it: prove_inclusion(receipt.index, new.size, it)))
            proof = prove_inclusion(receipt.index, new.size, node)
            assert check_inclusion(leaf_hash(receipt.opening.entry), receipt.index, new.size, proof, new.root)
        return receipt

    async def export(self, folder: Path) -> SignedCheckpoint:
        """The log as static files; the checkpoint that belongs to them."""
        signed = await self.checkpoint()
        for tile in (*tiles_of(signed.size), *bundles_of(signed.size)):
            file = folder / tile.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(await self.data(tile))
        (folder / "checkpoint").write_text(signed.raw, encoding="utf-8")
        return signed
