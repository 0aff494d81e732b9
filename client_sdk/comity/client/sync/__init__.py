"""Receives and handles the items of a wallet's inbox."""
