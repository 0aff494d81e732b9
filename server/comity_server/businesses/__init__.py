"""The businesses of this server: keys, API keys, sealing and usage."""
