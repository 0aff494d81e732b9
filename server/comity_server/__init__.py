"""The Comity server: the protocol with a store and a network under it."""
