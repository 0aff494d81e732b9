"""One connection of a wallet: its history, its acts and its queries."""
