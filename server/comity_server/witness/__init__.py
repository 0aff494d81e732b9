"""`comity witness`: cosigns the checkpoints of logs, as long as each continues the one before (C2SP tlog-witness)."""
