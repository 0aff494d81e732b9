"""Command line, demo, benchmarks and soak: programs that use both the server and the SDK."""
