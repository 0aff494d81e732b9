"""The server's HTTP API as a wallet calls it."""
