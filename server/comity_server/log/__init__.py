"""The consent log at the server: written, signed, served, witnessed (spec/log.md)."""
