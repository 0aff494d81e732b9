"""Backups of a data folder: made while a server runs, looked through, and put back (spec/backup.md)."""
