"""What roles may do, in words, as they are declared: by policies, by trust, and by what resources allow to others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from components.models import MODELS, key_of
from hourbank.program.recorder import Resource
from hourbank.program.resource_types import known
from hourbank.review.markdown import code, listed

# Transitive, for what follows; what is not here is said by its action.
VERBS = {
    "dynamodb:GetItem": "read",
    "cognito-idp:ListUsers": "list people of",
    "dynamodb:BatchGetItem": "read",
    "dynamodb:Query": "query",
    "dynamodb:Scan": "read all of",
    "dynamodb:PutItem": "write items of",
    "dynamodb:UpdateItem": "change",
    "dynamodb:DeleteItem": "delete items of",
    "dynamodb:ConditionCheckItem": "check",
    "dynamodb:DescribeStream": "read",
    "dynamodb:GetRecords": "read",
    "dynamodb:GetShardIterator": "read",
    "events:PutEvents": "send events to",
    "lambda:InvokeFunction": "call",
    "logs:CreateLogStream": "write",
    "logs:PutLogEvents": "write",
    "ses:SendEmail": "send mails as",
    "ssm:GetParameter": "read",
    "ssm:PutParameter": "write",
    "sqs:DeleteMessage": "delete messages of",
    "sqs:GetQueueAttributes": "look at",
    "sqs:ReceiveMessage": "receive messages of",
    "sqs:SendMessage": "send messages to",
    "states:DescribeExecution": "look at",
    "states:GetExecutionHistory": "read the history, with task tokens, of",
    "states:SendTaskFailure": "fail tasks of",
    "states:SendTaskSuccess": "answer tasks of",
    "states:StartExecution": "start",
}
PSEUDO_PARAMETER = re.compile(r"\$\{AWS::\w+\}")
REFERENCE = re.compile(r"\$\{(\w+)(?:\.\w+)?\}")
# What is of one thing although it ends in a wildcard: versions, the streams of a log group, executions, table streams.
OF_ONE = re.compile(r"(^\$\{[\w.]+\}|:(function|log-group|execution):[^:*?]+):\*$|(:table/[^/*?]+/stream)/\*$")


@dataclass(frozen=True, order=True, kw_only=True)
class Right:
    """One action of somebody on something.

    Attributes
    ----------
    who, what : str
        In Markdown, names as code.
    is_allowed : bool
        Or denied.
    condition : str
        JSON, empty where there is none.
    arn : str
        What `what` says in words, with wildcards and placeholders; empty where no ARN is given.
    """

    who: str
    what: str
    action: str
    is_allowed: bool = True
    condition: str = ""
    arn: str = field(default="", compare=False)

    @property
    def is_wide(self) -> bool:
        """Whether it is for more than named actions on a named resource, or for anybody."""
        return self.is_allowed and (
            "*" in self.action
            or self.what.startswith(EVERYTHING)
            or self.who.startswith(ANYBODY)
            or has_wildcard(self.arn)
        )

    def is_part_of(self, others: Iterable[Right]) -> bool:
        """Whether one of the others gives it already, as `dynamodb:*` on a table gives every action on it."""
        return any(  # a bracket is none of IAM's wildcards
            self.is_allowed
            and (self.who, self.is_allowed) == (other.who, other.is_allowed)
            and (self.what == other.what or (other.arn and fnmatchcase(self.arn, other.arn.replace("[", "[[]"))))
            and other.condition in (self.condition, "")
            and fnmatchcase(self.action, other.action)
            for other in others
        )


EVERYTHING = "**everything**"
ANYBODY = "**anybody**"
TRUST = "sts:AssumeRole"
# What limits a permission of a function.
LIMITS = ("functionUrlAuthType", "principalOrgId", "sourceAccount", "sourceArn")
# Not an action of IAM's: all that a policy allows that is not in the program to be read.
ATTACHED = "* of a policy"


def has_wildcard(arn: str) -> bool:
    """Whether an ARN is of more than one thing; versions of one function are not."""
    return any(wildcard in OF_ONE.sub("", arn) for wildcard in "*?")


class Names:
    """What the references and ARNs of a recording mean."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        resources = list(resources)
        self.by_id = {resource.logical_id: resource for resource in resources}
        self.by_id |= {resource.version_id: resource for resource in resources if resource.version_id}
        self.users: dict[str, str] = {}
        for resource in resources:
            for role in roles_of(resource):
                self.users[role] = self.of(resource)

    @staticmethod
    def of(resource: Resource) -> str:
        """Such as "function `createEscrow`"."""
        return f"{known(resource.type).word} {code(resource.name)}"

    def who(self, role: Any) -> str:
        """Whom a policy is for, given its role: what runs as it."""
        if found := REFERENCE.fullmatch(str(role)):
            logical_id = found[1]
            if user := self.users.get(logical_id):
                return user
            if logical_id in self.by_id:
                return self.of(self.by_id[logical_id])
        return f"Amplify's role {code(str(role))}"

    def what(self, arn: str) -> str:
        """What an ARN, with placeholders, is of."""
        if arn == "*":
            return EVERYTHING
        if (found := re.fullmatch(r"\$\{(\w+)(?:\.\w+)?\}(:\*)?", arn)) and found[1] in self.by_id:
            named = self.of(self.by_id[found[1]])
            return f"every version of the {named}" if found[2] else f"the {named}"
        if has_wildcard(arn):
            return wide(arn)
        tail = PSEUDO_PARAMETER.sub("", arn).split(":", 5)[-1]
        if found := re.fullmatch(r"table/([^/]+)(/stream/.*)?", tail):
            key = key_of(found[1])
            return f"{'the stream of ' if found[2] else ''}the table {code(MODELS[key].name if key else found[1])}"
        if found := re.fullmatch(r"table/([^/]+)/index/(\w+)", tail):
            key = key_of(found[1])
            return f"the index {code(found[2])} of the table {code(MODELS[key].name if key else found[1])}"
        if (found := re.fullmatch(r"parameter/\$\{(\w+)\}", tail)) and found[1] in self.by_id:
            return f"the {self.of(self.by_id[found[1]])}"
        if (found := re.fullmatch(r"log-group:\$\{(\w+)\}:\*", tail)) and found[1] in self.by_id:
            return f"the {self.of(self.by_id[found[1]])}"
        if found := re.fullmatch(r"execution:([^:]+):\*", tail):
            return f"executions of {code(found[1])}"
        return code(arn)


def wide(arn: str) -> str:
    """What an ARN with wildcards is of: of tables and workflows in words."""
    if found := re.search(r":table/([^/]+)(/stream/.*)?$", arn):
        like = "" if found[1] == "*" else f" like {code(found[1])}"
        return f"{'the streams of ' if found[2] else ''}**every** table{like}"
    if re.search(r":execution:\*(:\*)?$", arn):
        return "executions of **every** workflow"
    return code(arn)


def roles_of(resource: Resource) -> Iterator[str]:
    """The logical ids of the roles that a resource runs as."""
    if not known(resource.type).runs_as_role:
        return
    inputs = resource.inputs
    for role in (inputs.get("role"), inputs.get("roleArn"), (inputs.get("target") or {}).get("roleArn")):
        if found := REFERENCE.fullmatch(str(role)):
            yield found[1]


def rights(resources: Iterable[Resource]) -> set[Right]:
    """All that the resources allow and deny."""
    resources = list(resources)
    names = Names(resources)
    return {right for resource in resources for right in READERS.get(resource.type, by_itself)(resource, names)}


def by_policy(resource: Resource, names: Names) -> Iterator[Right]:
    """What a policy gives to its role, or to whoever it will be attached to."""
    role = resource.inputs.get("role")
    who = names.who(role) if role else f"whoever has the {names.of(resource)}"
    for statement in statements(resource.inputs["policy"]):
        yield from of_statement(statement, who, names)


def by_role(resource: Resource, names: Names) -> Iterator[Right]:
    """Who may take a role, and what the policies in it give."""
    inputs = resource.inputs
    user = names.who(f"${{{resource.logical_id}}}")
    for statement in statements(inputs["assumeRolePolicy"]):
        for who in principals(statement):
            yield from of_statement({**statement, "Resource": f"the role of the {user}"}, who, None)
    for policy in inputs.get("managedPolicyArns") or ():
        yield attached(user, policy, names)
    for inline in inputs.get("inlinePolicies") or ():
        for statement in statements(inline["policy"]) if "policy" in inline else ():
            yield from of_statement(statement, user, names)


def by_attachment(resource: Resource, names: Names) -> Iterator[Right]:
    """What a policy that is attached gives to one role, or to several."""
    inputs = resource.inputs
    for role in inputs.get("roles") or as_list(inputs.get("role")):
        yield attached(names.who(role), inputs["policyArn"], names)


def by_itself(resource: Resource, names: Names) -> Iterator[Right]:
    """What a queue, or whatever else has a policy of its own, allows to others."""
    if "policy" in resource.inputs:
        for statement in statements(resource.inputs["policy"]):
            for who in principals(statement):
                yield from of_statement(statement, who, names)


def by_permission(resource: Resource, names: Names) -> Iterator[Right]:
    """Who may call a function, from where."""
    inputs = resource.inputs
    where = {name: inputs[name] for name in LIMITS if name in inputs}
    principal = inputs["principal"]
    yield Right(
        who=ANYBODY if principal == "*" else code(principal),
        what=names.what(inputs["function"]),
        action=inputs["action"],
        condition=json.dumps(where, sort_keys=True) if where else "",
        arn=inputs["function"],
    )


READERS = {
    "aws:lambda/permission:Permission": by_permission,
    "aws:iam/policy:Policy": by_policy,
    "aws:iam/rolePolicy:RolePolicy": by_policy,
    "aws:iam/role:Role": by_role,
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": by_attachment,
    "aws:iam/policyAttachment:PolicyAttachment": by_attachment,
}


def attached(who: str, policy: str, names: Names) -> Right:
    return Right(who=who, what=f"the policy {code(policy)}" if ":" in policy else names.what(policy), action=ATTACHED)


def statements(policy: str) -> list[Mapping[str, Any]]:
    return as_list(json.loads(policy)["Statement"])


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def principals(statement: Mapping[str, Any]) -> Iterator[str]:
    principal = statement.get("Principal", "*")
    if not isinstance(principal, dict):
        yield ANYBODY if principal == "*" else code(str(principal))
        return
    for values in principal.values():
        for value in as_list(values):
            yield ANYBODY if value == "*" else code(value)


def of_statement(statement: Mapping[str, Any], who: str, names: Names | None) -> Iterator[Right]:
    """Each action on each resource; what is written by exception (NotAction, NotResource) is said as it is."""
    condition = json.dumps(statement["Condition"], sort_keys=True) if "Condition" in statement else ""
    actions = as_list(statement.get("Action", f"* except {statement.get('NotAction')}"))
    if "NotResource" in statement:
        whats = {f"**everything** except {code(str(statement['NotResource']))}": ""}
    elif names:
        whats = {names.what(arn): arn for arn in as_list(statement.get("Resource", "*"))}
    else:
        whats = {statement["Resource"]: ""}
    for action in actions:
        for what, arn in whats.items():
            yield Right(
                who=who,
                what=what,
                action=action,
                is_allowed=statement["Effect"] == "Allow",
                condition=condition,
                arn=arn,
            )


def sentences(changed: Iterable[Right], *, gained: bool) -> list[str]:
    """The rights as sentences in Markdown, those on the same thing in one: `createEscrow` may now read the table."""
    groups: dict[tuple[str, str, bool, str], list[Right]] = {}
    for right in sorted(changed):
        groups.setdefault((right.who, right.what, right.is_allowed, right.condition), []).append(right)
    lines = []
    for (who, what, is_allowed, condition), alike in groups.items():
        actions = [right.action for right in alike]
        warning = "⚠️ " if gained and any(right.is_wide for right in alike) else ""
        where = f", where {code(condition)}" if condition else ""
        lines.append(f"{warning}{who} {modal(is_allowed=is_allowed, gained=gained)} {do(actions, what)}{where}")
    return lines


def modal(*, is_allowed: bool, gained: bool) -> str:
    if is_allowed:
        return "may now" if gained else "may no longer"
    return "is now forbidden to" if gained else "is no longer forbidden to"


def do(actions: list[str], what: str) -> str:
    if actions == [TRUST]:
        return f"take {what}"
    if actions == [ATTACHED]:
        return f"do all that {what} allows"
    verbs = list(dict.fromkeys(VERBS[action] for action in actions if action in VERBS))
    if "read all of" in verbs and "read" in verbs:
        verbs.remove("read")
    if unnamed := [code(action) for action in actions if action not in VERBS]:
        verbs.append(f"do {listed(unnamed)} on")
    known = [code(action) for action in actions if action in VERBS]
    return f"{listed(verbs)} {what}" + (f" ({', '.join(known)})" if known else "")
