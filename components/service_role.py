"""The one way in which a role is declared: for one service, with one policy of what whoever declares it needs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pulumi
import pulumi_aws as aws

from components.settings import Settings


class ServiceRole(NamedTuple):
    """A role and its policy: what uses the role at once depends on the policy too."""

    role: aws.iam.Role
    policy: aws.iam.RolePolicy


def service_role(
    name: str,
    settings: Settings,
    *,
    service: str,
    policy_name: str,
    statements: Sequence[Mapping[str, Any]],
    parent: pulumi.Resource,
    condition: Mapping[str, Any] | None = None,
) -> ServiceRole:
    """Declare the role ``hourbank-<name>-{env}-<region>``.

    Parameters
    ----------
    service
        Who may take the role, such as ``lambda.amazonaws.com``.
    policy_name, statements
        Its only policy, as IAM statements.
    condition
        On whose behalf the service may take it: the confused deputy's, where the service documents one.
    """
    trust: dict[str, Any] = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if condition:
        trust["Condition"] = condition
    child = pulumi.ResourceOptions(parent=parent)
    role = aws.iam.Role(
        f"{name}-role",
        name=settings.role_name(name),
        assume_role_policy=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        permissions_boundary=settings.permissions_boundary_arn,
        tags=settings.tags,
        opts=child,
    )
    policy = aws.iam.RolePolicy(
        f"{name}-policy",
        name=policy_name,
        role=role.name,
        policy=pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": list(statements)}),
        opts=child,
    )
    return ServiceRole(role, policy)


def traces(settings: Settings, *more: str) -> list[dict[str, Any]]:
    """What a role needs, and whatever else is given, where X-Ray records what its service does."""
    if not settings.tracing:
        return []
    # X-Ray has no resource to name: IAM takes nothing but * for these.
    return [
        {
            "Effect": "Allow",
            "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords", *more],
            "Resource": "*",
        }
    ]
