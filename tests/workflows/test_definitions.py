"""What ASL validators miss in both definitions; each check is proven to fail on a broken copy.

Whether a definition is Amazon States Language at all is for the validators of `make check`.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from handlers.aws import dynamodb
from handlers.bank import endings, errors
from hourbank.drawing import graph
from hourbank.simulate.program import definition_of, function_arn, function_of, recorded, snake_case
from workflows import escrow_management, service_request

WORKFLOWS = {"service_request": service_request, "escrow_management": escrow_management}
TYPED = {
    name
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, errors.Refusal) and value is not errors.Refusal
}
# https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception, and more
TRANSIENT = [
    dynamodb.Contended.__name__,
    "Lambda.AWSLambdaException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.SdkClientException",
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Sandbox.Timedout",
]
ENDINGS = {"RefundEscrow", "RefundAfterFailure", "RejectRequest", "TimeoutRequest", "TimeoutNegotiation"}
TIMEOUTS = {"WaitForProviderResponse": "TimeoutRequest", "ProcessNegotiation": "TimeoutNegotiation"}

Definition = dict[str, Any]
Problems = Iterator[str]


def tasks(definition: Definition) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, state) for name, state in definition["States"].items() if state["Type"] == "Task")


def targets(state: dict[str, Any]) -> list[str]:
    return [way.target for way in graph.ways(state) if way.target is not None]


def called_function(state: dict[str, Any]) -> str:
    return function_of(state["Parameters"]["FunctionName"] if graph.waits_for_token(state) else state["Resource"])


def is_request(definition: Definition) -> bool:
    return "EscrowHours" in definition["States"]


# --- checks: each yields what is wrong --------------------------------------------------------------------------------


def graph_is_closed(definition: Definition) -> Problems:
    states = definition["States"]
    if definition["StartAt"] not in states:
        yield "StartAt names no state"
    for name, state in states.items():
        yield from (f"{name} goes to {target}, which is not there" for target in targets(state) if target not in states)
        kind = state["Type"]
        if kind in ("Task", "Pass") and ("Next" in state) == (state.get("End") is True):
            yield f"{name} must either go on or end"
        if kind == "Choice" and "Default" not in state:
            yield f"{name} has no Default: an unexpected answer would be stuck"
        if kind not in ("Task", "Pass", "Choice", "Fail"):
            yield f"{name} is a {kind}, which these checks do not know"


def every_state_is_reachable(definition: Definition) -> Problems:
    reached, todo = set(), [definition["StartAt"]]
    while todo:
        if (name := todo.pop()) not in reached:
            reached.add(name)
            todo += [target for target in targets(definition["States"][name]) if target in definition["States"]]
    yield from (f"{name} cannot be reached" for name in definition["States"] if name not in reached)


def tasks_say_what_they_are_for(definition: Definition) -> Problems:
    yield from (f"{name} has no Comment" for name, state in tasks(definition) if not state.get("Comment", "").strip())


def tasks_retry_as_designed(definition: Definition) -> Problems:
    for name, state in tasks(definition):
        retriers = state.get("Retry", [])
        caught = {e for catch in state.get("Catch", []) for e in catch["ErrorEquals"] if e in TYPED}
        if caught:
            typed, *retriers = retriers or [{}]
            if set(typed.get("ErrorEquals", [])) != caught or typed.get("MaxAttempts") != 0:
                yield f"{name} must first hand {sorted(caught)} on without a retry"
        if len(retriers) != 2:
            yield f"{name} must retry what is transient, then what failed"
            continue
        transient, failed = retriers
        if sorted(transient["ErrorEquals"]) != TRANSIENT:
            yield f"{name} must retry AWS's transient errors, all of them and nothing else"
        if transient.get("JitterStrategy") != "FULL" or "MaxDelaySeconds" not in transient:
            yield f"{name} must spread its retries"
        if transient.get("MaxAttempts", 3) < 3:
            yield f"{name} gives up on a transient error too soon"
        expected = ["States.TaskFailed"] if graph.waits_for_token(state) else ["States.TaskFailed", "States.Timeout"]
        if failed["ErrorEquals"] != expected or failed.get("MaxAttempts") != 3:
            yield f"{name} must retry {expected} three times"
        pause, factor = failed.get("IntervalSeconds", 1), failed.get("BackoffRate", 2)
        if is_request(definition) and name in ENDINGS and sum(pause * factor**i for i in range(3)) < 120:
            yield f"{name} is an ending and must keep trying for minutes"


def tasks_time_out_after_their_function(definition: Definition) -> Problems:
    for name, state in tasks(definition):
        if graph.waits_for_token(state):
            if not state.get("TimeoutSecondsPath", "").startswith("$.states.") or "TimeoutSeconds" in state:
                yield f"{name} must take its time-out from the request"
        elif state.get("TimeoutSeconds", 0) <= recorded().timeout_seconds[called_function(state)]:
            yield f"{name} gives up before its function does"


def waits_end(definition: Definition) -> Problems:
    for name, state in tasks(definition):
        if graph.waits_for_token(state) and not {"TimeoutSeconds", "TimeoutSecondsPath"} & state.keys():
            yield f"{name} would wait for a year"
        if state.get("HeartbeatSeconds", 0) >= state.get("TimeoutSeconds", float("inf")):
            yield f"{name} has a heartbeat that its time-out never lets happen"


def before_a_hold(definition: Definition) -> set[str]:
    """Return the states up to the one that holds hours."""
    names = [definition["StartAt"]]
    while names[-1] != "EscrowHours":
        names.append(definition["States"][names[-1]]["Next"])
    return set(names)


def tasks_catch_as_designed(definition: Definition) -> Problems:
    for name, state in tasks(definition):
        actual = [(error, catch["Next"]) for catch in state.get("Catch", []) for error in catch["ErrorEquals"]]
        typed = [error for error, _ in actual if error in TYPED]
        if not is_request(definition):
            expected = [("ReleaseRefused", "ReleaseRefused")]
        elif name in ENDINGS:
            expected = []
        elif name in before_a_hold(definition):
            expected = [(error, "NotOwner" if error == "NotOwner" else "RejectRequest") for error in typed]
            expected += [("States.ALL", "RefundAfterFailure")]
        else:
            expected = [("States.Timeout", TIMEOUTS[name])] if graph.waits_for_token(state) else []
            expected += [*((error, "RefundEscrow") for error in typed), ("States.ALL", "RefundAfterFailure")]
        if actual != expected:
            yield f"{name} catches {actual}, not {expected}"


def refusals_end_a_request_in_words(definition: Definition) -> Problems:
    for name, state in tasks(definition):
        for catch in state.get("Catch", []):
            for error in catch["ErrorEquals"]:
                if error in TYPED and catch["Next"] in ENDINGS and (name, error) not in endings.ENDINGS:
                    yield f"write into ENDINGS of handlers/bank/endings.py how {error} in {name} ends a request"


def states_all_is_last_and_alone(definition: Definition) -> Problems:
    for name, state in definition["States"].items():
        for way in ("Retry", "Catch"):
            for i, entry in enumerate(state.get(way, [])):
                if "States.ALL" in entry["ErrorEquals"] and (len(entry["ErrorEquals"]) > 1 or i + 1 < len(state[way])):
                    yield f"{name} has States.ALL in {way}, but not last and alone"


def jsonpath_is_the_only_language(definition: Definition) -> Problems:
    text = json.dumps(definition)
    yield from (
        f"{word} belongs to JSONata"
        for word in ("{%", '"QueryLanguage"', '"Arguments"', '"Assign"', '"Output"')
        if word in text
    )


def errors_are_classes(definition: Definition) -> Problems:
    for name, state in tasks(definition):
        for entry in [*state.get("Retry", []), *state.get("Catch", [])]:
            for error in entry["ErrorEquals"]:
                if error not in TYPED and error not in TRANSIENT and not error.startswith("States."):
                    yield f"{name} names {error}, which is no class in handlers/bank/errors.py"


def functions_are_files(definition: Definition) -> Problems:
    module = service_request if is_request(definition) else escrow_management
    called = set()
    for name, state in tasks(definition):
        arn = state["Parameters"]["FunctionName"] if graph.waits_for_token(state) else state["Resource"]
        called.add(function := function_of(arn))
        if arn != function_arn(function):
            yield f"{name} calls {arn}, which is not the version it was given"
        try:
            handler = getattr(importlib.import_module(f"handlers.{snake_case(function)}"), "handler", None)
        except ModuleNotFoundError:
            handler = None
        if not callable(handler):
            yield f"{name} calls {function}, but handlers/{snake_case(function)}.py has no handler"
    if called != set(module.FUNCTIONS):
        yield f"FUNCTIONS says {sorted(module.FUNCTIONS)}, but {sorted(called)} are called"


def results_have_a_path_of_their_own(definition: Definition) -> Problems:
    # what a time-out finds goes where the answer would have been
    shared = {late: wait for wait, late in TIMEOUTS.items()}
    for name, state in tasks(definition):
        own = f"$.states.{shared.get(name, name)}"
        if state.get("ResultPath") not in (own, "$.outcome"):
            yield f"{name} writes its result to {state.get('ResultPath')}, not {own}"
        following = definition["States"].get(state.get("Next", ""), {"Type": "Fail"})
        if state.get("ResultPath") == "$.outcome" and following["Type"] != "Fail":
            yield f"{name} writes an outcome but does not end"
        for catch in state.get("Catch", []):
            if catch.get("ResultPath") != own:
                yield f"{name} writes an error to {catch.get('ResultPath')}, not {own}"
    for name, state in definition["States"].items():
        if {"InputPath", "OutputPath", "ResultSelector"} & state.keys():
            yield f"{name} drops a part of its input"
        if state["Type"] == "Pass" and state.get("ResultPath") != "$.outcome":
            yield f"{name} writes its result to {state.get('ResultPath')}, not $.outcome"


def tasks_know_their_execution(definition: Definition) -> Problems:
    for name, state in tasks(definition):
        payload = state["Parameters"]["Payload"] if graph.waits_for_token(state) else state["Parameters"]
        expected = {"execution.$": "$$.Execution", "state.$": "$$.State"}
        if graph.waits_for_token(state):
            expected["taskToken.$"] = "$$.Task.Token"
        for key, value in expected.items():
            if payload.get(key) != value:
                yield f"{name} does not pass {value} on as {key}"


# --- the tests --------------------------------------------------------------------------------------------------------


def change(*path: Any, to: Any) -> Callable[[Definition], None]:
    """Return a function that sets what stands at `path` in a definition (`to=None` removes it)."""

    def apply(definition: Definition) -> None:
        *way, last = path
        place: Any = definition
        for step in way:
            place = place[step]
        if to is None:
            del place[last]
        elif last == "+":
            place.append(to)
        else:
            place[last] = to

    return apply


CATCH_ALL = {"ErrorEquals": ["States.ALL"], "ResultPath": "$.states.RefundEscrow", "Next": "RequestFailed"}
BROKEN: list[tuple[Callable[[Definition], Problems], Callable[[Definition], None]]] = [
    (graph_is_closed, change("StartAt", to="Begin")),
    (graph_is_closed, change("States", "ValidateRequest", "Next", to="Nowhere")),
    (graph_is_closed, change("States", "EscrowHours", "Catch", 0, "Next", to="Nowhere")),
    (graph_is_closed, change("States", "CheckProviderResponse", "Choices", 0, "Next", to="Nowhere")),
    (graph_is_closed, change("States", "CheckProviderResponse", "Default", to=None)),
    (graph_is_closed, change("States", "RejectRequest", "End", to=None)),
    (graph_is_closed, change("States", "NotOwner", "Type", to="Wait")),
    (every_state_is_reachable, change("States", "ProcessNegotiation", "Catch", 0, "Next", to="RefundEscrow")),
    (every_state_is_reachable, change("States", "Forgotten", to={"Type": "Fail"})),
    (tasks_say_what_they_are_for, change("States", "EscrowHours", "Comment", to=" ")),
    (tasks_retry_as_designed, change("States", "ValidateRequest", "Retry", to=None)),
    (tasks_retry_as_designed, change("States", "ValidateRequest", "Retry", 0, "MaxAttempts", to=1)),
    (tasks_retry_as_designed, change("States", "ValidateRequest", "Retry", 0, "ErrorEquals", to=["ValidationFailed"])),
    (tasks_retry_as_designed, change("States", "EscrowHours", "Retry", 1, "ErrorEquals", to=TRANSIENT[:-1])),
    (tasks_retry_as_designed, change("States", "EscrowHours", "Retry", 1, "JitterStrategy", to=None)),
    (tasks_retry_as_designed, change("States", "EscrowHours", "Retry", 1, "MaxDelaySeconds", to=None)),
    (tasks_retry_as_designed, change("States", "EscrowHours", "Retry", 2, "MaxAttempts", to=2)),
    (tasks_retry_as_designed, change("States", "EscrowHours", "Retry", 2, "ErrorEquals", to=["States.TaskFailed"])),
    (
        tasks_retry_as_designed,
        change("States", "ProcessNegotiation", "Retry", 2, "ErrorEquals", to=["States.TaskFailed", "States.Timeout"]),
    ),
    (tasks_retry_as_designed, change("States", "RefundEscrow", "Retry", 1, "IntervalSeconds", to=1)),
    (tasks_time_out_after_their_function, change("States", "EscrowHours", "TimeoutSeconds", to=None)),
    (
        tasks_time_out_after_their_function,
        change("States", "EscrowHours", "TimeoutSeconds", to=30),
    ),
    (tasks_time_out_after_their_function, change("States", "ProcessNegotiation", "TimeoutSeconds", to=604_800)),
    (waits_end, change("States", "ProcessNegotiation", "TimeoutSecondsPath", to=None)),
    (waits_end, change("States", "EscrowHours", "HeartbeatSeconds", to=60)),
    (tasks_catch_as_designed, change("States", "EscrowHours", "Catch", 2, to=None)),
    (tasks_catch_as_designed, change("States", "EscrowHours", "Catch", 0, "Next", to="RefundAfterFailure")),
    (tasks_catch_as_designed, change("States", "RefundEscrow", "Catch", to=[CATCH_ALL])),
    (tasks_catch_as_designed, change("States", "WaitForProviderResponse", "Catch", 0, to=None)),
    (refusals_end_a_request_in_words, change("States", "EscrowHours", "Catch", 0, "ErrorEquals", to=["IllegalOffer"])),
    (states_all_is_last_and_alone, change("States", "EscrowHours", "Catch", 0, "ErrorEquals", to=["States.ALL"])),
    (
        states_all_is_last_and_alone,
        change("States", "EscrowHours", "Catch", 2, "ErrorEquals", to=["NotOwner", "States.ALL"]),
    ),
    (states_all_is_last_and_alone, change("States", "EscrowHours", "Retry", 0, "ErrorEquals", to=["States.ALL"])),
    (jsonpath_is_the_only_language, change("States", "TimedOut", "Output", to="{% $states.input %}")),
    (jsonpath_is_the_only_language, change("QueryLanguage", to="JSONPath")),
    (errors_are_classes, change("States", "EscrowHours", "Catch", 0, "ErrorEquals", to=["InsufficientHours"])),
    (errors_are_classes, change("States", "EscrowHours", "Retry", 0, "ErrorEquals", "+", to="InsufficientHours")),
    (functions_are_files, change("States", "EscrowHours", "Resource", to=function_arn("holdEscrow"))),
    (functions_are_files, change("States", "EscrowHours", "Resource", to=function_arn("createEscrow")[:-2])),
    (functions_are_files, change("States", "EscrowHours", "Resource", to=function_arn("adjustEscrow"))),
    (results_have_a_path_of_their_own, change("States", "EscrowHours", "ResultPath", to="$")),
    (results_have_a_path_of_their_own, change("States", "EscrowHours", "ResultPath", to=None)),
    (results_have_a_path_of_their_own, change("States", "EscrowHours", "ResultPath", to="$.states.ValidateRequest")),
    (results_have_a_path_of_their_own, change("States", "EscrowHours", "ResultPath", to="$.outcome")),
    (results_have_a_path_of_their_own, change("States", "EscrowHours", "Catch", 0, "ResultPath", to="$.error")),
    (results_have_a_path_of_their_own, change("States", "EscrowHours", "OutputPath", to="$.states")),
    (results_have_a_path_of_their_own, change("States", "TimedOut", "ResultPath", to="$")),
    (tasks_know_their_execution, change("States", "EscrowHours", "Parameters", to={"execution.$": "$$.Execution"})),
    (
        tasks_know_their_execution,
        change("States", "ProcessNegotiation", "Parameters", "Payload", to={"taskToken.$": "$$.Task.Token"}),
    ),
]
CHECKS = list(dict.fromkeys(check for check, _ in BROKEN))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_definition(workflow: str, check: Callable[[Definition], Problems]) -> None:
    problems = list(check(definition_of(WORKFLOWS[workflow])))
    assert not problems, "; ".join(problems)


@pytest.mark.parametrize("i", range(len(BROKEN)), ids=lambda i: f"{BROKEN[i][0].__name__}-{i}")
def test_each_check_can_fail(i: int) -> None:
    check, break_it = BROKEN[i]
    broken = copy.deepcopy(definition_of(service_request))
    break_it(broken)
    assert list(check(broken)) != []


def test_the_release_workflow_catches_nothing_but_refusals() -> None:
    broken = copy.deepcopy(definition_of(escrow_management))
    broken["States"]["ProcessEscrowRelease"]["Catch"].append(CATCH_ALL)
    assert list(tasks_catch_as_designed(broken)) != []


def test_every_typed_error_is_caught_by_name() -> None:
    # no state grants hours
    thrown = TYPED - {"GrantRefused"}
    caught = {
        error
        for workflow in WORKFLOWS
        for _, state in tasks(definition_of(WORKFLOWS[workflow]))
        for catch in state.get("Catch", [])
        for error in catch["ErrorEquals"]
    }
    assert caught >= thrown, f"no state catches {sorted(thrown - caught)}"


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_waits_stay_in_their_partition(partition: str) -> None:
    functions = {name: name for name in service_request.FUNCTIONS}
    definition = service_request.definition(functions=functions, partition=partition)
    waits = {state["Resource"] for _, state in tasks(definition) if graph.waits_for_token(state)}
    assert waits == {f"arn:{partition}:states:::lambda:invoke.waitForTaskToken"}
