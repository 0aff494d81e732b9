"""Webhooks: a process of its own that sends them, and the server's end of the way to it (spec/webhook.md)."""
