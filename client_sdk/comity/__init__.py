"""The Comity protocol: pure functions and types, with no clock, randomness, disk or network of their own."""
