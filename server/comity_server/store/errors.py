"""The faults of a store."""


class StoreFailed(Exception):
    """The store failed, or the outcome is unknown; the text is the engine's name for the fault."""


class StoreFull(StoreFailed):
    """The disk is full. Nothing was written."""


class Overtaken(StoreFailed):
    """Another server writes this store: it moved a log's head, or took the term. Nothing was written."""


class StoreDamaged(Exception):
    """The stored rows contradict each other; the text says which and where."""
