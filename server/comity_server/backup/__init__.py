"""Backups of a data folder: made while a server runs, checked, and restored (spec/backup.md)."""
