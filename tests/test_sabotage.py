"""The simulator can fail: each protection is taken away in turn, and it notices."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import pytest

from handlers import events, ledger, requests, tables, validate_service_request, waiting
from handlers.execution import Execution
from handlers.tables import Change, Item, Plan
from tests.simulation import Simulation
from tests.simulator import Case, in_silence, play, single_faults, story_named
from tests.test_paths import WORKFLOWS, stories, ways_out
from tests.time_skipping import definition_of

ACCEPTED = "CheckProviderResponse.ACCEPTED"
RELEASE = "CheckDecision.RELEASE"


def caught(story: str, kinds: Collection[str] = (), repair: str = "redrive", **changes: Any) -> list[str]:
    """Return what the simulator says about a story with the first fault of these kinds that shows something."""
    with in_silence():
        if not kinds:
            return Simulation(story_named(story), **changes).play()
        faults, without = single_faults(story_named(story), **changes)
        for fault in faults:
            if fault.kind in kinds:
                result = play(Case(story, (fault,), repair), without, **changes)
                if result.problems:
                    return list(result.problems)
    return []


def test_nothing_is_caught_where_nothing_was_taken_away() -> None:
    assert caught(ACCEPTED, ("spent", "started-too", "call-conflicts")) == []
    assert caught(RELEASE, ("requester-clears",)) == []
    assert caught(RELEASE, ("deleted",), "at-odds") == []


def test_without_the_condition_on_the_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Change, "at_least", lambda change, attribute, number: change.exists())
    assert "user:ann is overdrawn" in str(caught(ACCEPTED, ("spent",)))


def test_without_the_condition_on_the_escrows_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def still_there(escrow: Item) -> Change:
        return Change("Escrow", escrow["id"]).unchanged(escrow, "executionArn", "hours")

    monkeypatch.setattr(ledger, "_still_held", still_there)
    assert "13 hours in all, but 10 were granted" in str(caught(RELEASE, ("deleted",), "at-odds"))


def test_without_the_owners_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "is_owned", lambda request, arn: request is not None)
    assert "quietly wrong" in str(caught(ACCEPTED, ("started-too",)))


def test_without_a_claim_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(run: Execution) -> Item:
        def plan() -> Plan:
            request = requests.load(run.request_id)
            assert request
            return Plan(request)

        return tables.commit(plan)[0]

    monkeypatch.setattr(validate_service_request, "claim", look)
    assert caught(ACCEPTED)


def test_without_the_tokens_storage_before_the_event() -> None:
    def ask_first(event: dict[str, Any], context: Any) -> None:
        run = Execution.of(event)
        request = requests.load(run.request_id)
        assert request
        events.publish("ProviderAsked", run.request_id, request["providerId"], "AWAITING_PROVIDER")
        waiting.enter(run, event["taskToken"], "AWAITING_PROVIDER", lambda _: ({}, ()))

    said = caught(ACCEPTED, handlers={"notifyProvider": ask_first})
    assert "ProviderAsked says AWAITING_PROVIDER, but the request is ESCROWED" in str(said)


def test_without_the_retry_of_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_CHANGED_MEANWHILE", {"ConditionalCheckFailed", "None"})
    assert "a harmless fault changed" in str(caught(ACCEPTED, ("call-conflicts",)))


def test_without_the_decision_in_the_release_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    move = requests.move

    def careless(*arguments: Any, unchanged: tuple[str, ...] = (), **more: Any) -> Any:
        kept = tuple(name for name in unchanged if name not in ("requesterResponse", "providerResponse"))
        return move(*arguments, unchanged=kept, **more)

    monkeypatch.setattr(requests, "move", careless)
    assert "paid although requesterResponse is None" in str(caught(RELEASE, ("requester-clears",)))


CATCHERS = [
    (machine, state, index, error)
    for machine, workflow in WORKFLOWS.items()
    for state, task in definition_of(workflow)["States"].items()
    for index, catcher in enumerate(task.get("Catch", ()))
    for error in catcher["ErrorEquals"][:1]
]


@pytest.mark.parametrize(("machine", "state", "index", "error"), CATCHERS)
def test_without_one_catch(machine: str, state: str, index: int, error: str) -> None:
    assert error in [way for way, _ in ways_out(definition_of(WORKFLOWS[machine])["States"][state])]
    story = next(s for s in stories() if s.machine == machine and (state, error) in s.path)
    definitions = {
        name: without_catcher(workflow, state if name == machine else "", index) for name, workflow in WORKFLOWS.items()
    }
    assert "without a fault the path is" in str(caught(str(story), definitions=definitions))


def without_catcher(workflow: Any, state: str, index: int) -> dict[str, Any]:
    definition = copy.deepcopy(definition_of(workflow))
    if state:
        del definition["States"][state]["Catch"][index]
    return definition


def test_without_the_retries_of_a_hiccup() -> None:
    definitions = {name: copy.deepcopy(definition_of(workflow)) for name, workflow in WORKFLOWS.items()}
    definitions["ServiceRequestWorkflow"]["States"]["EscrowHours"]["Retry"].pop()
    assert "a harmless fault changed" in str(caught(ACCEPTED, ("raises",), definitions=definitions))
