"""The way into AWS: ``dynamodb`` reads, decides and writes as one; ``telemetry`` logs and counts."""
