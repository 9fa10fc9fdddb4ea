"""Exports on the emulator: what they import from Amplify's API, and every story played on them."""

from typing import Any

from components.models import MODELS
from hourbank import laws
from hourbank.export import parameterised
from hourbank.local import deploy, people
from hourbank.local.deployment import Deployment
from hourbank.local.emulator import Emulator
from hourbank.local.tables import read_ledger
from hourbank.stories import stage, stories


def amplify_exports(emulator: Emulator, api_id: str, tables: dict[str, str]) -> str:
    """Export what the stacks of Amplify's API do, and return the ARN of ServiceRequest's stream."""
    described = emulator.client("dynamodb").describe_table(TableName=tables["serviceRequest"])["Table"]
    values = {model.export: tables[key] for key, model in MODELS.items()}
    values["ServiceRequestTable:StreamArn"] = described["LatestStreamArn"]
    exporting = {
        "Resources": {"Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"}},
        "Outputs": {
            name.replace(":", ""): {"Value": value, "Export": {"Name": f"{api_id}:GetAtt:{name}"}}
            for name, value in values.items()
        },
    }
    deploy.apply(emulator, exporting, name="models")
    return described["LatestStreamArn"]


def adapt(template: dict[str, Any]) -> dict[str, Any]:
    """Adapt a template to the emulator, in place; a request may choose seconds to answer, as in the stack `local`."""
    for resource in deploy.adapt(template)["Resources"].values():
        variables = resource["Properties"].get("Environment", {}).get("Variables", {})
        if "MINIMUM_RESPONSE_TIMEOUT_SECONDS" in variables:
            variables["MINIMUM_RESPONSE_TIMEOUT_SECONDS"] = "1"
    return template


def play(emulator: Emulator, template: dict[str, Any], parameters: dict[str, str], tables: dict[str, str]) -> None:
    """Deploy an adapted template and play every story of the demo on it."""
    dynamodb = emulator.client("dynamodb")
    outputs = deploy.apply(emulator, template, name="hourbank-exported", parameters=parameters)
    functions = emulator.client("lambda")
    (granting,) = (
        one["FunctionName"] for one in functions.list_functions()["Functions"] if "-grantHours-" in one["FunctionName"]
    )
    people.grant_hours(functions, granting.rpartition("-")[2], stories.BALANCES)
    before = read_ledger(dynamodb, tables)
    deployment = Deployment(
        endpoint=emulator.endpoint,
        tables=tables,
        outputs={name: outputs[output] for name, (output, _) in parameterised.OUTPUTS.items()},
        credentials=emulator.credentials,
    )
    performances = stage.Stage(deployment).play()
    assert [(one.story.title, one.problem) for one in performances if one.problem] == []
    after = read_ledger(dynamodb, tables)
    assert after.spendable() == stories.expected_balances(stories.DEMO)
    assert laws.made_or_lost(before, after) == []
