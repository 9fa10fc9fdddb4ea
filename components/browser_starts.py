"""What lets signed-in users start request executions themselves: opt-in, where the stack has ``amplifyAuthRoleName``.

docs/app/browser-starts.md says what it gives away. Without it a browser needs no right on AWS: it writes a record,
and the table's stream starts the execution.
"""

from typing import TypedDict

import pulumi
import pulumi_aws as aws

from components.settings import Settings
from components.workflow import Workflow


class BrowserStartsArgs(TypedDict):
    settings: Settings
    """The stack's settings."""
    role_name: str
    """The role of Amplify's signed-in users; Amplify owns it, and only this policy is added."""
    requests: Workflow
    """The workflow that they may start."""


class BrowserStarts(pulumi.ComponentResource):
    """A policy on Amplify's authenticated role: start requests, and see how an execution of theirs ended."""

    def __init__(self, name: str, args: BrowserStartsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hourbank:index:BrowserStarts", name, None, opts)
        requests = args["requests"]
        aws.iam.RolePolicy(
            f"{name}-policy",
            name=f"hourbank-{name}-{args['settings'].env}",
            role=args["role_name"],
            policy=pulumi.Output.json_dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {"Effect": "Allow", "Action": "states:StartExecution", "Resource": requests.arn},
                        # Never GetExecutionHistory: it shows task tokens, with which anybody can answer for anybody.
                        {
                            "Effect": "Allow",
                            "Action": "states:DescribeExecution",
                            "Resource": requests.executions_arn,
                        },
                    ],
                }
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
