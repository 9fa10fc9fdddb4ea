"""What a request costs on AWS, path by path: measured, not estimated."""
