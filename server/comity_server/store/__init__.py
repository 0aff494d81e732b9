"""The store keeps what was decided and is asked for it again. It holds no rule."""
