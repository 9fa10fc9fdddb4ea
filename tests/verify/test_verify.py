"""`hourbank verify` on the emulator, whose TestState, TestEventPattern and SimulatePrincipalPolicy are asked as AWS's.

It takes every definition as legal, and does not look at a mocked result, a context or a time-out's path: what AWS would
say of these is in test_trials.py, in recorded shapes. Faults are planted in what is asked about, and each is found.
"""

import copy
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from hourbank.drawing import graph
from hourbank.local.emulator import Emulator
from hourbank.stories.stories import STORIES
from hourbank.verify import account, filters, states
from hourbank.verify.program import Program, read
from tests.helpers.processes import HOURBANK
from tests.helpers.verifying import HERE, asking, changed, environment, misses

pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("verify")]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator, asking(emulator):
        yield emulator


@pytest.fixture(scope="module")
def program(emulator: Emulator) -> Program:
    return account.program_here(None, "us-east-1")


def verify(emulator: Emulator, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HOURBANK, "verify", *arguments],
        env=os.environ | environment(emulator),
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_holds_before_anything_is_deployed(emulator: Emulator, tmp_path: Any) -> None:
    report = tmp_path / "report.md"
    done = verify(emulator, "--region", "us-east-1", "--json", "--report", str(report))
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["ok"] and [one for one in told["rows"] if one["problems"]] == []
    asked = {one["claim"]: one["asked"] for one in told["rows"]}
    assert asked[states.LEGAL] == 2 and asked[states.WAYS] == len(STORIES) and asked[states.RETRIES] > 100
    assert report.read_text().startswith("## hourbank verify: before a deployment, us-east-1\n")
    assert "000000000000" not in report.read_text()
    stepfunctions = emulator.client("stepfunctions")
    assert stepfunctions.list_state_machines()["stateMachines"] == [], "something was made"


def every_transition(definition: graph.Definition) -> Iterator[tuple[str, list[Any], str]]:
    """The state, the keys to what names the next one, and that one."""
    for name, state in definition["States"].items():
        for key in ("Next", "Default"):
            if key in state:
                yield name, [key], state[key]
        for key in ("Choices", "Catch"):
            for number, rule in enumerate(state.get(key, ())):
                yield name, [key, number, "Next"], rule["Next"]


def test_every_next_that_is_another_in_what_is_deployed_is_found(program: Program) -> None:
    for machine, text in program.definitions.items():
        expected = read(text)
        for name, keys, target in every_transition(expected):
            wrong = copy.deepcopy(expected)
            place: Any = wrong["States"][name]
            for key in keys[:-1]:
                place = place[key]
            place[keys[-1]] = next(other for other in expected["States"] if other not in (name, target))
            asker = states.Asker(account.client("stepfunctions"), json.dumps(wrong), program.machine(machine))
            mine = [one for one in states.trials(expected) if isinstance(one, states.Trial) and one.state == name]
            assert any(asker.problem(trial) for trial in mine), (name, keys)


def test_every_catcher_and_retrier_that_is_missing_in_what_is_deployed_is_found(program: Program) -> None:
    for machine, text in program.definitions.items():
        expected = read(text)
        for name, state in expected["States"].items():
            for key in ("Catch", "Retry"):
                for number in range(len(state.get(key, ()))):
                    wrong = copy.deepcopy(expected)
                    del wrong["States"][name][key][number]
                    asker = states.Asker(account.client("stepfunctions"), json.dumps(wrong), program.machine(machine))
                    mine = [one for one in states.trials(expected) if isinstance(one, states.Trial)]
                    assert any(asker.problem(trial) for trial in mine if trial.state == name), (name, key, number)


@pytest.mark.parametrize(
    ("workflow", "change", "problem"),
    [
        pytest.param(
            "ServiceRequest",
            lambda of: of["EscrowHours"].update(Next="StartServiceExecution"),
            "does not come to WaitForProviderResponse",
            id="a wrong Next",
        ),
        pytest.param(
            "ServiceRequest",
            lambda of: of["ValidateRequest"]["Catch"].pop(0),
            "RequestFailed is left with FAILED",
            id="a missing catcher",
        ),
        pytest.param(
            "Escrow",
            lambda of: of["CheckDecision"]["Choices"].reverse() or of["CheckDecision"]["Choices"][0].update(
                Next="ProcessEscrowRelease"
            ),
            "does not come to RefundEscrow",
            id="a branch that leads elsewhere",
        ),
        pytest.param(
            "ServiceRequest",
            lambda of: of["TimeoutRequest"].update(ResultPath="$.states.TimeoutRequest"),
            "WaitForProviderResponse",
            id="a result that goes where nobody looks",
        ),
    ],
)  # fmt: skip
def test_a_fault_in_the_program_itself_is_found_by_the_stories_ways(
    program: Program, workflow: str, change: Any, problem: str
) -> None:
    stepfunctions = account.client("stepfunctions")
    askers = {
        machine.rpartition("-")[0]: states.Asker(stepfunctions, text, program.machine(machine))
        for machine, text in changed(program, workflow, change).items()
    }
    found = misses(list(states.walked(askers, STORIES)))
    assert found and any(problem in one.problem for one in found), found


def test_every_filter_that_is_missing_or_too_narrow_is_found(program: Program) -> None:
    events = account.client("events")
    assert misses(list(filters.passed(events, program.filters, HERE))) == []
    for number in range(len(program.filters)):
        fewer = [one for place, one in enumerate(program.filters) if place != number]
        assert misses(list(filters.passed(events, fewer, HERE))), program.filters[number]
    narrow = [one.replace('{"exists": false}, ', "") for one in program.filters]
    assert narrow != program.filters
    assert [one.what for one in misses(list(filters.passed(events, narrow, HERE)))] == [
        "a new request, its status missing",
        "a new request, its status NULL",
        "a new request, all left out NULL",
    ]


def test_a_filter_that_is_too_wide_is_found(program: Program) -> None:
    wide = [*program.filters[:-1], json.dumps({"dynamodb": {"NewImage": {"status": {"S": [{"exists": False}]}}}})]
    found = misses(list(filters.passed(account.client("events"), wide, HERE)))
    assert "a removal" in [one.what for one in found]
