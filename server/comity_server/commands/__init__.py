"""Use cases that run in one unit of work."""
