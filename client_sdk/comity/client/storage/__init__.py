"""The encrypted wallet file and the records in it."""
