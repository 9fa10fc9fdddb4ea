"""The AWS account: what a stack needs there, before a deployment and after."""
