"""What the program declares: recorded without a cloud, and as a template."""
