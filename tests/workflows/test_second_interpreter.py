"""Both definitions in two interpreters that have nothing in common: moto's, and aws-local-stepfunctions of npm.

What the simulator proves, it proves in moto's. Here each Task fails with each error that it names, once and for good,
and gives each answer that a Choice knows; the end, the states and the calls must be the same in both.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from hourbank.drawing import graph
from hourbank.drawing.graph import Cause, Definition
from hourbank.names import ROOT
from hourbank.simulate.engine import Machines
from hourbank.simulate.executions import SimulatedExecution
from hourbank.simulate.program import definition_of, machine_arn
from hourbank.verify.states import (
    NO_ANSWER_OF_OURS,
    NO_ERROR_OF_OURS,
    REQUEST,
    SECONDS,
    TIMED_OUT,
    WILDCARDS,
    errors,
    timeout_paths,
)
from workflows import WORKFLOWS

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.xdist_group("second-interpreter"),
    pytest.mark.skipif(
        not (ROOT / "tools/asl/node_modules/.locked").exists() and not os.environ.get("CI"),
        reason="the second interpreter is not here: make packages-of-tests installs it, where Node is",
    ),
]

Answer = Mapping[str, Any]
End = Mapping[str, Any]
DEFINITIONS: Mapping[str, Definition] = {name: definition_of(workflow) for name, workflow in WORKFLOWS.items()}
AT_ONCE_SECONDS = 0.001


@dataclass(frozen=True)
class Case:
    """An execution: what each Task answers, one after the other, the last again and again.

    Attributes
    ----------
    task : str
        The one that the case is about.
    is_missing : bool
        Whether a Choice does not find its variable.
    """

    workflow: str
    task: str
    what: str
    answers: Mapping[str, list[Answer]]
    is_missing: bool = False


# ---- the cases


def result(definition: Definition, task: str, variable: str = "", value: str = "") -> Answer:
    given: dict[str, Any] = {"of": task}
    given |= {path.rpartition(".")[2]: SECONDS for path in timeout_paths(definition)}
    return {"result": given | ({variable.rpartition(".")[2]: value} if variable else {})}


def error(name: str) -> Answer:
    """A failure as Lambda tells it, whose cause is what the function says; a time-out says nothing."""
    said = {"errorType": name, "errorMessage": "it failed"}
    return {"error": name, "cause": "" if name == TIMED_OUT else json.dumps(said, separators=(",", ":"))}


def choice_after(definition: Definition, task: str) -> Mapping[str, Any] | None:
    following: Mapping[str, Any] = definition["States"].get(definition["States"][task].get("Next"), {})
    return following if following.get("Type") == "Choice" else None


def results(definition: Definition, task: str) -> Iterator[tuple[str, Answer, str | None]]:
    """Each result that leads elsewhere: what it says, the answer, the next state."""
    choice = choice_after(definition, task)
    if choice is None:
        yield "its result", result(definition, task), definition["States"][task].get("Next")
        return
    for way in graph.ways(choice):
        value = NO_ANSWER_OF_OURS if way.cause is Cause.DEFAULT else way.name
        yield value, result(definition, task, choice["Choices"][0]["Variable"], value), way.target


def leading_to_each(definition: Definition) -> dict[str, dict[str, list[Answer]]]:
    """The answers that lead to each state by the fewest Tasks."""
    found: dict[str, dict[str, list[Answer]]] = {definition["StartAt"]: {}}
    queue = [definition["StartAt"]]
    for name in queue:
        state = definition["States"][name]
        if state["Type"] != "Task":
            continue
        ways = [(answer, target) for _, answer, target in results(definition, name)]
        ways += [
            (error(NO_ERROR_OF_OURS if way.name in WILDCARDS else way.name), way.target)
            for way in graph.ways(state)
            if way.cause is Cause.CATCH
        ]
        for answer, target in ways:
            if target is not None and target not in found:
                found[target] = {**found[name], name: [answer]}
                queue.append(target)
    return found


def cases() -> Iterator[Case]:
    for workflow, definition in DEFINITIONS.items():
        leading = leading_to_each(definition)
        tasks = {name: state for name, state in definition["States"].items() if state["Type"] == "Task"}
        usual = {name: [next(results(definition, name))[1]] for name in tasks}
        for task, state in tasks.items():
            before = {**usual, **leading[task]}
            for what, answer, _ in results(definition, task):
                yield Case(workflow, task, what, {**before, task: [answer]})
            if choice_after(definition, task):
                yield Case(workflow, task, "nothing", {**before, task: [result(definition, task)]}, is_missing=True)
            for name in errors(state):
                yield Case(workflow, task, f"{name} once", {**before, task: [error(name), *usual[task]]})
                yield Case(workflow, task, f"{name} for good", {**before, task: [error(name)]})


CASES = list(cases())


# ---- the two


def in_motos() -> Iterator[End]:
    """Run each case, with time skipped."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def answer_of(state: str) -> Answer:
        answers = case.answers[state]
        return answers[min(sum(called == state for called, _ in calls), len(answers)) - 1]

    def invoke(parameters: Mapping[str, Any]) -> dict[str, Any]:
        state = SimulatedExecution.current().states[-1]
        calls.append((state, json.loads(parameters["Payload"])))
        answer = answer_of(state)
        failure, is_wait = answer.get("error"), graph.waits_for_token(DEFINITIONS[case.workflow]["States"][state])
        if failure == TIMED_OUT and not is_wait:
            raise TimeoutError
        if failure and failure != TIMED_OUT:
            return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": json.loads(answer["cause"])}
        return {"StatusCode": 200, "Payload": None if is_wait else answer["result"]}

    with Machines(invoke) as machines:
        for name, definition in DEFINITIONS.items():
            machines.put(name, definition)
        for number, case in enumerate(CASES):
            calls.clear()
            start = {"stateMachineArn": machine_arn(case.workflow), "name": str(number), "input": json.dumps(REQUEST)}
            machines.answer("StartExecution", start)
            execution = machines.executions[-1]
            while not execution.ended:
                execution.resume()
                if execution.waiting and "result" in (answer := answer_of(execution.waiting)):
                    told = {"taskToken": calls[-1][1]["taskToken"], "output": json.dumps(answer["result"])}
                    machines.answer("SendTaskSuccess", told)
            succeeded = execution.status == "SUCCEEDED"
            end = {"output": execution.output} if succeeded else {"error": execution.error}
            yield end | {"status": execution.status, "states": execution.states, "calls": compared(calls)}


def in_the_other(definitions: Mapping[str, Definition], asked: list[tuple[str, Case]]) -> list[End]:
    """Run each case on the definition of the name beside it."""
    given = {
        "definitions": {name: adapted(definition) for name, definition in definitions.items()},
        "cases": [{"definition": name, "input": REQUEST, "answers": case.answers} for name, case in asked],
    }
    command = ["node", "tools/asl/interpret.mjs"]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # the cause of a time-out is a matter of taste: AWS leaves it empty, and so does moto
    ends = json.loads(done.stdout.replace('"Cause":"States.Timeout"', '"Cause":""'))
    return [end | {"calls": compared(end["calls"])} for end in ends]


def adapted(definition: Definition) -> Definition:
    """Say what the other one does not know.

    Its context has the execution's input alone, it looks for a time-out's path in what the function is given, and it
    has no way to time out but to wait.
    """
    own = copy.deepcopy(definition)
    for name, state in own["States"].items():
        if state["Type"] == "Task":
            state.pop("TimeoutSecondsPath", None)
            state["TimeoutSeconds"] = AT_ONCE_SECONDS
            given = state["Parameters"].get("Payload", state["Parameters"])
            known = {"state.$": ("state", {"Name": name}), "taskToken.$": ("taskToken", "a token")}
            state["Parameters"] = {"Payload": dict(known.get(key, (key, value)) for key, value in given.items())}
    return own


def compared(calls: list[Any]) -> list[Any]:
    """Return the states that called with what they gave, but for what differs from one execution to the next."""
    found = []
    for state, told in calls:
        given = told.get("Payload", told)
        same = {"execution": given["execution"]["Input"], "state": given["state"]["Name"]}
        found.append((state, given | same | ({"taskToken": "a token"} if given.get("taskToken") else {})))
    return found


@pytest.fixture(scope="module")
def ends() -> list[tuple[Case, End]]:
    """Each case with its end in moto's interpreter."""
    return list(zip(CASES, in_motos(), strict=True))


def test_both_come_to_the_same_end_by_the_same_states_and_calls(ends: list[tuple[Case, End]]) -> None:
    others = in_the_other(DEFINITIONS, [(case.workflow, case) for case in CASES])
    for (case, end), other in zip(ends, others, strict=True):
        if case.is_missing:
            # the one difference: AWS and the other one fail there, moto takes the Default
            assert (end["status"], other["status"], other.get("error")) == ("SUCCEEDED", "FAILED", "States.Runtime")
            assert other["states"] == end["states"][: len(other["states"])]
        else:
            assert other == end, case


# ---- what would be seen


def changes(definition: Definition, name: str) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield where each rule of a state is, and what to put there; None for nothing.

    Not what changes nothing: a rule that leads where the Default does, and a result that is only on the way to a Fail.
    """
    state = definition["States"][name]
    for kind in ("Retry", "Catch"):
        for number, rule in enumerate(state.get(kind, ())):
            yield from (((kind, number, "ErrorEquals", place), "Renamed") for place in range(len(rule["ErrorEquals"])))
            if kind == "Retry":
                yield (kind, number, "MaxAttempts"), rule["MaxAttempts"] + 1
    if state["Type"] == "Task" and definition["States"].get(state.get("Next"), {}).get("Type") != "Fail":
        yield ("ResultPath",), "$.elsewhere"
    for number, rule in enumerate(state.get("Choices", ())):
        if rule["Next"] != state["Default"]:
            yield ("Choices", number, "StringEquals"), "RENAMED"
    yield from (((key,), None) for key in ("Catch", "Default") if key in state)


def changed(definition: Definition, place: tuple[str | int, ...], value: Any) -> Definition:
    own: Any = copy.deepcopy(definition)
    at = own
    for key in place[:-1]:
        at = at[key]
    if value is None:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return own


def test_a_rule_that_only_one_of_them_has_otherwise_is_seen(ends: list[tuple[Case, End]]) -> None:
    definitions: dict[str, Definition] = {}
    asked: list[tuple[str, Case]] = []
    expected: list[End] = []
    for workflow, definition in DEFINITIONS.items():
        for name in definition["States"]:
            shown = [
                (case, end)
                for case, end in ends
                if case.workflow == workflow
                and not case.is_missing
                and name in (case.task, definition["States"][case.task].get("Next"))
            ]
            for place, value in changes(definition, name):
                what = f"{workflow}, {name}: {place} is {value}"
                definitions[what] = changed(definition, ("States", name, *place), value)
                asked += [(what, case) for case, _ in shown]
                expected += [end for _, end in shown]
    others = in_the_other(definitions, asked)
    seen = {what for (what, _), end, other in zip(asked, expected, others, strict=True) if other != end}
    assert [what for what in definitions if what not in seen] == []
    assert len(definitions) > 200
