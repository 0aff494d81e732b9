"""A server under a mixed load and random faults, with a ledger of what it acknowledged kept by its clients."""
