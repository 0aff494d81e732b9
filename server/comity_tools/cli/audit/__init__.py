"""Commands for auditors: logs, receipts, tokens."""
