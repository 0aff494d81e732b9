"""Reads and monitors transparency logs."""
