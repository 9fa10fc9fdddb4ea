"""What is changed in the template for the emulator: each difference, and nothing else."""

import copy
import json

import pytest

from hourbank.local import deploy
from hourbank.local.deployment import APPSYNC_ENDPOINT, APPSYNC_QUEUE
from hourbank.program import cloudformation, recorder

BY_TYPE = {difference.type: difference for difference in deploy.DIFFERENCES}


@pytest.fixture(scope="module")
def original():
    recording = recorder.record("local", config={"hourbank:appsyncEndpoint": APPSYNC_ENDPOINT})
    return cloudformation.template(recording, bucket="bucket", key="key")


@pytest.fixture(scope="module")
def adapted(original):
    return deploy.adapt(copy.deepcopy(original))


def of_type(template: dict, type_: str) -> dict:
    return {
        name: copy.deepcopy(one["Properties"]) for name, one in template["Resources"].items() if one["Type"] == type_
    }


def test_only_resources_of_the_listed_types_change(original, adapted):
    changed = {one["Type"] for name, one in original["Resources"].items() if one != adapted["Resources"][name]}
    assert changed == set(BY_TYPE)
    assert len(BY_TYPE) == len(deploy.DIFFERENCES)


def test_a_function_differs_in_its_runtime_alone(original, adapted):
    for name, function in of_type(original, "AWS::Lambda::Function").items():
        assert of_type(adapted, "AWS::Lambda::Function")[name] == function | {"Runtime": "provided.al2023"}


def test_a_status_that_is_missing_has_a_filter_of_its_own(original, adapted):
    (before,) = of_type(original, "AWS::Lambda::EventSourceMapping").values()
    (after,) = of_type(adapted, "AWS::Lambda::EventSourceMapping").values()
    *same, added = after["FilterCriteria"]["Filters"]
    assert same == before["FilterCriteria"]["Filters"]
    assert json.loads(added["Pattern"]) == {
        "dynamodb": {"NewImage": {"id": {"S": [{"exists": True}]}, "status": [{"exists": False}]}}
    }


def test_a_queue_gets_what_appsync_would_and_in_its_form(original, adapted):
    queue = {"Arn": {"Fn::Sub": "arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:" + APPSYNC_QUEUE}}
    before, after = (of_type(template, "AWS::Events::Rule") for template in (original, adapted))
    calls = [target for rule in before.values() for target in rule["Targets"] if target.pop("AppSyncParameters", None)]
    assert len(calls) == 1
    calls[0].update(queue)
    assert after == before


def test_the_bootstrap_is_an_executable_of_the_archive_that_survives_spaces(monkeypatch):
    monkeypatch.setattr(deploy.sys, "executable", "/my projects/it's/.venv/bin/python")
    assert """exec '/my projects/it'"'"'s/.venv/bin/python' -P """ in deploy.bootstrap()
