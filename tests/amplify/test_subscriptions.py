"""What docs/app/subscriptions.md asks for fits what is deployed, and its resolvers let nobody else through.

Write one here when what is published, or who hears it, changes.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint

from components import subscriptions
from hourbank.names import ROOT
from tests.helpers.waiting import ENDLESS_SECONDS

AMPLIFY = ROOT / "amplify"
PAGE = (ROOT / "docs" / "app" / "subscriptions.md").read_text(encoding="utf-8")
TEMPLATE = (AMPLIFY / "RequestEvents.json").read_text(encoding="utf-8")
RESOLVERS = {"Mutation": "publishRequestEvent", "Subscription": "onRequestEvent"}
TYPES = {name: type_ for name, (type_, _) in subscriptions.ARGUMENTS.items()}
IAM, COGNITO = "IAM Authorization", "User Pool Authorization"


def code_block(language: str, holding: str) -> str:
    (block,) = [one for one in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if holding in one]
    return block


def test_the_schema_of_gen_1_has_the_mutation_that_is_called() -> None:
    schema = code_block("graphql", "type Mutation")
    arguments = re.search(rf"{subscriptions.MUTATION}\((.*?)\): RequestEvent @aws_iam\n", schema)[1]
    assert dict(part.split(": ") for part in arguments.split(", ")) == TYPES
    fields = re.search(r"type RequestEvent @aws_iam @aws_cognito_user_pools \{(.*?)\}", schema, re.DOTALL)[1]
    assert dict(line.strip().split(": ") for line in fields.strip().splitlines()) == TYPES
    assert f'@aws_subscribe(mutations: ["{subscriptions.MUTATION}"])' in schema


def test_the_schema_of_gen_2_has_the_mutation_that_is_called() -> None:
    schema = code_block("ts", "a.customType")
    words = {"ID!": "a.id().required()", "String!": "a.string().required()", "String": "a.string()"}
    for opening in (r"RequestEvent: a\.customType\(\{", rf"{subscriptions.MUTATION}: a\n.*?\.arguments\(\{{"):
        fields = re.search(rf"{opening}(.*?)\}}\)", schema, re.DOTALL)[1]
        found = dict(line.strip().rstrip(",").split(": ") for line in fields.strip().splitlines())
        assert found == {name: words[type_] for name, type_ in TYPES.items()}
    assert f"for(a.ref('{subscriptions.MUTATION}'))" in schema
    # what lets everybody with credentials of the identity pool publish
    assert "identityPool" not in schema
    assert "guest" not in schema


def test_the_template_of_gen_1_has_the_resolvers_of_gen_2() -> None:
    resources = json.loads(TEMPLATE)["Resources"]
    resolvers = {
        part["Properties"]["TypeName"]: part["Properties"]
        for part in resources.values()
        if part["Type"] == "AWS::AppSync::Resolver"
    }
    assert {type_: one["FieldName"] for type_, one in resolvers.items()} == RESOLVERS
    for resolver in resolvers.values():
        assert resolver["Code"] == (AMPLIFY / f"{resolver['FieldName']}.js").read_text(encoding="utf-8")
    assert resources["RequestEventsNone"]["Properties"]["Type"] == "NONE"


@pytest.mark.thorough
def test_cfn_lint_finds_nothing_in_the_template_of_gen_1() -> None:
    found = lint(TEMPLATE, config=ManualArgs(regions=["us-east-1"]))
    assert [f"{match.rule.id} {match.message}" for match in found] == []


def run(resolver: str, ctx: dict[str, Any], auth_type: str, tmp_path: Path) -> Any:
    """What a resolver's request makes of a context: a value, or the word `unauthorized`."""
    code = (AMPLIFY / f"{resolver}.js").read_text(encoding="utf-8")
    imported = "import { util } from '@aws-appsync/utils';"
    assert imported in code
    util = f"{{ authType: () => {json.dumps(auth_type)}, unauthorized: () => {{ throw 'unauthorized'; }} }}"
    program = f"""
        let said;
        try {{ said = request({json.dumps(ctx)}); }} catch (thrown) {{ said = thrown; }}
        console.log(JSON.stringify(said));
    """
    script = tmp_path / f"{resolver}.mjs"
    script.write_text(code.replace(imported, f"const util = {util};") + program)
    done = subprocess.run(["node", script], capture_output=True, text=True, timeout=ENDLESS_SECONDS, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(not shutil.which("node"), reason="runs resolvers with Node, which is not here")
def test_the_rule_alone_publishes_and_people_hear_their_own(tmp_path: Path) -> None:
    event = dict.fromkeys(TYPES, "x")
    assert run("publishRequestEvent", {"args": event}, IAM, tmp_path) == {"payload": event}
    assert run("publishRequestEvent", {"args": event}, COGNITO, tmp_path) == "unauthorized"

    def subscribe(identity: Any, auth_type: str = COGNITO) -> Any:
        return run("onRequestEvent", {"args": {"userId": "ana"}, "identity": identity}, auth_type, tmp_path)

    assert subscribe({"sub": "ana"}) == {"payload": None}
    assert subscribe({"sub": "ben"}) == "unauthorized"
    # an identity of IAM has no sub
    assert subscribe({"userArn": "arn:aws:sts::123456789012:assumed-role/x/y"}, IAM) == "unauthorized"
