"""What a store raises."""


class StoreFailed(Exception):
    """The store did not do what was asked, or it is unknown whether it did."""


class Overtaken(StoreFailed):
    """Another server writes this store: it moved a log's head, or took the term. Nothing was written."""
