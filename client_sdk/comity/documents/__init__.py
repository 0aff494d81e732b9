"""The documents that parties sign, and their types."""
