"""Print the CloudFormation template of the stack dev, for cfn-lint."""

import json
import sys

from hourbank.program import cloudformation, recorder

json.dump(
    cloudformation.template(recorder.record("dev"), bucket="example-bucket", key="handlers.zip"), sys.stdout, indent=1
)
