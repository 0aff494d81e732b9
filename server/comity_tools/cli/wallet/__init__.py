"""Commands for a customer's wallet."""
