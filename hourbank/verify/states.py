"""The states of a definition, each tried alone by Step Functions: TestState, with results and errors that are made up.

Nothing is made and nothing is called. What must come of a trial is read from the definition, by the state language's
own rules; a story's way is known beside it, from `hourbank.stories`, and finds what is wrong in the definition itself.
https://docs.aws.amazon.com/step-functions/latest/dg/test-state-isolation.html

Which mocks and contexts AWS takes, and that it counts retriers from 0, is in snapshots of its answers:
https://github.com/localstack/localstack/tree/main/tests/aws/services/stepfunctions/v2/test_state
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from hourbank.account.checks import Outcome
from hourbank.drawing import graph
from hourbank.drawing.graph import Cause, Definition
from hourbank.names import execution_arn
from hourbank.stories.stories import Story, Ways
from hourbank.verify.program import read
from hourbank.verify.verdicts import Verdict, found

LEGAL, SAME = "definitions are legal", "what is deployed is this program's"
RESULTS, BRANCHES = "results lead on, and go where they belong", "branches of a Choice"
CAUGHT, TIMEOUTS, RETRIES = "errors that are caught, or end it", "time-outs", "retries by the error's name"
WAYS = "the stories' ways through the states"

TIMED_OUT, NO_ERROR_OF_OURS, NO_ANSWER_OF_OURS = "States.Timeout", "VerifyError", "VERIFY"
WILDCARDS = {graph.EVERY_ERROR, "States.TaskFailed"}
REQUEST = {"requestId": "verify"}
TOKEN = "verify-task-token"  # noqa: S105 a word in place of one
SECONDS = 60
# what an execution of either machine passes at most, twice over
LONGEST_WAY = 40
# says that the trial is not one that AWS makes: the definition is to blame
REFUSED = {"InvalidDefinition", "InvalidExecutionInput", "ValidationException"}
# what a state does with its data beside Parameters and ResultPath; the output is then not foreseen
FILTERS = {"Assign", "InputPath", "Output", "OutputPath", "ResultSelector"}
FIX = "the definition in workflows/ does not do on AWS what it says: correct it, and report this"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One state, left in one way.

    Attributes
    ----------
    input : object
        What the state gets.
    result : object
        What its function gives, where it is a Task and `error` is empty.
    tried : int
        How often the error was retried already.
    expected : mapping
        What must come of it: `status`, `nextState`, `output` (plain), `error`, `retryIndex`; all that is there must be.
    """

    claim: str
    state: str
    how: str
    input: Any
    result: Any = None
    error: str = ""
    tried: int = 0
    expected: Mapping[str, Any] = field(default_factory=dict)


class CannotBeTriedError(Exception):
    """A state that no trial is made for; the message says why."""


# ---- what must come of it


def put(data: Any, path: str | None, value: Any) -> Any:
    """Return data with the value where a reference path (`$.a.b`) says."""
    if path is None:
        return data
    keys = steps(path)
    if not keys:
        return value
    head, *rest = keys
    inner = data.get(head, {}) if isinstance(data, dict) else {}
    return {**(data if isinstance(data, dict) else {}), head: put(inner, ".".join(["$", *rest]), value)}


def steps(path: str) -> list[str]:
    root, *keys = path.split(".")
    if root != "$" or any(not key.isidentifier() for key in keys):
        raise CannotBeTriedError(f"its path {path} is none of names alone")
    return keys


def names(error: str, listed: Sequence[str]) -> bool:
    """Whether a retrier or a catcher with these names is for an error."""
    return any(
        one in (error, graph.EVERY_ERROR) or (one == "States.TaskFailed" and error != TIMED_OUT) for one in listed
    )


def after_error(state: Mapping[str, Any], error: str, tried: int) -> dict[str, Any]:
    """Say what comes of an error that was retried so often: the first retrier that names it decides, then a catcher."""
    for number, retrier in enumerate(state.get("Retry", ())):
        if names(error, retrier["ErrorEquals"]):
            if tried < retrier.get("MaxAttempts", 3):
                return {"status": "RETRIABLE", "retryIndex": number}
            break
    for way in graph.ways(state):
        if way.cause is Cause.CATCH and names(error, way.rule["ErrorEquals"]):
            return {"status": "CAUGHT_ERROR", "nextState": way.target}
    return {"status": "FAILED", "error": error}


def inputs(definition: Definition, name: str) -> Any:
    """What a state can count on: the first has the request alone, each other what it reads and how long people have."""
    data: Any = dict(REQUEST)
    if name == definition["StartAt"]:
        return data
    for path in read_by(definition["States"][name].get("Parameters")):
        data = put(data, path, NO_ANSWER_OF_OURS)
    for path in timeout_paths(definition):
        data = put(data, path, SECONDS)
    return data


def timeout_paths(definition: Definition) -> list[str]:
    return [state["TimeoutSecondsPath"] for state in definition["States"].values() if "TimeoutSecondsPath" in state]


def read_by(parameters: Any) -> Iterator[str]:
    """The paths into a state's input that its parameters name."""
    if isinstance(parameters, Mapping):
        for key, value in parameters.items():
            if key.endswith(".$") and isinstance(value, str):
                if value.startswith("$."):
                    yield value
            else:
                yield from read_by(value)


# ---- the trials


def trials(definition: Definition) -> Iterator[Trial | Verdict]:
    """Every way out of every state; a verdict for a state that cannot be tried."""
    for name, state in definition["States"].items():
        try:
            yield from of_state(definition, name, state)
        except CannotBeTriedError as why:
            yield Verdict(claim=RESULTS, what=name, outcome=Outcome.UNSEEN, problem=f"not tried: {why}")


def of_state(definition: Definition, name: str, state: Mapping[str, Any]) -> Iterator[Trial]:
    kind = state["Type"]
    if "JSONata" in (definition.get("QueryLanguage"), state.get("QueryLanguage")):
        raise CannotBeTriedError("it is in JSONata")
    if kind not in ("Choice", "Fail", "Pass", "Succeed", "Task"):
        raise CannotBeTriedError(f"it is a {kind}")
    given = inputs(definition, name)
    if kind == "Choice":
        yield from of_choice(name, state, given)
    elif kind == "Fail":
        yield Trial(
            claim=RESULTS, state=name, how="ends it", input=given,
            expected={"status": "FAILED", "error": state.get("Error")},
        )  # fmt: skip
    else:
        result = {"verify": name} if kind == "Task" else state.get("Result", given)
        expected = {"status": "SUCCEEDED", "nextState": state.get("Next")}
        if not FILTERS & state.keys():
            expected["output"] = given if kind == "Succeed" else put(given, state.get("ResultPath", "$"), result)
        yield Trial(claim=RESULTS, state=name, how="has done it", input=given, result=result, expected=expected)
    if kind == "Task":
        yield from of_errors(name, state, given)


def of_choice(name: str, state: Mapping[str, Any], given: Any) -> Iterator[Trial]:
    rules = state["Choices"]
    if strange := [rule for rule in rules if rule.keys() - {"Comment"} != {"Variable", "StringEquals", "Next"}]:
        raise CannotBeTriedError(f"nothing is made up that makes {graph.name_of(strange[0])} true")
    for rule in rules:
        given = put(given, rule["Variable"], NO_ANSWER_OF_OURS)
    for way in graph.ways(state):
        data = put(given, way.rule["Variable"], way.name) if way.cause is Cause.CHOICE else given
        expected = {"status": "SUCCEEDED", "nextState": way.target}
        if way.target is None:
            expected = {"status": "FAILED", "error": "States.NoChoiceMatched"}
        yield Trial(claim=BRANCHES, state=name, how=way.name, input=data, expected=expected)


def errors(state: Mapping[str, Any]) -> list[str]:
    """Return each error that a Task names, a time-out, and an error that nobody names."""
    named = [error for rule in (*state.get("Retry", ()), *state.get("Catch", ())) for error in rule["ErrorEquals"]]
    return [error for error in dict.fromkeys([*named, TIMED_OUT, NO_ERROR_OF_OURS]) if error not in WILDCARDS]


def of_errors(name: str, state: Mapping[str, Any], given: Any) -> Iterator[Trial]:
    """Each error that is named, a time-out, and an error that nobody names; then each retrier used up."""
    retriers = state.get("Retry", [])
    used_up = set()
    for error in errors(state):
        expected = after_error(state, error, 0)
        yield of_error(name, given, error, 0, expected)
        number = expected.get("retryIndex")
        if number is not None and (number, error == TIMED_OUT) not in used_up:
            used_up.add((number, error == TIMED_OUT))
            tried = retriers[number].get("MaxAttempts", 3)
            yield of_error(name, given, error, tried, after_error(state, error, tried))


def of_error(name: str, given: Any, error: str, tried: int, expected: Mapping[str, Any]) -> Trial:
    is_retried = expected["status"] == "RETRIABLE"
    claim = TIMEOUTS if error == TIMED_OUT else RETRIES if is_retried else CAUGHT
    how = f"{error}, tried {tried + 1} times" if tried else error
    return Trial(claim=claim, state=name, how=how, input=given, error=error, tried=tried, expected=expected)


# ---- asking


class Asker:
    """Asks Step Functions about one definition.

    Parameters
    ----------
    states : object
        The client.
    text : str
        The definition that is asked about.
    machine : str
        An ARN for the context object; it need not be there.
    """

    def __init__(self, states: Any, text: str, machine: str) -> None:
        self._states, self._text = states, text
        execution = execution_arn(machine, "verify")
        self._execution = {
            "Id": execution,
            "Input": REQUEST,
            "Name": "verify",
            "RoleArn": "arn:aws:iam::123456789012:role/verify",
            "StartTime": "2026-01-01T00:00:00.000Z",
        }
        self._machine = {"Id": machine, "Name": machine.rpartition(":")[2]}
        self.definition = read(text)

    def answer(self, trial: Trial) -> dict[str, Any]:
        """Return what TestState says; what AWS refuses as a trial has the status REFUSED."""
        state = self.definition["States"].get(trial.state, {})
        told: dict[str, Any] = {}
        # AWS takes neither for other states, and a token for those that wait for one alone
        if state.get("Type") == "Task":
            told["context"] = json.dumps(self._context(trial, state))
            told["mock"] = (
                {"errorOutput": {"error": trial.error, "cause": "verify"}}
                if trial.error
                else {"result": json.dumps(trial.result), "fieldValidationMode": "NONE"}
            )
            if trial.tried:
                told["stateConfiguration"] = {"retrierRetryCount": trial.tried}
        try:
            answer: dict[str, Any] = self._states.test_state(
                definition=self._text,
                stateName=trial.state,
                input=json.dumps(trial.input),
                inspectionLevel="TRACE",
                **told,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in REFUSED:
                raise
            return {"status": "REFUSED", "cause": error.response["Error"].get("Message", "")}
        return answer

    def _context(self, trial: Trial, state: Mapping[str, Any]) -> dict[str, Any]:
        entered = {"EnteredTime": "2026-01-01T00:00:01.000Z", "Name": trial.state, "RetryCount": trial.tried}
        context = {"Execution": self._execution, "State": entered, "StateMachine": self._machine}
        return context | ({"Task": {"Token": TOKEN}} if graph.waits_for_token(state) else {})

    def problem(self, trial: Trial) -> str:
        """Return what came of a trial otherwise than it must; empty where nothing did."""
        answer = self.answer(trial)
        inspected = answer.get("inspectionData", {})
        seen = {
            "status": answer.get("status"),
            "nextState": answer.get("nextState"),
            "error": answer.get("error"),
            "output": json.loads(answer.get("output") or "null"),
            "retryIndex": inspected.get("errorDetails", {}).get("retryIndex"),
        }
        for key, expected in trial.expected.items():
            if seen[key] != expected:
                cause = f": {answer['cause']}" if answer.get("cause") not in (None, "", "verify") else ""
                return f"{key} is {in_short(seen[key])}, not {in_short(expected)}{cause}"
        return "" if trial.error else self._missing_of_context(trial, inspected.get("afterParameters", ""))

    def _missing_of_context(self, trial: Trial, given: str) -> str:
        """Say what a function is not given of the context object although the state's parameters name it."""
        state = self.definition["States"][trial.state]
        asked_for = json.dumps(state.get("Parameters", {}))
        for path, value in (
            ("$$.Execution", self._execution["Id"]),
            ("$$.State", trial.state),
            ("$$.Task.Token", TOKEN),
        ):
            if f'"{path}"' in asked_for and json.dumps(value) not in given:
                return f"the function is not given {path}"
        return ""


def in_short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) < 160 else text[:160] + "…"


def tried(asker: Asker, expected: Definition) -> Iterator[Verdict]:
    """Try every way out of every state of a definition, which must be as another one says, in most cases itself."""
    for trial in trials(expected):
        if isinstance(trial, Verdict):
            yield trial
        else:
            yield found(trial.claim, f"{trial.state}, {trial.how}", asker.problem(trial), FIX)


def legal(states: Any, machine: str, text: str) -> Iterator[Verdict]:
    """Ask whether a definition is legal: an error is none, a warning is told."""
    answer = states.validate_state_machine_definition(definition=text, severity="WARNING")
    told = [
        f"{one['severity']} {one['code']}: {one['message']}" + (f" at {one['location']}" if "location" in one else "")
        for one in answer["diagnostics"]
    ]
    if answer["result"] == "OK":
        outcome = Outcome.NOTE if told else Outcome.FITS
        yield Verdict(claim=LEGAL, what=machine, outcome=outcome, problem="; ".join(told))
    else:
        yield found(LEGAL, machine, "; ".join(told) or "it is not legal", FIX)


def walked(askers: Mapping[str, Asker], stories: Sequence[Story]) -> Iterator[Verdict]:
    """Go each story's way, from state to state with what the one before put out."""
    for story in stories:
        passed: list[str] = []
        problem = ""
        for machine, ways in (
            ("ServiceRequestWorkflow", story.request_ways),
            ("EscrowManagementWorkflow", story.release_ways),
        ):
            if ways is not None and not problem:
                problem = walk(askers[machine], ways, passed)
        on_the_way = iter(passed)
        missing = [state for state in story.states if state not in on_the_way]  # consumes: keeps the order
        if not problem and missing:
            problem = f"does not come to {missing[0]}, but passes {', '.join(passed)}"
        yield found(WAYS, story.title, problem, FIX)


def walk(asker: Asker, ways: Ways, passed: list[str]) -> str:
    """Go one machine's way, add the states to what was passed, and return what is wrong."""
    definition, data = asker.definition, dict(REQUEST)
    name: str | None = definition["StartAt"]
    for _ in range(LONGEST_WAY):
        if name is None:
            return ""
        passed.append(name)
        state = definition["States"].get(name, {})
        way = ways.get(name, "")
        is_error = state.get("Type") == "Task" and bool(way)
        trial = Trial(
            claim=WAYS, state=name, how=way, input=data,
            result=result_for(definition, state, ways), error=way if is_error else "",
        )  # fmt: skip
        answer = asker.answer(trial)
        if answer.get("status") != ("CAUGHT_ERROR" if is_error else "SUCCEEDED"):
            return f"{name} is left with {answer.get('status')}, {answer.get('error')}: {answer.get('cause')}"
        data, name = json.loads(answer["output"]), answer.get("nextState")
    return f"never ends: {', '.join(passed[-5:])}"


def result_for(definition: Definition, state: Mapping[str, Any], ways: Ways) -> Any:
    """Make up a result that lets the Choices after it be left in a story's way, and gives people a minute."""
    result: Any = {}
    where = state.get("ResultPath", "$") or "$"
    reads: list[tuple[str, Any]] = [(path, SECONDS) for path in timeout_paths(definition)]
    for name, choice in definition["States"].items():
        rules = choice.get("Choices", ()) if name in ways else ()
        reads += [(rule["Variable"], ways[name]) for rule in rules if "Variable" in rule]
    for path, value in reads:
        if path.startswith(f"{where}."):
            result = put(result, "$" + path.removeprefix(where), value)
    return result
