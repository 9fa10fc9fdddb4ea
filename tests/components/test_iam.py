"""Every policy of the program, before two tools that read policies: what they find is fixed or explained here.

An explanation names one finding in one policy, so a new finding fails, and so does an explanation that explains
nothing. What a policy allows is asserted in test_program.py, and tried in test_intruders.py.
"""

import json
import re
import warnings
from typing import Any

import pytest

from hourbank.program.recorder import STACKS, Recording
from tests.helpers.recordings import recorded

PSEUDO_PARAMETERS = {"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012"}
PLACE = "eu-west-1:123456789012"
ARNS = {
    "EventBus": f"arn:aws:events:{PLACE}:event-bus/",
    "Function": f"arn:aws:lambda:{PLACE}:function:",
    "Queue": f"arn:aws:sqs:{PLACE}:",
    "Role": "arn:aws:iam::123456789012:role/",
    "Table": f"arn:aws:dynamodb:{PLACE}:table/",
    "StateMachine": f"arn:aws:states:{PLACE}:stateMachine:",
}

LOG_DELIVERY = (
    "logs:PutResourcePolicy is a part of the log delivery that Step Functions sets up with the machine's role, and "
    "takes no resource: https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html"
)
STANDARD = "DescribeExecution also knows Express executions: both machines are Standard"
COLONS = "a stream is named after its time, whose colons parliament takes for those of an ARN"
NO_MAP = "ListExecutions also lists those of a distributed map: no workflow has one"
BY_MACHINE = "Step Functions also checks the token's machine: https://github.com/aws/aws-cdk/pull/8486"
MAP_RUN = "arn:*:states:*:*:mapRun:*/*:*"
EXPRESS, STREAM = "arn:*:states:*:*:express:*:*:*", "arn:*:dynamodb:*:*:table/*/stream/*"
# (policy, finding, what it is about): why it stands
EXPLAINED = {
    ("EscrowManagementWorkflow-policy", "PERMISSIONS_MANAGEMENT_ACTIONS", ""): LOG_DELIVERY,
    ("ServiceRequestWorkflow-policy", "PERMISSIONS_MANAGEMENT_ACTIONS", ""): LOG_DELIVERY,
    ("auditLedger-policy", "RESOURCE_MISMATCH", f"states:DescribeExecution on {EXPRESS}"): STANDARD,
    ("routeServiceRequest-policy", "RESOURCE_MISMATCH", f"states:DescribeExecution on {EXPRESS}"): STANDARD,
    ("auditLedger-policy", "RESOURCE_MISMATCH", f"states:ListExecutions on {MAP_RUN}"): NO_MAP,
    ("validateEscrowRelease-policy", "RESOURCE_MISMATCH", f"states:DescribeExecution on {EXPRESS}"): STANDARD,
    ("routeServiceRequest-policy", "RESOURCE_MISMATCH", f"dynamodb:DescribeStream on {STREAM}"): COLONS,
    ("routeServiceRequest-policy", "RESOURCE_MISMATCH", f"dynamodb:GetRecords on {STREAM}"): COLONS,
    ("routeServiceRequest-policy", "RESOURCE_MISMATCH", f"dynamodb:GetShardIterator on {STREAM}"): COLONS,
    ("routeServiceRequest-policy", "RESOURCE_MISMATCH", "states:SendTaskSuccess on *"): BY_MACHINE,
}
# where the stack opts in: the subscriptions of AppSync, mails, traces, and executions that a browser starts
OPT_IN = {
    "hourbank:appsyncEndpoint": "https://zyxwvutsrqponmlkjihgfedcba.appsync-api.us-east-1.amazonaws.com/graphql",
    "hourbank:amplifyAuthRoleName": "amplify-app-dev-123456-authRole",
    "hourbank:notifyFrom": "hours@example.com",
    "hourbank:userPoolId": "us-east-1_AbCdEfGhI",
    "hourbank:tracing": "true",
}
EXPLAINED_OF_OPT_IN = {
    ("browserStarts-policy", "RESOURCE_MISMATCH", f"states:DescribeExecution on {EXPRESS}"): STANDARD,
}
# Whom a role is trusted to, and the ARN for which that service acts: never for another account's.
TRUST = {
    "states.amazonaws.com": "arn:aws:states:eu-west-1:123456789012:stateMachine:{name}-{env}",
    "scheduler.amazonaws.com": "arn:aws:scheduler:eu-west-1:123456789012:schedule-group/default",
    "events.amazonaws.com": "arn:aws:events:eu-west-1:123456789012:rule/hourbank-event-bus-{env}/hourbank-{name}-{env}",
}


@pytest.fixture(scope="module", params=[*STACKS, "opted in"])
def recording(request: pytest.FixtureRequest) -> Recording:
    return recorded("dev", OPT_IN) if request.param == "opted in" else recorded(request.param)


def opted_in(recording: Recording) -> bool:
    return bool(recording.of_type("EventTarget"))


def resolved(recording: Recording, document: str) -> dict[str, Any]:
    """A policy as IAM would get it: with ARNs and names instead of placeholders."""
    by_id = {resource.logical_id: resource for resource in recording.resources}

    def value(match: re.Match[str]) -> str:
        reference, _, attribute = match[1].partition(".")
        if reference in PSEUDO_PARAMETERS:
            return PSEUDO_PARAMETERS[reference]
        resource = by_id[reference]
        kind = resource.type.rpartition(":")[2]
        is_arn = attribute == "Arn" or (kind == "StateMachine" and not attribute)
        return (ARNS[kind] if is_arn else "") + resource.inputs["name"]

    while (after := re.sub(r"\$\{([^}]+)\}", value, document)) != document:
        document = after
    assert "$" not in document
    parsed: dict[str, Any] = json.loads(document)
    return parsed


def policies(recording: Recording) -> dict[str, dict[str, Any]]:
    return {policy.name: resolved(recording, policy.inputs["policy"]) for policy in recording.of_type("RolePolicy")}


def parliament_finds(policy: dict[str, Any]) -> set[tuple[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pkg_resources and of its regular expressions
        from parliament import analyze_policy_string

        findings = analyze_policy_string(json.dumps(policy), include_community_auditors=True).findings
    found = set()
    for finding in findings:
        details = finding.detail if isinstance(finding.detail, list) else [finding.detail]
        for detail in details:
            about = " on ".join(detail.values()) if isinstance(detail, dict) else str(detail or "")
            found.add((finding.issue, about))
    return found


def cloudsplaining_finds(policy: dict[str, Any]) -> set[tuple[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudsplaining.scan.policy_document import PolicyDocument

        document = PolicyDocument(policy)
        findings = {
            kind: getattr(document, kind)
            for kind in (
                "allows_privilege_escalation",
                "allows_data_exfiltration_actions",
                "credentials_exposure",
                "permissions_management_without_constraints",
                "write_actions_without_constraints",
                "tagging_actions_without_constraints",
                "infrastructure_modification",
                "service_wildcard",
                "contains_statement_using_not_action",
            )
        }
    return {(kind, str(detail)) for kind, details in findings.items() for detail in details}


@pytest.mark.parametrize("tool", [parliament_finds, cloudsplaining_finds])
def test_a_policy_that_is_too_wide_is_found(tool: Any) -> None:
    statement = {"Effect": "Allow", "Action": ["iam:PassRole", "lambda:*", "s3:GetObject"], "Resource": "*"}
    assert tool({"Version": "2012-10-17", "Statement": [statement]})


def test_nothing_unexplained_is_found_in_any_policy(recording: Recording) -> None:
    found = {
        (name, *finding)
        for name, policy in policies(recording).items()
        for finding in parliament_finds(policy) | cloudsplaining_finds(policy)
    }
    assert found == set(EXPLAINED) | (set(EXPLAINED_OF_OPT_IN) if opted_in(recording) else set())


def test_nothing_is_found_in_the_conditions_of_trust(recording: Recording) -> None:
    for role in recording.of_type("Role"):
        trust = resolved(recording, role.inputs["assumeRolePolicy"])
        # The tool reads identity policies: a resource stands in for the principal. The finding is the action itself.
        statements = [
            {key: part for key, part in statement.items() if key != "Principal"}
            | {"Resource": ARNS["Role"] + resolved(recording, json.dumps(role.inputs["name"]))}
            for statement in trust["Statement"]
        ]
        assert parliament_finds(trust | {"Statement": statements}) == {("CREDENTIALS_EXPOSURE", "")}, role.name


def test_no_service_acts_with_a_role_for_anybody_else(recording: Recording) -> None:
    services = set()
    for role in recording.of_type("Role"):
        (statement,) = resolved(recording, role.inputs["assumeRolePolicy"])["Statement"]
        service = statement["Principal"]["Service"]
        services.add(service)
        assert (statement["Effect"], statement["Action"]) == ("Allow", "sts:AssumeRole")
        assert set(statement["Principal"]) == {"Service"}
        # Lambda documents no such condition for execution roles; components/workflow_function.py says what stands in.
        source = TRUST.get(service, "").format(name=role.name.removesuffix("-role"), env=recording.stack)
        conditions = {
            # a rule's ARN is known in full
            "ArnEquals" if service == "events.amazonaws.com" else "ArnLike": {"aws:SourceArn": source},
            "StringEquals": {"aws:SourceAccount": PSEUDO_PARAMETERS["AWS::AccountId"]},
        }
        assert statement.get("Condition") == (conditions if source else None), role.name
    expected = {*TRUST, "lambda.amazonaws.com"}
    assert services == (expected if opted_in(recording) else expected - {"events.amazonaws.com"})
