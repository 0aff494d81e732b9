"""Faults of the operator's commands."""


class NotPossible(Exception):
    """The operator's command cannot be carried out; the text says why."""
