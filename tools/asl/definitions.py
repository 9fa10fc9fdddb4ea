"""Print both state machines' definitions as one JSON object by name, with example ARNs, for validate.mjs."""

import json
import sys

from workflows import escrow_management, service_request

json.dump(
    {
        workflow.__name__.removeprefix("workflows."): workflow.definition(
            functions={
                name: f"arn:aws:lambda:us-east-1:123456789012:function:hourbank-{name}-dev:1"
                for name in workflow.FUNCTIONS
            }
        )
        for workflow in (service_request, escrow_management)
    },
    sys.stdout,
    indent=1,
)
