"""What runs in Lambda: one file a function."""
