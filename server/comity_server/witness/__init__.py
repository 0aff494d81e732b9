"""`comity witness`: cosigns checkpoints of logs if each continues the one before (C2SP tlog-witness)."""
