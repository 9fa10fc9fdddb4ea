"""The two state machines, as Python dicts."""
