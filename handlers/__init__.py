"""What runs in Lambda: a file a function, named as the function, and what they stand on: ``bank`` and ``aws``."""
