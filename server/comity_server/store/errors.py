"""What a store raises."""


class StoreFailed(Exception):
    """The store did not do what was asked, or it is unknown whether it did; the text is the engine's name for it."""


class StoreFull(StoreFailed):
    """There is no room for what was to be written. Nothing was."""


class Overtaken(StoreFailed):
    """Another server writes this store: it moved a log's head, or took the term. Nothing was written."""


class StoreDamaged(Exception):
    """The stored rows contradict each other; the text says which and where."""
