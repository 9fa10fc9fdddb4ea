"""What `hourbank plan` says of a change: of recordings in this process, and of commits of a repository made for it."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hourbank.cost import prices
from hourbank.errors import HourBankError
from hourbank.names import ROOT
from hourbank.program import recorder
from hourbank.program.configuration import SECRET
from hourbank.program.recorder import Resource
from hourbank.review import markdown, plan, rights, snapshot, versions
from hourbank.review.clone import Commits
from tests.helpers.waiting import ENDLESS_SECONDS

DEV = recorder.record("dev")
EVERY_TABLE = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/*"
TABLE = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/ServiceRequest-abc-dev"


def version(stacks: dict[str, versions.DeclaredStack], **changes) -> versions.Version:
    base = versions.Version(
        name="abc1234567",
        stacks=stacks,
        files={"handlers/x.py": b"1"},
        archive_bytes=1000,
        keys={},
        config={s: {} for s in stacks},
        packages={},
    )
    return replace(base, **changes)


def stack(change: Callable[[list[dict]], None] = lambda _: None, **outputs) -> versions.DeclaredStack:
    declared = json.loads(json.dumps([snapshot.declared(resource) for resource in DEV.resources]))
    change(declared)
    return versions.to_stack({"resources": declared, "outputs": {**DEV.outputs, **outputs}})


def named(resources: list[dict], name: str) -> dict:
    return next(resource for resource in resources if resource["name"] == name)


def allow(resources: list[dict], policy: str, *statements: dict) -> None:
    document = json.loads(named(resources, policy)["inputs"]["policy"])
    document["Statement"] += [{"Effect": "Allow", **statement} for statement in statements]
    named(resources, policy)["inputs"]["policy"] = json.dumps(document)


def said(change: Callable[[list[dict]], None], before: Callable[[list[dict]], None] | None = None, **changes) -> str:
    was = stack(before) if before else stack()
    return plan.render(version({"dev": was}), version({"dev": stack(change)}, **changes), ["dev"])


# --- resources --------------------------------------------------------------------------------------------------------


def test_no_change_reads_like_that():
    text = said(lambda _: None)
    assert text.startswith("<!-- hourbank plan -->\n")
    assert "**No change** in what is deployed to `dev`." in text
    assert "###" not in text


def test_another_order_in_a_policy_is_no_change_of_rights():
    def shuffle(resources):
        policy = named(resources, "createEscrow-policy")["inputs"]
        policy["policy"] = json.dumps(
            {"Statement": json.loads(policy["policy"])["Statement"][::-1], "Version": "2012-10-17"}
        )

    text = said(shuffle)
    assert "### Permissions" not in text
    assert "policy `createEscrow-policy` changes" in text


def test_a_value_that_changes_is_shown_as_it_was_and_is():
    def change(resources):
        named(resources, "createEscrow")["inputs"]["timeout"] = 45
        named(resources, "createEscrow")["inputs"]["environment"]["variables"]["NEW"] = "x" * 200
        named(resources, "auditLedger-AuditIncomplete")["inputs"]["alarmActions"] = ["arn"]
        del named(resources, "auditLedger-AuditIncomplete")["inputs"]["tags"]["Project"]

    text = said(change)
    assert "Resources: 0 added, **2 changed**, 0 replaced, 0 removed." in text
    assert "- ✏️ function `createEscrow` changes\n" in text
    assert "  - `timeout`: `30` → `45`\n" in text
    assert re.search(r"  - `environment.variables.NEW`: `x+ … x+`, new\n", text)
    assert '  - `alarmActions`: `["arn"]`, new\n' in text
    assert "  - `tags.Project`: `hourbank`, no longer\n" in text


def test_of_long_values_the_part_that_differs_is_shown():
    def change(resources):
        named(resources, "createEscrow-errors")["inputs"]["alarmDescription"] = "x" * 80 + " was so. " + "y" * 20

    def changed(resources):
        named(resources, "createEscrow-errors")["inputs"]["alarmDescription"] = "x" * 80 + " is so. " + "y" * 20

    text = plan.render(version({"dev": stack(change)}), version({"dev": stack(changed)}), ["dev"])
    assert f"`… {'x' * 24} was so. {'y' * 20}` → `… {'x' * 24} is so. {'y' * 20}`" in text


def test_what_changes_alike_is_said_once():
    def change(resources):
        for resource in resources:
            if "tags" in resource["inputs"]:
                resource["inputs"]["tags"]["Project"] = "other"
        named(resources, "ServiceRequestWorkflow")["inputs"]["type"] = "EXPRESS"
        del named(resources, "auditLedger-schedule")["inputs"]["name"]

    text = said(change)
    assert text.count("`tags.Project`: `hourbank` → `other`") == 2
    assert re.search(r"- ✏️ \d\d change alike: bus `eventBus`, log group .*alarm `auditLedger-AuditCompleted`", text)
    assert "- 🔁 workflow `ServiceRequestWorkflow` is **replaced**: its `type` changes\n" in text
    assert "is **replaced**: its `name` is no longer set, unless that is the default\n" in text


def test_to_set_the_default_or_no_longer_replaces_nothing():
    def change(resources):
        named(resources, "ServiceRequestWorkflow")["inputs"]["type"] = "STANDARD"
        named(resources, "auditLedger-schedule")["inputs"]["groupName"] = "default"
        named(resources, "routeServiceRequest-queue")["inputs"]["fifoQueue"] = False

    for before, after in ((stack(), stack(change)), (stack(change), stack())):
        text = plan.render(version({"dev": before}), version({"dev": after}), ["dev"])
        assert "0 added, **3 changed**, 0 replaced, 0 removed" in text
        assert "### Before this is deployed" not in text


def test_another_name_replaces_and_what_belongs_to_it_follows():
    text = said(lambda resources: named(resources, "createEscrow-role")["inputs"].update(name="other"))
    assert "**2 replaced**" in text
    assert "- 🔁 role `createEscrow-role` is **replaced**: its `name` changes\n" in text
    assert (
        "- 🔁 policy `createEscrow-policy` is **replaced**: what it belongs to is replaced, role `createEscrow-role`"
        in text
    )


def test_what_ends_executions_that_wait_is_said_first():
    def change(resources):
        named(resources, "ServiceRequestWorkflow")["inputs"]["name"] = "Requests-dev"
        named(resources, "EscrowManagementWorkflow-role")["inputs"]["name"] = "other"
        named(resources, "createEscrow")["inputs"]["environment"]["variables"]["ESCROW_TABLE_NAME"] = "Other"
        named(resources, "auditLedger-AuditIncomplete")["name"] = "auditLedger-Incomplete"
        resources.remove(named(resources, "adjustEscrow"))

    def protected(resources):
        named(resources, "ServiceRequestWorkflow")["protect"] = True

    def both(resources):
        protected(resources)
        change(resources)

    text = plan.render(version({"dev": stack(protected)}), version({"dev": stack(both)}), ["dev"])
    first = text.partition("### Permissions")[0]
    for line in (
        "The workflow `ServiceRequestWorkflow` is replaced, and protected: `pulumi up` will refuse.",
        "The workflow `ServiceRequestWorkflow` is replaced: its executions end at their next state, hours held.",
        "The role of the workflow `EscrowManagementWorkflow` is replaced: executions that run need the old one.",
        "The function `adjustEscrow` is removed: all its versions go with it",
        "The function `createEscrow` uses another table: executions that wait go on with the old one.",
        "The alarm `auditLedger-AuditIncomplete` is `auditLedger-Incomplete` now, with its name on AWS",
    ):
        assert f"- {line}" in first
    unprotected = plan.render(version({"dev": stack(protected)}), version({"dev": stack()}), ["dev"])
    assert "- The workflow `ServiceRequestWorkflow` is protected no longer." in unprotected


def test_another_component_is_another_urn():
    text = said(lambda resources: named(resources, "eventBus").update(parent="hourbank:index:Bus"))
    assert "bus `eventBus` is **replaced**: it is another component's, unless that is given an alias" in text


def test_code_alone_changes_no_resource_but_is_said():
    new_code = said(lambda _: None, files={"handlers/x.py": b"22", "handlers/y.py": b"3"}, archive_bytes=1100)
    assert "0 added, 0 changed, 0 replaced, 0 removed; new code for every function." in new_code
    assert "1,000 → 1,100 bytes (+100)" in new_code
    assert "- `handlers/x.py` changed (+1 bytes)\n- `handlers/y.py` added (+1 bytes)\n" in new_code

    def renumber(resources):
        for resource in resources:
            if resource["version_id"]:
                old, resource["version_id"] = resource["version_id"], resource["logical_id"] + "Version0"
                for machine in ("ServiceRequestWorkflow", "EscrowManagementWorkflow"):
                    inputs = named(resources, machine)["inputs"]
                    inputs["definition"] = inputs["definition"].replace(old, resource["version_id"])

    assert "**No change**" in said(renumber)


def test_keys_values_and_packages_are_compared():
    before = {"keys": {"old": {"type": "string", "default": ""}, "days": {"type": "integer", "default": 14}}}
    text = plan.render(
        version(
            {"dev": stack()},
            packages={"boto3": "1.40"},
            config={"dev": {"hourbank:key": f"{SECRET}aaaa"}},
            **before,
        ),
        version(
            {"dev": stack(answer="42")},
            packages={"boto3": "1.41"},
            config={"dev": {"hourbank:key": f"{SECRET}bbbb"}},
            keys={"days": {"type": "integer", "default": 30}, "new": {"type": "boolean"}},
        ),
        ["dev"],
    )
    assert "- key `days`, `default`: `14` → `30`\n" in text
    assert "- key `new` is added: `boolean`, **required**\n" in text
    assert "- key `old` is removed: a stack that sets it is refused\n" in text
    assert "- `Pulumi.dev.yaml`, `hourbank:key`: a secret is encrypted anew, and may be another\n" in text
    assert "- `boto3`: `1.40` → `1.41`\n" in text
    assert "- output `answer`: `42`, new\n" in text


def test_a_stack_that_is_refused_says_why():
    refused = versions.to_stack({"refused": "hourbank:amplifyEnv is missing"})
    text = plan.render(version({"dev": stack()}), version({"dev": refused}, files={}, archive_bytes=22), ["dev"])
    assert "The program now refuses the stack `dev`: `hourbank:amplifyEnv is missing`" in text
    assert "archive" not in text
    assert "### Resources" not in text
    # what a program that refuses would take along nobody knows
    nothing = version({"dev": refused}, files={}, archive_bytes=22)
    for old, new in ((version({"dev": stack()}), nothing), (nothing, version({"dev": stack()}))):
        text = plan.render(old, new, ["dev"])
        assert "refuse" in text
        assert "bytes" not in text


def test_what_only_pulumi_can_open_is_said_and_no_ciphertext():
    secret = {"hourbank:tables": {"escrow": f"{SECRET}aaaa", "userBalance": "Mine"}}
    text = plan.render(
        version({"dev": stack()}, config={"dev": {"hourbank:tables": {"escrow": "Plain", "userBalance": "Mine"}}}),
        version(
            {"dev": stack()},
            config={"dev": secret},
            project={"aws:region": "eu-west-1"},
            environments={"dev": ["acme/time-bank"]},
            unknown={"dev": {"hourbank:tables": "is a secret in Pulumi.dev.yaml"}},
        ),
        ["dev"],
    )
    says = "`hourbank:tables` is a secret in Pulumi.dev.yaml; `acme/time-bank` of Pulumi ESC may set more."
    assert f"Unknown here, as only Pulumi can open it: {says}\n" in text
    assert "- `Pulumi.dev.yaml`, `hourbank:tables.escrow`: `Plain` → `a secret`\n" in text
    assert '- `Pulumi.dev.yaml`, `environment`: `[]` → `["acme/time-bank"]`\n' in text
    assert "- `Pulumi.yaml`, `aws:region`: `eu-west-1`, new\n" in text
    assert "aaaa" not in text


# --- rights -----------------------------------------------------------------------------------------------------------


def test_rights_are_said_in_words():
    def change(resources):
        allow(
            resources,
            "createEscrow-policy",
            {"Action": "dynamodb:Query", "Resource": TABLE},
            {
                "Action": "s3:GetObject",
                "Resource": "arn:aws:s3:::b/c",
                "Condition": {"Bool": {"x": "y"}},
            },
            {"Effect": "Deny", "Action": "events:PutEvents", "Resource": "${EventBus.Arn}"},
        )
        policy = named(resources, "ServiceRequestWorkflow-policy")["inputs"]
        policy["policy"] = policy["policy"].replace('"${AdjustEscrow.Arn}:*", ', "")
        trust = named(resources, "createEscrow-role")["inputs"]
        trust["assumeRolePolicy"] = trust["assumeRolePolicy"].replace("lambda.amazonaws.com", "ec2.amazonaws.com")

    text = said(change).partition("### Permissions\n\n")[2].partition("\n###")[0]
    assert text.splitlines() == [
        "- `ec2.amazonaws.com` may now take the role of the function `createEscrow`",
        '- function `createEscrow` may now do `s3:GetObject` on `arn:aws:s3:::b/c`, where `{"Bool": {"x": "y"}}`',
        "- function `createEscrow` is now forbidden to send events to the bus `eventBus` (`events:PutEvents`)",
        "- function `createEscrow` may now query the table `ServiceRequest` (`dynamodb:Query`)",
        "- `lambda.amazonaws.com` may no longer take the role of the function `createEscrow`",
        (
            "- workflow `ServiceRequestWorkflow` may no longer call every version of the function `adjustEscrow` "
            "(`lambda:InvokeFunction`)"
        ),
    ]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ({"Action": "dynamodb:*", "Resource": TABLE}, "may now do `dynamodb:*` on the table `ServiceRequest`"),
        ({"Action": "dynamodb:Scan", "Resource": "*"}, "may now read all of **everything** (`dynamodb:Scan`)"),
        ({"NotAction": "iam:*", "Resource": TABLE}, "may now do `* except iam:*` on the table `ServiceRequest`"),
        (
            {"Action": "dynamodb:Scan", "Resource": EVERY_TABLE},
            "may now read all of **every** table (`dynamodb:Scan`)",
        ),
        (
            {"Action": "dynamodb:Scan", "Resource": f"{TABLE}*"},
            "may now read all of **every** table like `ServiceRequest-abc-dev*` (`dynamodb:Scan`)",
        ),
        ({"Action": "s3:Get", "Resource": "arn:aws:s3:::b/?"}, "may now do `s3:Get` on `arn:aws:s3:::b/?`"),
        ({"Action": "s3:Get", "NotResource": TABLE}, f"may now do `s3:Get` on **everything** except `{TABLE}`"),
    ],
)
def test_what_is_wide_is_marked(statement, says):
    text = said(lambda resources: allow(resources, "createEscrow-policy", statement))
    assert f"- ⚠️ function `createEscrow` {says}\n" in text
    assert "- ⚠️ Rights are gained for more than named actions" in text.partition("### Permissions")[0]


def test_a_role_that_anybody_may_take_is_marked_and_said_first():
    def change(resources):
        trust = named(resources, "createEscrow-role")["inputs"]
        trust["assumeRolePolicy"] = json.dumps(
            {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
        )

    text = said(change)
    assert "- ⚠️ **anybody** may now take the role of the function `createEscrow`\n" in text
    assert "### Before this is deployed\n\n- ⚠️ Rights are gained" in text


def attach(resources: list[dict], type_: str, **inputs) -> None:
    resources.append(
        {"type": type_, "name": "x-admin", "logical_id": "XAdmin", "version_id": None, "inputs": inputs, "parent": ""}
    )


ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


@pytest.mark.parametrize(
    "change",
    [
        lambda resources: attach(
            resources,
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
            role="${AdjustEscrowRole}",
            policyArn=ADMINISTRATOR,
        ),
        lambda resources: attach(
            resources,
            "aws:iam/policyAttachment:PolicyAttachment",
            roles=["${AdjustEscrowRole}"],
            policyArn=ADMINISTRATOR,
        ),
        lambda resources: named(resources, "adjustEscrow-role")["inputs"].update(managedPolicyArns=[ADMINISTRATOR]),
    ],
)
def test_a_policy_that_is_attached_is_a_wide_right(change):
    text = said(change)
    assert "rights: 1 gained, 0 lost" in text
    assert f"- ⚠️ function `adjustEscrow` may now do all that the policy `{ADMINISTRATOR}` allows\n" in text
    assert "- ⚠️ Rights are gained" in text.partition("### Permissions")[0]
    assert "Rights are lost" not in text


def test_a_permission_of_a_function_is_a_right():
    given = {"function": "${AdjustEscrow.Arn}", "action": "lambda:InvokeFunction", "principal": "*"}
    text = said(lambda resources: attach(resources, "aws:lambda/permission:Permission", **given))
    assert "- ⚠️ **anybody** may now call the function `adjustEscrow` (`lambda:InvokeFunction`)\n" in text
    assert (
        "- ➕ permission `x-admin` is added\n  - `action`: `lambda:InvokeFunction`\n"
        "  - `function`: `${AdjustEscrow.Arn}`\n  - `principal`: `*`\n" in text
    )
    given |= {"principal": "s3.amazonaws.com", "sourceAccount": "1"}
    text = said(lambda resources: attach(resources, "aws:lambda/permission:Permission", **given))
    assert (
        '- `s3.amazonaws.com` may now call the function `adjustEscrow` (`lambda:InvokeFunction`), where `{"so' in text
    )


def test_a_policy_inside_of_a_role_or_by_itself_is_read():
    document = json.dumps({"Statement": {"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": TABLE}})

    def change(resources):
        named(resources, "adjustEscrow-role")["inputs"]["inlinePolicies"] = [{"name": "a", "policy": document}]
        attach(resources, "aws:iam/policy:Policy", policy=document)

    text = said(change)
    assert "rights: 2 gained, 0 lost" in text
    assert "- function `adjustEscrow` may now read all of the table `ServiceRequest` (`dynamodb:Scan`)\n" in text
    assert "- whoever has the policy `x-admin` may now read all of the table `ServiceRequest`" in text


def test_a_right_that_a_wider_one_gives_is_not_lost():
    table = TABLE.replace("-abc-", "-abcdefghijklmnopqrstuvwxyz-")

    def widen(resources):
        policy = named(resources, "notifyProvider-policy")["inputs"]
        statements = json.loads(policy["policy"])["Statement"]
        statements[0] = {"Effect": "Allow", "Action": "dynamodb:*", "Resource": table}
        policy["policy"] = json.dumps({"Version": "2012-10-17", "Statement": statements})

    text = said(widen)
    assert "rights: 1 gained, 0 lost" in text
    assert "Rights are lost" not in text


@pytest.mark.parametrize(
    ("actions", "says"),
    [
        (["a:A", "a:B", "a:C"], "do `a:A`, `a:B` and `a:C` on the table"),
        (["dynamodb:GetItem", "dynamodb:Scan"], "read all of the table (`dynamodb:GetItem`, `dynamodb:Scan`)"),
        (["a:A", "dynamodb:GetItem"], "read and do `a:A` on the table (`dynamodb:GetItem`)"),
    ],
)
def test_actions_on_the_same_thing_read_as_a_sentence(actions, says):
    assert rights.do(actions, "the table") == says


def test_a_wildcard_gives_what_was_named_and_takes_nothing():
    def widen(resources):
        policy = named(resources, "notifyProvider-policy")["inputs"]
        policy["policy"] = re.sub(r"table/\w+-[a-z]+-dev", "table/*", policy["policy"])

    text = said(widen)
    assert re.search(r"rights: [1-9]\d* gained, 0 lost", text)
    assert "- ⚠️ function `notifyProvider` may now read and change **every** table" in text
    back = plan.render(version({"dev": stack(widen)}), version({"dev": stack()}), ["dev"])
    assert re.search(r"rights: 0 gained, [1-9]\d* lost", back)


@pytest.mark.parametrize(
    ("arn", "is_wide"),
    [
        ("${AdjustEscrow.Arn}:*", False),
        ("arn:aws:lambda:r:1:function:one:*", False),
        ("arn:aws:logs:r:1:log-group:/aws/lambda/one:*", False),
        ("arn:aws:states:r:1:execution:One:*", False),
        (f"{TABLE}/stream/*", False),
        (TABLE, False),
        ("arn:aws:states:r:1:execution:*:*", True),
        ("arn:aws:lambda:r:1:function:*", True),
        ("arn:aws:lambda:r:1:function:on?", True),
        ("arn:aws:logs:r:1:log-group:/aws/*:*", True),
        (f"{TABLE}/*", True),
        (f"{EVERY_TABLE}/stream/*", True),
    ],
)
def test_versions_of_one_function_are_not_wide_but_two_functions_are(arn, is_wide):
    assert rights.has_wildcard(arn) is is_wide
    assert rights.Right(who="a", what="b", action="c", arn=arn).is_wide is is_wide


def test_nothing_that_is_deployed_is_wide_but_tracing_and_log_delivery():
    found = {right for right in rights.rights(DEV.resources) if right.is_wide}
    assert {right.what for right in found} == {rights.EVERYTHING}


def test_the_words_of_what_is_deployed_name_everything():
    words = [*rights.sentences(rights.rights(DEV.resources), gained=True)]
    for line in (
        "function `notifyProvider` may now send events to the bus `eventBus` (`events:PutEvents`)",
        "function `validateEscrowRelease` may now read the table `Escrow` (`dynamodb:GetItem`)",
        "schedule `auditLedger-schedule` may now call the function `auditLedger` (`lambda:InvokeFunction`)",
    ):
        assert line in words
    assert any("the stream of the table `ServiceRequest`" in line for line in words)
    assert not [
        line for line in words if "arn:" in line.partition(", where")[0] or "${" in line.partition(", where")[0]
    ]


def test_nothing_of_a_change_can_be_read_as_markdown():
    evil = "a`b``<!-- @everyone -->\n| x"
    assert markdown.code(evil) == "```a`b``<!-- @everyone --> | x```"
    assert markdown.code("`x`") == "`` `x` ``"
    text = said(lambda resources: named(resources, "createEscrow")["inputs"].update(timeout=evil))
    assert "→ ```a`b``<!-- @everyone --> | x```" in text


# --- workflows and cost -----------------------------------------------------------------------------------------------


def definition(resources: list[dict], change: Callable[[dict], None]) -> None:
    inputs = named(resources, "ServiceRequestWorkflow")["inputs"]
    asl = json.loads(inputs["definition"])
    change(asl["States"])
    inputs["definition"] = json.dumps(asl)


def test_a_way_that_is_gone_says_so_where_its_price_was():
    def change(states):
        states["CheckProviderResponse"]["Choices"] = states["CheckProviderResponse"]["Choices"][1:]

    text = said(lambda resources: definition(resources, change))
    number = r"\d+(\.\d+)?"
    gone = rf"\| accepted and released \| {number} → \*\*-\*\* \| {number} → \*\*-\*\* \| "
    assert re.search(rf"{gone}{number} → \*\*`CheckProviderResponse has no ACCEPTED`\*\* \|", text)
    assert re.search(rf"\| declined \| {number} \| {number} \| {number} \|", text)


def test_an_error_that_is_caught_no_longer_is_said_in_words_and_first():
    def change(states):
        states["AdjustEscrow"]["Catch"] = states["AdjustEscrow"]["Catch"][:-1]
        del states["EscrowHours"]["Catch"]

    text = said(lambda resources: definition(resources, change))
    assert "- state `AdjustEscrow`: any other error no longer leads to `RefundAfterFailure`\n" in text
    assert "`Catch`" not in text
    first = text.partition("### Workflows")[0]
    ends = "an error ends the execution, hours held."
    assert f"- State `AdjustEscrow` of `ServiceRequestWorkflow` does not catch every error: {ends}\n" in first
    assert f"- State `EscrowHours` of `ServiceRequestWorkflow` catches nothing: {ends}\n" in first
    assert first.count(ends) == 2
    assert "RefundAfterFailure" in text


def test_a_way_that_leads_elsewhere_is_said_in_words():
    def change(states):
        states["CheckProviderResponse"]["Choices"][0]["Next"] = "RefundEscrow"
        states["AdjustEscrow"]["Catch"][-1]["ResultPath"] = "$.other"

    text = said(lambda resources: definition(resources, change))
    assert "- state `CheckProviderResponse`: `ACCEPTED` now leads to `RefundEscrow`, no longer to `Start" in text
    assert "`Choices`" not in text
    assert "- state `AdjustEscrow`, `Catch`: " in text, "what the words do not say is shown as it is"
    assert "### Before this is deployed" not in text


def test_a_new_state_says_what_it_does():
    def change(states):
        states["CoolDown"] = {"Type": "Wait", "Seconds": 600, "Next": "EscrowHours"}
        states["Ask"] = {"Type": "Task", "Resource": "${AdjustEscrow.Arn}", "TimeoutSeconds": 5, "Next": "CoolDown"}
        states["Say"] = {"Type": "Pass", "Result": "@everyone", "Next": "CoolDown"}

    text = said(lambda resources: definition(resources, change))
    assert "- state `CoolDown` is added: `Wait`, waits 10 minutes\n" in text
    assert (
        "- state `Ask` is added: `Task`, calls `${AdjustEscrow.Arn}`, `TimeoutSeconds` `5`, catches nothing\n" in text
    )
    assert "- state `Say` is added: `Pass`, `@everyone`\n" in text
    assert "- State `Ask` of `ServiceRequestWorkflow` catches nothing" in text


def tell_both(states: dict, catch: list | None = None, seconds: int = 3, timeout: int = 60) -> None:
    """Put a Parallel, with a Map in it, in the way of an accepted request."""
    ask = {"Type": "Task", "Resource": "${AdjustEscrow.Arn}", "TimeoutSeconds": timeout, "End": True}
    tell = {"Type": "Pass", "End": True}
    each = {"Type": "Map", "ItemProcessor": {"StartAt": "Tell", "States": {"Tell": tell}}, "End": True}
    states["CheckProviderResponse"]["Choices"][0]["Next"] = "TellBoth"
    states["TellBoth"] = {
        "Type": "Parallel",
        "Branches": [
            {
                "StartAt": "CoolDown",
                "States": {"CoolDown": {"Type": "Wait", "Seconds": seconds, "Next": "AskAgain"}, "AskAgain": ask},
            },
            {"StartAt": "EachDay", "States": {"EachDay": each}},
        ],
        **({"Catch": catch} if catch else {}),
        "Next": "StartServiceExecution",
    }


CATCHES_ALL = [{"ErrorEquals": ["States.ALL"], "Next": "RefundAfterFailure"}]


def test_a_new_parallel_says_what_is_inside_and_that_nothing_is_caught():
    text = said(lambda resources: definition(resources, tell_both))
    first = text.partition("### Workflows")[0]
    assert (
        "- State `TellBoth` of `ServiceRequestWorkflow` catches nothing: an error ends the execution, hours held.\n"
        in first
    )
    assert first.count("hours held") == 1, "what is inside of it ends it alone"
    assert "- state `TellBoth` is added: `Parallel`, 2 branches at once, 3 states, catches nothing\n" in text
    assert (
        "- state `AskAgain` in `TellBoth` is added: `Task`, calls `${AdjustEscrow.Arn}`, `TimeoutSeconds` `60`" in text
    )
    assert "- state `EachDay` in `TellBoth` is added: `Map`, for each item: 1 state, catches nothing\n" in text
    assert "- state `Tell` in `EachDay` is added: `Pass`\n" in text
    assert "### Before" not in said(lambda resources: definition(resources, lambda asl: tell_both(asl, CATCHES_ALL)))


def test_a_map_that_catches_no_longer_is_said_first():
    def mapped(states, **ways):
        states["AdjustEscrow"] = states["AdjustEscrow"] | {"Type": "Map", "ItemProcessor": {"States": {}}} | ways

    text = said(
        lambda resources: definition(resources, lambda states: mapped(states, Catch=[])),
        before=lambda resources: definition(resources, mapped),
    )
    assert "- State `AdjustEscrow` of `ServiceRequestWorkflow` catches nothing: an error ends" in text


def test_branches_are_compared_state_by_state():
    text = said(
        lambda resources: definition(resources, lambda states: tell_both(states, CATCHES_ALL, seconds=4, timeout=90)),
        before=lambda resources: definition(resources, lambda states: tell_both(states, CATCHES_ALL)),
    )
    workflows = text.partition("### Workflows")[2].partition("```")[0]
    assert workflows.count("- ") == 2
    assert "- state `AskAgain` in `TellBoth`, `TimeoutSeconds`: `60` → `90`\n" in workflows
    assert "- state `CoolDown` in `TellBoth`, `Seconds`: `3` → `4`\n" in workflows


def test_where_branches_begin_and_what_moves_is_said():
    def moved(states):
        tell_both(states, CATCHES_ALL)
        first, second = states["TellBoth"]["Branches"]
        states["CoolDown"] = first["States"].pop("CoolDown") | {"Next": "TellBoth"}
        first["StartAt"] = "AskAgain"
        second["Comment"] = "Each day"

    text = said(
        lambda resources: definition(resources, moved),
        before=lambda resources: definition(resources, lambda states: tell_both(states, CATCHES_ALL)),
    )
    assert "- state `CoolDown`: it was in `TellBoth`\n" in text
    assert "- state `TellBoth`, `Branches.1.StartAt`: `CoolDown` → `AskAgain`\n" in text
    assert "- state `TellBoth`, `Branches.2.Comment`: `Each day`, new\n" in text


def test_a_choice_without_its_default_is_said_first():
    text = said(lambda resources: definition(resources, lambda states: states["CheckProviderResponse"].pop("Default")))
    first = text.partition("### Workflows")[0]
    assert (
        "- State `CheckProviderResponse` of `ServiceRequestWorkflow` has no Default: what no rule is for ends the "
        "execution, hours held.\n"
    ) in first


def test_so_is_one_inside_of_what_does_not_catch():
    def nested(states, **ways):
        tell_both(states, CATCHES_ALL[:0])
        choice = {"Type": "Choice", "Choices": [{"Variable": "$.x", "IsPresent": True, "Next": "CoolDown"}], **ways}
        states["TellBoth"]["Branches"][0]["States"]["Which"] = choice

    text = said(
        lambda resources: definition(resources, nested),
        before=lambda resources: definition(resources, lambda states: nested(states, Default="CoolDown")),
    )
    assert "- State `Which` of `ServiceRequestWorkflow` has no Default: what no rule is for ends" in text


def test_a_program_that_is_new_ends_nothing_that_runs():
    text = plan.render(versions.nothing("abc1234567", ["dev"]), version({"dev": stack()}), ["dev"], ["All is new."])
    assert "hours held" not in text
    assert "\nAll is new.\n" in text
    assert re.search(r"Resources: \*\*\d+ added\*\*, 0 changed", text)
    assert "bytes" not in text


def test_an_alarm_more_is_paid_for_every_month():
    def change(resources):
        alarm = json.loads(json.dumps(named(resources, "createEscrow-errors")))
        resources.append(alarm | {"name": "more", "logical_id": "More", "inputs": alarm["inputs"] | {"name": "more"}})

    text = said(change)
    before = sum(len(DEV.of_type(type_)) * price.each for type_, price in prices.MONTHLY.items())
    assert f"Alarms and dashboards cost ${before + prices.ALARM.each:.2f} a month, ${before:.2f} before." in text
    assert "transitions" not in text


# --- all of it in a comment -------------------------------------------------------------------------------------------


def test_a_long_comment_is_cut_between_its_blocks():
    found = importlib.util.spec_from_file_location("comment", ROOT / "tools" / "comment.py")
    assert found
    assert found.loader
    comment = importlib.util.module_from_spec(found)
    found.loader.exec_module(comment)

    def change(resources):
        for number in range(3000):
            resources.append(
                {
                    "type": "aws:sqs/queue:Queue",
                    "name": f"queue-{number}",
                    "logical_id": f"Queue{number}",
                    "version_id": None,
                    "inputs": {"name": f"q{number}"},
                }
            )

    text = said(change, files={"handlers/x.py": b"2"})
    assert 50_000 < len(text) < comment.LONGEST
    assert comment.body("plan", text) == text, "nothing is cut where it is posted"
    assert re.search(r"\n… and \d+ more that a comment has no room for\.\n", text)
    assert "**3000 added**" in text
    assert all(line.endswith(")") for line in text.splitlines() if line.startswith("- ➕"))
    assert "### Code of the functions" in text


def test_other_stacks_are_folded_unless_they_are_the_same():
    def change(resources):
        named(resources, "createEscrow")["inputs"]["timeout"] = 45

    def more(resources):
        change(resources)
        named(resources, "createEscrow")["inputs"]["memorySize"] = 1024

    before = version({name: stack() for name in ("dev", "staging", "prod", "local")})
    after = version({"dev": stack(change), "staging": stack(change), "prod": stack(more), "local": stack()})
    text = plan.render(before, after, ["dev", "staging", "prod", "local"])
    assert "\n`staging`: the same as `dev`.\n" in text
    assert "\n`local`: no change.\n" in text
    folded = text.partition(
        "<details><summary>prod: resources: 0 added, 1 changed, 0 replaced, 0 removed.</summary>\n\n"
    )[2]
    assert "  - `memorySize`: `512` → `1024`\n" in folded
    assert folded.rstrip().partition("</details>")[0].endswith("\n\n")


# --- commits ----------------------------------------------------------------------------------------------------------

FILES = (
    "__main__.py",
    "components",
    "workflows",
    "handlers",
    "hourbank",
    "uv.lock",
    *(path.name for path in ROOT.glob("Pulumi*.yaml")),
)
COMMAND = [sys.executable, "-c", "from hourbank.cli import main; main()", "plan"]


class Clone:
    """A repository with this program in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in FILES:
            source, target = ROOT / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit()

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a change")

    def branch(self, name: str, changes: dict[str, tuple[str, str]]) -> None:
        """A branch of main, in which in each file one text is another."""
        self.git("checkout", "--quiet", "-B", name, "main")
        for file, (old, new) in changes.items():
            text = (self.folder / file).read_text(encoding="utf-8")
            assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
            (self.folder / file).write_text(text.replace(old, new), encoding="utf-8")
        self.commit()

    def plan(self, *arguments: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "AWS_PROFILE": "nobody", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=ENDLESS_SECONDS,
            check=False,
        )

    def text(self, *arguments: str) -> str:
        ended = self.plan(*arguments)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return Clone(tmp_path_factory.mktemp("clone"))


CREATE_ESCROW = """"Resource": functions["createEscrow"],
                "Parameters": CONTEXT,
                "TimeoutSeconds": """
BEFORE_WAITING = """"ResultPath": "$.states.EscrowHours",
                "Next": "{}",
            }},
"""
NEW_STATE = """            "AskAgain": {
                "Type": "Task",
                "Comment": "Looks at the request once more.",
                "Resource": functions["validateServiceRequest"],
                "Parameters": CONTEXT,
                "TimeoutSeconds": 60,
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "RefundAfterFailure"}],
                "ResultPath": "$.states.AskAgain",
                "Next": "WaitForProviderResponse",
            },
"""


@pytest.mark.thorough
@pytest.mark.xdist_group("plan")
class TestCommits:
    """With git, and a process for each version."""

    def test_another_timeout_of_a_state(self, clone):
        clone.branch("timeout", {"workflows/service_request.py": (CREATE_ESCROW + "60", CREATE_ESCROW + "90")})
        text = clone.text("--base", "main", "--head", "timeout")
        assert "Resources: 0 added, **1 changed**, 0 replaced, 0 removed." in text
        assert "**`ServiceRequestWorkflow`**\n\n- state `EscrowHours`, `TimeoutSeconds`: `60` → `90`\n" in text
        assert "\n```mermaid\nflowchart TD\n" in text
        assert "class EscrowHours changed" in text
        assert "EscrowManagementWorkflow" not in text
        assert "### Cost" not in text
        assert "### Code" not in text
        assert clone.text("--base", "main", "--head", "timeout") == text, "the same commits, the same text"

    def test_a_new_state(self, clone):
        change = (BEFORE_WAITING.format("WaitForProviderResponse"), BEFORE_WAITING.format("AskAgain") + NEW_STATE)
        clone.branch("state", {"workflows/service_request.py": change})
        text = clone.text("--base", "main", "--head", "state")
        assert "- state `AskAgain` is added: `Task`, calls `validateServiceRequest`, `TimeoutSeconds` `60`\n" in text
        assert "- state `EscrowHours`, `Next`: `WaitForProviderResponse` → `AskAgain`\n" in text
        assert "class AskAgain added" in text
        assert "| accepted and released | 8 → **9** | 6 → **7** | 0.2012 → **0.2264** |" in text
        assert "| invalid | 2 | 2 | 0.0504 |" in text

    def test_a_wider_right(self, clone):
        changes = {
            "components/functions.py": (
                '"notifyProvider": Access(request=(GET, UPDATE),',
                '"notifyProvider": Access(request=(GET, UPDATE, "dynamodb:Scan"),',
            )
        }
        clone.branch("right", changes)
        text = clone.text("--base", "main", "--head", "right")
        documented = (
            (ROOT / "docs" / "review" / "plan.md").read_text(encoding="utf-8").split("~~~markdown\n")[1].split("~~~")[0]
        )
        commits = re.compile("`[0-9a-f]{10}`")
        assert commits.sub("`…`", text) == commits.sub("`…`", documented)
        assert "rights: 1 gained, 0 lost" in text
        assert "- function `notifyProvider` may now read all of the table `ServiceRequest` (`dynamodb:Scan`)\n" in text
        assert "- ✏️ policy `notifyProvider-policy` changes\n  - `policy`: see Permissions\n" in text
        assert "### Workflows" not in text

    def test_files_that_are_not_committed_are_the_change(self, clone):
        clone.branch("files", {})
        with (clone.folder / "handlers" / "bank" / "hours.py").open("a") as file:
            file.write("# more\n")
        text = clone.text("--base", "main")
        clone.git("checkout", "--quiet", "--force", "main")
        assert "to `the files as they are`" in text
        assert "new code for every function" in text
        assert "- `handlers/bank/hours.py` changed (+7 bytes)\n" in text
        assert "### Resources" not in text

    def test_what_main_has_done_since_is_not_the_change(self, clone):
        clone.branch("old", {})
        clone.git("checkout", "--quiet", "-B", "newer", "main")
        (clone.folder / "handlers" / "more.py").write_text("")
        clone.commit()
        assert "**No change**" in clone.text("--base", "newer", "--head", "old")

    def test_a_version_that_cannot_be_recorded_is_one_line(self, clone):
        clone.branch("broken", {"__main__.py": ("settings = configuration.load()", "raise KeyError('oh\\nno')")})
        ended = clone.plan("--base", "main", "--head", "broken")
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
        assert ended.stderr.endswith("cannot be recorded with what is installed here: KeyError: 'oh\\nno'\n")
        assert "**No change**" in clone.text("--base", "broken", "--head", "main"), "that is not main's doing"


def test_a_version_from_before_the_program_is_told_so(tmp_path):
    with pytest.raises(HourBankError, match=r"abc cannot be recorded: it has no __main__\.py and components/"):
        versions.read("abc", tmp_path, {"dev": {}})


def test_an_unknown_stack_is_one_line():
    with pytest.raises(HourBankError, match="there is no stack moon: the stacks are dev, staging, prod, local, or all"):
        plan.plan("main", None, "moon")


def test_all_stacks_are_those_that_are_deployed(monkeypatch):
    monkeypatch.setattr(plan, "find", lambda *_: Commits(before="a" * 40, after="b" * 40, have_common=True))
    monkeypatch.setattr(plan, "place", lambda _: "")
    monkeypatch.setattr(plan, "extract", lambda *_: ROOT)
    monkeypatch.setattr(plan, "read", lambda _, __, unknown: version({name: stack() for name in unknown}))
    text = plan.plan("main", None, "all")
    assert text.startswith("<!-- hourbank plan -->\n## What this changes in `dev`\n")
    assert text.endswith("\n`staging`: no change.\n\n`prod`: no change.\n")


def test_a_resource_is_all_that_a_snapshot_says():
    declared = snapshot.declared(DEV.named("createEscrow"))
    assert set(declared) | {"dependencies"} == set(Resource.__dataclass_fields__)
    assert "code" not in declared["inputs"]
    assert declared["parent"] == "pulumi:pulumi:Stack$hourbank:index:WorkflowFunction"
