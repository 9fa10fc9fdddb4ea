"""What is deployed: the only package that imports pulumi_aws."""
