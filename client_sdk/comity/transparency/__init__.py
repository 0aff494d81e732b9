"""The transparency log: Merkle tree, tiles, checkpoints, entries and receipts."""
