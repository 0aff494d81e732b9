"""`comity bench`: every figure beside a baseline that the same run measures on the same machine."""
