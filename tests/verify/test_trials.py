"""What verify asks of an account, and what it expects: read from the program, without anybody who answers."""

import json
from collections import Counter
from decimal import Decimal
from io import StringIO
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as some
from rich.console import Console
from typer.testing import CliRunner

from handlers.aws.dynamodb import from_image
from handlers.bank import requests
from hourbank.account.checks import Outcome
from hourbank.cli import app
from hourbank.drawing import graph
from hourbank.verify import filters, limits, roles, states, verdicts
from hourbank.verify.program import Program, read
from hourbank.verify.verdicts import Verdict
from tests.helpers.verifying import HERE, changed, misses

TASK = {
    "Type": "Task",
    "Retry": [
        {"ErrorEquals": ["Typed"], "MaxAttempts": 0},
        {"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 2},
        {"ErrorEquals": ["States.Timeout"]},
    ],
    "Catch": [{"ErrorEquals": ["Typed"], "Next": "A"}, {"ErrorEquals": ["States.Timeout"], "Next": "B"}],
    "Next": "C",
}
ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:M"


@pytest.fixture(scope="module")
def program() -> Program:
    return Program(None, HERE)


# ---- states


def test_the_definitions_are_those_that_would_be_deployed(program: Program) -> None:
    assert set(program.definitions) == {"ServiceRequestWorkflow-verify", "EscrowManagementWorkflow-verify"}
    for text in program.definitions.values():
        assert "${" not in text
        assert "arn:aws:lambda:us-east-1:123456789012:function:hourbank-refundEscrow-verify:1" in text


def test_every_way_out_of_every_state_is_tried(program: Program) -> None:
    for text in program.definitions.values():
        definition = read(text)
        made = [trial for trial in states.trials(definition) if isinstance(trial, states.Trial)]
        assert len(made) == len(list(states.trials(definition))), "a state that is not tried"
        for name, state in definition["States"].items():
            mine = [trial for trial in made if trial.state == name]
            for way in graph.ways(state):
                reached = [trial.expected.get("nextState") for trial in mine]
                assert way.target in reached or state["Type"] == "Fail", (name, way.name)
            named = {error for retrier in state.get("Retry", ()) for error in retrier["ErrorEquals"]}
            assert named - states.WILDCARDS <= {trial.error for trial in mine}
            retried = {trial.expected["retryIndex"] for trial in mine if "retryIndex" in trial.expected}
            able = {number for number, one in enumerate(state.get("Retry", ())) if one.get("MaxAttempts", 3)}
            assert retried == able, name


@pytest.mark.parametrize(
    ("error", "tried", "expected"),
    [
        ("Typed", 0, {"status": "CAUGHT_ERROR", "nextState": "A"}),
        ("Other", 0, {"status": "RETRIABLE", "retryIndex": 1}),
        ("Other", 2, {"status": "FAILED", "error": "Other"}),
        ("States.Timeout", 2, {"status": "RETRIABLE", "retryIndex": 2}),
        ("States.Timeout", 3, {"status": "CAUGHT_ERROR", "nextState": "B"}),
    ],
)
def test_the_first_retrier_that_names_an_error_decides_then_a_catcher(
    error: str, tried: int, expected: dict[str, Any]
) -> None:
    assert states.after_error(TASK, error, tried) == expected


@given(
    path=some.lists(some.sampled_from("abc"), max_size=3), data=some.dictionaries(some.sampled_from("abc"), some.none())
)
def test_a_value_is_put_where_a_path_says(path: list[str], data: dict[str, Any]) -> None:
    after = states.put(data, ".".join(["$", *path]), 7)
    for key in path:
        after = after[key]
    assert after == 7
    assert states.put(data, None, 7) == data


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"Type": "Map"}, "it is a Map"),
        ({"Type": "Pass", "QueryLanguage": "JSONata"}, "it is in JSONata"),
        ({"Type": "Choice", "Choices": [{"Variable": "$.a", "IsNull": True, "Next": "X"}]}, "nothing is made up"),
        ({"Type": "Pass", "ResultPath": "$.a[0]"}, "its path $.a[0] is none of names alone"),
    ],
)
def test_a_state_that_cannot_be_tried_is_said_and_is_not_verified(state: dict[str, Any], why: str) -> None:
    (verdict,) = states.trials({"StartAt": "X", "States": {"X": state}})
    assert isinstance(verdict, Verdict)
    assert verdict.outcome is Outcome.UNSEEN and why in verdict.problem
    assert not verdicts.hold([verdict])


# ---- what AWS says, in recorded shapes: an emulator that takes every definition says nothing


@pytest.fixture
def stepfunctions() -> Any:
    client = boto3.client("stepfunctions", region_name="us-east-1")
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


def test_an_illegal_definition_is_said_where_it_is(stepfunctions: Any) -> None:
    client, stub = stepfunctions
    told = {
        "severity": "ERROR", "code": "MISSING_TRANSITION_TARGET", "message": "Missing 'Next' target: Nowhere",
        "location": "/States/A/Next",
    }  # fmt: skip
    asked = {"definition": "{}", "severity": "WARNING"}
    stub.add_response("validate_state_machine_definition", {"result": "FAIL", "diagnostics": [told]}, asked)
    (verdict,) = states.legal(client, "M", "{}")
    assert verdict.outcome is Outcome.MISS
    assert verdict.problem.endswith("Missing 'Next' target: Nowhere at /States/A/Next")


def test_a_warning_is_told_and_hinders_nothing(stepfunctions: Any) -> None:
    client, stub = stepfunctions
    told = {"severity": "WARNING", "code": "NO_DOLLAR", "message": "a field ends without .$"}
    stub.add_response("validate_state_machine_definition", {"result": "OK", "diagnostics": [told]})
    (verdict,) = states.legal(client, "M", "{}")
    assert verdict.outcome is Outcome.NOTE and "without .$" in verdict.problem
    assert verdicts.hold([verdict])


def test_what_is_asked_of_a_task_is_what_aws_takes(program: Program, stepfunctions: Any) -> None:
    """A token in the context of a state that waits for none, or a mock for a Pass, is refused by AWS."""
    client, stub = stepfunctions
    text = program.definitions["ServiceRequestWorkflow-verify"]
    asker = states.Asker(client, text, ARN)
    asked: list[dict[str, Any]] = []
    client.meta.events.register(
        "provide-client-params.stepfunctions.TestState", lambda params, **_: asked.append(dict(params))
    )
    every = [trial for trial in states.trials(asker.definition) if isinstance(trial, states.Trial)]
    for trial in every:
        stub.add_response("test_state", {"status": "FAILED"})
        asker.answer(trial)
    assert len(asked) == len(every)
    for trial, params in zip(every, asked, strict=True):
        state = asker.definition["States"][trial.state]
        assert ("mock" in params) == ("context" in params) == (state["Type"] == "Task")
        if "context" in params:
            assert ("Task" in json.loads(params["context"])) == graph.waits_for_token(state)
        assert ("stateConfiguration" in params) == bool(trial.tried)


@pytest.mark.parametrize(("number", "problem"), [(1, ""), (2, "retryIndex is 2, not 1")])
def test_the_retrier_that_aws_names_must_be_the_definitions(
    program: Program, stepfunctions: Any, number: int, problem: str
) -> None:
    client, stub = stepfunctions
    asker = states.Asker(client, program.definitions["ServiceRequestWorkflow-verify"], ARN)
    made = [one for one in states.trials(asker.definition) if isinstance(one, states.Trial)]
    trial = next(one for one in made if one.error == "Sandbox.Timedout")
    details = {"retryIndex": number, "retryBackoffIntervalSeconds": 2}
    stub.add_response(
        "test_state",
        {"status": "RETRIABLE", "error": trial.error, "cause": "verify", "inspectionData": {"errorDetails": details}},
    )
    assert asker.problem(trial) == problem


def test_a_refused_trial_says_what_aws_says(program: Program, stepfunctions: Any) -> None:
    client, stub = stepfunctions
    asker = states.Asker(client, program.definitions["ServiceRequestWorkflow-verify"], ARN)
    stub.add_client_error("test_state", "ValidationException", "State not found in definition", 400)
    trial = next(one for one in states.trials(asker.definition) if isinstance(one, states.Trial))
    assert asker.problem(trial) == "status is REFUSED, not SUCCEEDED: State not found in definition"


def test_who_may_not_ask_is_told_so_and_nothing_is_verified(stepfunctions: Any) -> None:
    client, stub = stepfunctions
    stub.add_client_error("validate_state_machine_definition", "AccessDeniedException", "no", 400)
    found = list(verdicts.asked(states.LEGAL, lambda: states.legal(client, "M", "{}"), "ask for the right"))
    assert [one.outcome for one in found] == [Outcome.UNSEEN]
    assert "AWS does not allow ValidateStateMachineDefinition" in found[0].problem
    assert not verdicts.hold(found)


# ---- filters


def test_each_image_is_wanted_as_the_router_itself_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("START_REQUESTS_FROM", "2026-01-01T00:00:00Z")
    for what, record, is_wanted in filters.events():
        image = record["dynamodb"].get("NewImage")
        if image is None:
            assert not is_wanted
            continue
        request = from_image(image) | {"createdAt": "2026-06-01T00:00:00.000Z", "estimatedHours": Decimal(1)}
        assert (requests.asks_for(request)[0] != "NOTHING") == is_wanted, what


def test_there_are_images_in_which_each_attribute_is_missing_null_and_there() -> None:
    kinds = Counter(
        (name, "missing" if name not in said else "NULL" if said[name] is None else "there")
        for _, said, _ in filters.IMAGES
        for name in ("status", "taskToken", "providerResponse", "requesterResponse")
    )
    assert len(kinds) == 12


# ---- names and limits


def test_names_and_lengths_fit(program: Program) -> None:
    found = list(limits.kept(program))
    assert misses(found) == []
    named = {resource.type.rpartition(":")[2] for resource in program.recording.resources}
    assert named - limits.NAMES.keys() == {"EventSourceMapping", "RolePolicy", "QueuePolicy"} & named


def test_a_name_that_is_too_long_is_found(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    function = program.recording.of_type("Function")[0]
    monkeypatch.setitem(function.inputs, "name", "x" * 65)
    assert ["65 characters" in one.problem for one in misses(list(limits.kept(program)))] == [True]


def test_a_sixth_filter_and_a_definition_that_is_too_large_are_found(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = changed(program, "Escrow", lambda of: of["NothingToDo"].update(Comment="x" * limits.DEFINITION_BYTES))
    monkeypatch.setattr(program, "filters", [*program.filters, "{}"])
    monkeypatch.setattr(program, "definitions", large)
    found = misses(list(limits.kept(program)))
    assert [one.what for one in found] == ["definition of EscrowManagementWorkflow-verify", "filters of the stream"]


# ---- roles


def test_a_role_is_asked_about_its_own_rights_and_about_all_the_others(program: Program) -> None:
    statements = program.statements()
    assert not any("${" in json.dumps(one) for one in statements.values())
    rights = {role: roles.given(policies) for role, policies in statements.items()}
    (role,) = [one for one in statements if one.endswith("role/hourbank-notifyProvider-verify-us-east-1")]
    must, must_not = rights[role], roles.denied(rights, role, statements[role])
    table = "arn:aws:dynamodb:us-east-1:123456789012:table/%s-abcdefghijklmnopqrstuvwxyz-NONE"
    assert ("dynamodb:UpdateItem", table % "ServiceRequest") in must
    assert ("dynamodb:UpdateItem", table % "UserBalance") in must_not
    assert ("dynamodb:DeleteItem", table % "ServiceRequest") in must_not
    assert ("iam:PassRole", role) in must_not
    assert not must & must_not
    assert not any("*" in resource for _, resource in must_not if resource != "*")


# ---- what is told


def test_a_report_has_no_account_id_and_no_token() -> None:
    token, account = "AQCEAAAAKgAAAAMAAAAA" * 20, "123456789012"
    found = [
        Verdict(
            claim="c", what=f"arn:aws:iam::{account}:role/a|b", outcome=Outcome.MISS, problem=f"{token} in {account}",
            remedy="r",
        )
    ]  # fmt: skip
    text = verdicts.as_markdown(found, "verify")
    assert token not in text and account not in text
    assert "| ✗ | c | 0 of 1 |" in text
    assert "arn:aws:iam::ACCOUNT:role/a\\|b | TOKEN in ACCOUNT | r |" in text


# ---- what a user types


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stories"], "give --stack"),
        (["--stories", "--stack", "prod"], "add --yes-prod"),
        (["--stories", "--stack", "acme/hourbank/prod"], "add --yes-prod"),
        (["--stack", " "], "it is empty"),
        (["--stack", "nobodys"], "there is no Pulumi.nobodys.yaml"),
    ],
)
def test_a_users_mistake_is_told_before_aws_is_asked(arguments: list[str], words: str) -> None:
    told = CliRunner().invoke(app, ["verify", *arguments])
    assert told.exit_code != 0
    assert words in f"{told.output} {told.exception}"


def test_thousands_of_failures_of_one_kind_are_told_in_a_few_lines() -> None:
    found = [Verdict(claim="c", what=f"w{number}", outcome=Outcome.MISS, problem="p") for number in range(2000)]
    console = Console(file=StringIO(), width=200)
    verdicts.show(console, found)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "c: 0 of 2000" in told and "and 1980 more: see --json" in told
    assert told.count("\n") == verdicts.MOST_TOLD + 2
    assert verdicts.as_markdown(found, "t").count("\n") < 40


def test_of_a_role_that_is_amplifys_it_is_asked_what_it_must_be_allowed_alone() -> None:
    asked: list[str] = []

    class Iam:
        def get_paginator(self, _: str) -> Any:
            return self

        def paginate(self, **asks: Any) -> list[dict[str, Any]]:
            asked.append(asks["PolicySourceArn"])
            results = [{"EvalActionName": one, "EvalDecision": "allowed"} for one in asks["ActionNames"]]
            return [{"EvaluationResults": results}]

    statements = {
        role: [{"Effect": "Allow", "Action": "states:StartExecution", "Resource": ARN}] for role in ("a", "b")
    }
    found = list(roles.examined(Iam(), statements, own=["a"]))
    assert {one.claim for one in found if one.what.startswith("a,")} == {roles.MUST, roles.MUST_NOT}
    assert {one.claim for one in found if one.what.startswith("b,")} == {roles.MUST}
