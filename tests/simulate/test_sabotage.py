"""The simulator can fail: each protection is taken away in turn, and it notices."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Collection
from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer

from handlers import (
    process_escrow_release,
    reject_request,
    route_service_request,
    start_service_execution,
    validate_service_request,
)
from handlers.aws import dynamodb
from handlers.aws.dynamodb import Change, Item, Plan
from handlers.bank import audit, events, execution, hours, ledger, look, missed, requests, waiting
from handlers.bank.errors import ReleaseRefused
from handlers.bank.execution import Execution
from handlers.bank.faults import check_log
from hourbank.drawing import graph
from hourbank.simulate.cases import Replay, in_silence, play, single_faults, story_named
from hourbank.simulate.faults import BESIDE, COLLIDING, FULL, ODD_ANSWERED, ODD_CREATED, RAW, STRAYS, TAKEN_BACK, Fault
from hourbank.simulate.paths import stories
from hourbank.simulate.program import definition_of
from hourbank.simulate.run import Simulation
from workflows import WORKFLOWS

ACCEPTED = "CheckProviderResponse.ACCEPTED"
OFFERED = "CheckProviderResponse.COUNTER_OFFER>CheckRequesterResponse.ACCEPTED"
RELEASE = "CheckDecision.RELEASE"


def caught(story: str, kinds: Collection[str] = (), repair: str = "redrive", **changes: Any) -> list[str]:
    """Return what the simulator says about a story with the first fault of these kinds that shows something."""
    with in_silence():
        if not kinds:
            return Simulation(story_named(story), **changes).play()
        faults, without = single_faults(story_named(story), **changes)
        for fault in faults:
            if fault.kind in kinds:
                result = play(Replay(story, (fault,), repair), without, **changes)
                if result.problems:
                    return list(result.problems)
    return []


@pytest.mark.thorough
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


def test_without_a_claim_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(run: Execution) -> Item:
        def plan() -> Plan:
            request = requests.load(run.request_id)
            assert request
            return Plan(request)

        return dynamodb.commit(plan)[0]

    monkeypatch.setattr(validate_service_request, "claim", look)
    assert caught(ACCEPTED)


def test_without_the_tokens_storage_before_the_event() -> None:
    def ask_first(event: dict[str, Any], context: Any) -> None:
        run = Execution.of(event)
        request = requests.load(run.request_id)
        assert request
        events.publish("ProviderAsked", request)
        waiting.enter(run, event["taskToken"], "AWAITING_PROVIDER", lambda _: ({}, ()))

    said = caught(ACCEPTED, handlers={"notifyProvider": ask_first})
    assert "ProviderAsked says AWAITING_PROVIDER, but the request is ESCROWED" in str(said)


def test_where_the_end_of_a_service_is_told_before_it_is_written() -> None:
    def tell_first(event: dict[str, Any], context: Any) -> str:
        run = Execution.of(event)
        events.publish_end(run.request_id, ledger.Ended("COMPLETED", "ann"))
        return process_escrow_release.handler(event, context)

    said = caught(RELEASE, handlers={"processEscrowRelease": tell_first})
    assert "RequestEnded says COMPLETED, but the request is IN_PROGRESS" in str(said)


def test_where_only_the_requester_hears_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    publish_end = events.publish_end
    monkeypatch.setattr(
        process_escrow_release, "publish_end", lambda key, ended: publish_end(key, ended._replace(provider_id=None))
    )
    assert "nobody told the provider: RequestEnded (COMPLETED)" in str(caught(RELEASE))


def test_where_the_provider_hears_of_a_request_that_was_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        reject_request, "publish_end", lambda key, ended: events.publish_end(key, ended._replace(provider_id="bob"))
    )
    said = caught("EscrowHours.InsufficientBalance")
    assert "RequestEnded of REJECTED to the provider, who was never asked" in str(said)


def test_where_two_people_share_an_events_id(monkeypatch: pytest.MonkeyPatch) -> None:
    dumps = json.dumps
    monkeypatch.setattr(
        events, "json", SimpleNamespace(dumps=lambda told: dumps(told | {"eventId": f"r1#{told['status']}"}))
    )
    assert "ServiceStarted of IN_PROGRESS to the provider has the id r1#IN_PROGRESS" in str(caught(ACCEPTED))


def test_where_nothing_says_that_the_provider_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ending is killed before it tells, and its second run finds a request that has ended."""
    waits = (*requests.WAITS, "IN_PROGRESS")
    monkeypatch.setattr(requests, "was_asked", lambda request: request.get("status") in waits)
    said = caught("CheckProviderResponse.REJECTED", ("killed",))
    assert "nobody told the provider: RequestEnded (DECLINED)" in str(said)


@pytest.mark.parametrize("whose", ["providerId", "requesterId"])
def test_where_a_refund_goes_to_somebody_else(monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    """To the provider, or to whoever the record names by now."""
    close = ledger._close

    def astray(escrow: Item, status: str) -> Any:
        request = requests.load(escrow["id"])
        return close(escrow | {"requesterId": (request or escrow)[whose]}, status)

    monkeypatch.setattr(ledger, "_close", astray)
    kinds = ("replaced",) if whose == "requesterId" else ()
    assert "ESCROW_REFUND of escrow r1 went from escrow:r1 to user:" in str(
        caught("CheckProviderResponse.REJECTED", kinds)
    )


def test_where_hours_are_held_for_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    put = dynamodb.put
    monkeypatch.setattr(
        dynamodb, "put", lambda model, item: put(model, item | ({"providerId": "eve"} if model == "Escrow" else {}))
    )
    assert "hours are held for eve as providerId, but the request says bob" in str(caught(ACCEPTED))


def test_where_an_operator_can_do_nothing_without_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = ledger.settle

    def only_with_the_request(request_id: str, *order: Any) -> Any:
        if requests.load(request_id) is None:
            raise ReleaseRefused("The request is gone")
        return settle(request_id, *order)

    monkeypatch.setattr(ledger, "settle", only_with_the_request)
    assert "not repaired by REFUND" in str(caught(RELEASE, ("deleted",), "REFUND"))


def test_without_the_retry_of_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb, "_PASSING", {"ConditionalCheckFailed", "None"})
    assert "a harmless fault changed" in str(caught(ACCEPTED, ("call-conflicts",)))


@pytest.mark.thorough
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


@pytest.mark.thorough
@pytest.mark.parametrize(("machine", "state", "index", "error"), CATCHERS)
def test_without_one_catch(machine: str, state: str, index: int, error: str) -> None:
    assert error in [way.name for way in graph.ways(definition_of(WORKFLOWS[machine])["States"][state])]
    story = next(s for s in stories() if s.machine == machine and (state, error) in s.path)
    definitions = {
        name: without_catcher(workflow, state if name == machine else "", index) for name, workflow in WORKFLOWS.items()
    }
    assert "without a fault the path is" in str(caught(str(story), definitions=definitions))


# a path that passes the state without its refusal, and what makes it refuse there
REFUSED_BY = {
    "ValidationFailed": (ACCEPTED, "spent"),
    "InsufficientBalance": (ACCEPTED, "spent"),
    "IllegalOffer": (OFFERED, "offer-broken"),
    "OfferNotAffordable": (OFFERED, "spent"),
    "NotOwner": (OFFERED, "deleted"),
    "ReleaseRefused": (RELEASE, "deleted"),
    "States.ALL": (OFFERED, "raises!"),
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("machine", "state", "index", "error"), [catcher for catcher in CATCHERS if catcher[3] != "States.Timeout"]
)
def test_without_one_catch_where_the_paths_do_not_know_of_it(machine: str, state: str, index: int, error: str) -> None:
    """As where a path is not enumerated because the definition has lost it."""
    story, kind = REFUSED_BY[error]
    if machine == "EscrowManagementWorkflow" and state == "RefundEscrow":
        story = "CheckDecision.REFUND"
    definitions = {
        name: without_catcher(workflow, state if name == machine else "", index) for name, workflow in WORKFLOWS.items()
    }
    said = str(caught(story, (kind,), definitions=definitions))
    assert "an operator is needed" in said if error == "States.ALL" else f"{state} refused (" in said


def without_catcher(workflow: Any, state: str, index: int) -> dict[str, Any]:
    definition = copy.deepcopy(definition_of(workflow))
    if state:
        del definition["States"][state]["Catch"][index]
    return definition


@pytest.mark.thorough
def test_without_the_retries_of_a_hiccup() -> None:
    definitions = {name: copy.deepcopy(definition_of(workflow)) for name, workflow in WORKFLOWS.items()}
    definitions["ServiceRequestWorkflow"]["States"]["EscrowHours"]["Retry"].pop()
    assert "a harmless fault changed" in str(caught(ACCEPTED, ("raises",), definitions=definitions))


# --- records that can hold nobody hostage -----------------------------------------------------------------------------


def plays(story: str, *faults: Fault, repair: str = "redrive") -> str:
    """Return what the simulator says about a story with each of these faults alone."""
    with in_silence():
        return str([play(Replay(story, (fault,), repair)).problems for fault in faults])


def odd(kind: str, field: str, value: object) -> Fault:
    """Return the fault by which a field has a value: at creation, or while the first wait is entered."""
    if kind == "odd-created":
        return Fault(kind, ODD_CREATED.index((field, value)))
    return Fault(kind, 8, ODD_ANSWERED.index((field, value)))


HUGE = (
    odd("odd-created", "estimatedHours", Decimal("1e50")),
    odd("odd-answered", "counterOfferHours", Decimal("1e50")),
)
FULL_TO_THE_BYTE = tuple(Fault("full", number) for number in range(len(FULL)))
FILLED = tuple(Fault("filled", call) for call in range(5, 18, 3))
ROWS_BESIDE = tuple(Fault("beside", number) for number in range(len(BESIDE)))


@pytest.mark.parametrize(
    ("story", "faults"),
    [
        (OFFERED, (*HUGE, *FULL_TO_THE_BYTE, *FILLED)),
        (
            ACCEPTED,
            (*ROWS_BESIDE[::9], Fault("reborn"), *(Fault("collides", number) for number in range(len(COLLIDING)))),
        ),
        (ACCEPTED, (Fault("stream-stops", 1), Fault("stream-returns", 1))),
        (RELEASE, (Fault("stream-stops", 2), Fault("reborn"), Fault("pause-requester-confirms", 15))),
    ],
)
def test_nothing_is_caught_where_records_hold_anything(story: str, faults: tuple[Fault, ...]) -> None:
    assert plays(story, *faults, repair="REFUND") == str([()] * len(faults))


def test_where_numbers_are_read_as_boto3_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb, "plain", TypeDeserializer().deserialize)
    said = plays(OFFERED, *HUGE)
    assert "Rounded" in said or "the router failed at a record for what it is" in said


def test_where_any_number_of_hours_is_legal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hours, "is_legal", lambda given: isinstance(given, Decimal) and given > 0)
    assert "escrow r1 is of 0.001 hours" in plays(ACCEPTED, odd("odd-created", "estimatedHours", Decimal("0.001")))


def test_where_a_hold_takes_an_older_escrow_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = ledger.hold

    def found_done(run: Execution) -> Decimal:
        escrow = dynamodb.read("Escrow", run.request_id)
        return escrow["hours"] if escrow and escrow["executionArn"] == run.arn else hold(run)

    unaware = SimpleNamespace(read=lambda *_: None, commit=dynamodb.commit)
    monkeypatch.setattr(validate_service_request, "dynamodb", unaware)
    monkeypatch.setattr(ledger, "hold", found_done)
    assert "what a record says failed an execution" in plays(RELEASE, Fault("reborn"))


def test_where_an_id_may_look_like_the_hash_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def name_of(prefix: str, request_id: str, number: int = 1) -> str:
        is_plain = re.fullmatch(r"[A-Za-z0-9_-]+", request_id) and not re.search(r"-\d+$", request_id)
        word = request_id if is_plain else hashlib.sha256(request_id.encode()).hexdigest()[:40]
        return f"{prefix}{word}" + (f"-{number}" if number > 1 else "")

    monkeypatch.setattr(route_service_request, "execution_name", name_of)
    monkeypatch.setattr(execution, "execution_name", name_of)
    is_running = route_service_request._is_running
    # and whoever has the name is taken for the request's own
    monkeypatch.setattr(
        route_service_request, "_is_running", lambda machine, name, _: is_running(machine, name, "order-124")
    )
    assert "the execution of another" in plays(ACCEPTED, Fault("collides"))


def test_where_what_is_missed_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "PATIENCE_AFTER_TOUCH", timedelta(days=99))
    assert "quietly wrong at the end" in plays(ACCEPTED, Fault("stream-stops"))


def test_where_what_is_missed_is_touched_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missed, "TOUCHES_END", timedelta(days=9999))
    assert "touched every day, for ever" in plays(ACCEPTED, Fault("stream-stops"))


STRAY = tuple(Fault("stray", number) for number in range(len(STRAYS)))
WRITTEN_RAW = tuple(Fault("raw", number) for number in range(len(RAW)))


@pytest.mark.parametrize("story", [ACCEPTED, RELEASE])
def test_nothing_is_caught_where_the_books_are_looked_at(story: str) -> None:
    faults = (*STRAY, *WRITTEN_RAW, Fault(TAKEN_BACK), Fault("spent", 12))
    assert plays(story, *faults, repair="REFUND") == str([()] * len(faults))


def test_where_nobody_reads_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit.Audit, "_about_entries", lambda *_: iter(()))
    assert [plays(ACCEPTED, fault).count("quietly wrong at the end: q1") > 0 for fault in STRAY] == [True] * len(STRAY)


def test_where_entries_that_cancel_out_are_taken_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    of_nothing = look.of_nothing
    monkeypatch.setattr(look, "of_nothing", lambda case: of_nothing(case) if check_log(case) else None)
    assert "quietly wrong at the end: q1#ESCROW_RELEASE" in plays(ACCEPTED, STRAY[1])


def test_where_anybody_may_grant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "check_entry", lambda _: None)
    assert "quietly wrong at the end: q1#GRANT" in plays(ACCEPTED, STRAY[4])


def test_where_balances_are_held_against_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit.Audit, "_about_books", lambda *_: iter(()))
    caught_ = [plays(ACCEPTED, fault).count("quietly wrong at the end") > 0 for fault in WRITTEN_RAW]
    assert caught_ == [True] * len(RAW)


def test_where_an_entry_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where entries were read by an index that is behind."""
    total = ledger.balance_by
    monkeypatch.setattr(
        ledger, "balance_by", lambda user, entries: total(user, [e for e in entries if e["type"] != "ESCROW_HOLD"])
    )
    assert "false alarm at the end: ann of the books" in plays(ACCEPTED, WRITTEN_RAW[0])


def test_where_an_answer_that_is_taken_back_leaves_its_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "forget", lambda *_: None)
    assert "an answer that was shown to the stream just now is told as missed" in plays(ACCEPTED, Fault(TAKEN_BACK))


def test_where_the_same_answer_again_moves_its_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(request: Item) -> datetime | None:
        return requests.moment(request, "updatedAt") if missed.shown_since(request) else None

    monkeypatch.setattr(look, "shown_since", moved)
    assert "an answer that is written again and again is never told as missed" in plays(ACCEPTED, Fault(TAKEN_BACK))


@pytest.mark.thorough
def test_where_one_malformed_row_ends_an_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hours, "is_amount", lambda given: given > 0)
    assert "TypeError" in plays(ACCEPTED, *ROWS_BESIDE)


def test_where_giving_hours_back_needs_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_this(decided: Plan) -> tuple[Plan, bool]:
        return decided, bool(decided.writes) and dynamodb._written(decided.writes)

    monkeypatch.setattr(dynamodb, "_carried_out", only_this)
    assert plays("CheckProviderResponse.REJECTED", *FULL_TO_THE_BYTE, *FILLED) != str([()] * 11)


def test_where_a_hiccup_and_a_quick_confirmation_fail_the_execution() -> None:
    def started_or_refused(event: dict[str, Any], context: Any) -> Any:
        run = Execution.of(event)
        if requests.status_of(requests.load(run.request_id) or {}) == "COMPLETED":
            raise ConnectionError("already completed")
        return start_service_execution.handler(event, context)

    with in_silence():
        faults, _ = single_faults(story_named(RELEASE))
        confirmed = [fault for fault in faults if fault.kind == "pause-requester-confirms"]
        said = str(
            [
                Simulation(
                    story_named(RELEASE), (fault,), handlers={"startServiceExecution": started_or_refused}
                ).play()
                for fault in confirmed
            ]
        )
    assert "a hiccup failed service-request-r1" in said


def test_where_a_reason_tells_the_requesters_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    def require(available: Decimal, needed: Decimal, refusal: Any) -> None:
        if available < needed:
            raise refusal(f"Not enough hours: {needed} needed, {available:f} available")

    monkeypatch.setattr(ledger, "require", require)
    assert "a reason that both read tells" in str(caught("ValidateRequest.InsufficientBalance"))
