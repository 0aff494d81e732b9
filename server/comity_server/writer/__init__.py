"""The single writer: decides each command and commits its unit of work."""
