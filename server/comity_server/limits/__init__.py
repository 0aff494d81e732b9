"""Limits on what clients may use: rates, shares, capacity and sockets."""
