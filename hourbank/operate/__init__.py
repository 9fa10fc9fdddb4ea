"""A stack that runs: what is stuck in it, and what an operator can do about it."""
