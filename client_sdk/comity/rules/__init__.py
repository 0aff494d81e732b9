"""The rules of a connection: its state, the gate, and the decision about each act. Pure."""
