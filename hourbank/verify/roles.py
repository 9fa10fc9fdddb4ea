"""The roles of a stack, as they are deployed, asked of IAM: what each must be allowed, and what it must not.

Both come from the program: a role must be allowed what its own policy says, and none of what the others' policies say,
nor what nothing of this program ever does to what it works on.
https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from botocore.exceptions import ClientError

from hourbank.account.checks import GONE, Outcome
from hourbank.verify.verdicts import Verdict, found

MUST, MUST_NOT = "roles may do what they must", "roles may do nothing else"
DEPLOY = "deploy again (`make deploy`, or `pulumi refresh` first where somebody changed it by hand)"
# IAM's simulator knows no resource for these, where Step Functions itself looks at the token's machine
NOT_SIMULATED = {"states:SendTaskFailure", "states:SendTaskSuccess"}
# what nothing of the program does, by the service of what it would be done to
NEVER = {
    "dynamodb": {"dynamodb:DeleteItem", "dynamodb:DeleteTable", "dynamodb:Query", "dynamodb:UpdateTable"},
    "events": {"events:DeleteEventBus", "events:PutRule"},
    "iam": {"iam:PassRole", "iam:PutRolePolicy"},
    "lambda": {"lambda:InvokeFunction", "lambda:UpdateFunctionCode"},
    "logs": {"logs:DeleteLogGroup", "logs:GetLogEvents"},
    "sqs": {"sqs:PurgeQueue", "sqs:ReceiveMessage"},
    "states": {"states:DeleteStateMachine", "states:GetExecutionHistory", "states:StopExecution"},
}
Rights = set[tuple[str, str]]


def given(statements: Iterable[Mapping[str, Any]]) -> Rights:
    """Return the actions of statements, each with a resource: an exact one in place of one with a wildcard."""
    return {
        (action, concrete(resource))
        for statement in statements
        if statement["Effect"] == "Allow"
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if action not in NOT_SIMULATED
    }


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def concrete(resource: str) -> str:
    """Return one of what a resource with a wildcard is: version 1, an execution, a stream of a log group."""
    if ":log-group:" in resource:
        return resource.removesuffix("*") + "log-stream:verify"
    return resource if resource == "*" else resource.replace("*", "1")


def denied(rights: Mapping[str, Rights], role: str, policies: Iterable[Mapping[str, Any]]) -> Rights:
    """Return what a role must not be allowed: on all that any role works on, what is not in its own policy."""
    everything = set().union(*rights.values())
    tried = set()
    for action, resource in everything:
        service = resource.split(":")[2] if resource != "*" else ""
        tried |= {(action, resource)} | {(never, resource) for never in NEVER.get(service, ())}
    tried |= {(action, role) for action in NEVER["iam"]}
    policies = list(policies)
    return {(action, resource) for action, resource in tried if not is_given(policies, action, resource)}


def is_given(statements: Iterable[Mapping[str, Any]], action: str, resource: str) -> bool:
    return any(
        fnmatchcase(action, one) and fnmatchcase(resource, on)
        for statement in statements
        if statement["Effect"] == "Allow"
        for one in as_list(statement["Action"])
        for on in as_list(statement["Resource"])
    )


def decisions(iam: Any, role: str, rights: Rights) -> Iterator[tuple[str, str, str]]:
    """Ask IAM about each right, those on one resource at once; the decisions are `allowed` or two kinds of denial."""
    for resource in sorted({resource for _, resource in rights}):
        actions = sorted(action for action, on in rights if on == resource)
        pages = iam.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=role, ActionNames=actions, ResourceArns=[resource]
        )
        for page in pages:
            for one in page["EvaluationResults"]:
                yield one["EvalActionName"], resource, one["EvalDecision"]


def examined(iam: Any, statements: Mapping[str, list[dict[str, Any]]], own: Collection[str]) -> Iterator[Verdict]:
    """Ask about every role: what it must be allowed and, of the program's own, what it must not.

    A role that is not the program's, Amplify's of signed-in users, has policies of others too.
    """
    rights = {role: given(policies) for role, policies in statements.items()}
    for role, policies in statements.items():
        name = role.rpartition("/")[2]
        try:
            for action, resource, decision in decisions(iam, role, rights[role]):
                wrong = "" if decision == "allowed" else f"{decision}: nothing that needs it works"
                yield found(MUST, f"{name}, {action} on {resource}", wrong, DEPLOY)
            for action, resource, decision in decisions(
                iam, role, denied(rights, role, policies) if role in own else set()
            ):
                wrong = "it is allowed, and this program does not give it" if decision == "allowed" else ""
                yield found(MUST_NOT, f"{name}, {action} on {resource}", wrong, DEPLOY)
        except ClientError as error:
            if error.response["Error"]["Code"] not in GONE:
                raise
            yield Verdict(
                claim=MUST, what=name, outcome=Outcome.MISS, problem="there is no such role",
                remedy="deploy first, or leave --stack out",
            )  # fmt: skip
