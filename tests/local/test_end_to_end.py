"""The whole thing on the emulator: the deployed template, the table's stream, a Lambda process for every state.

One deployment serves all tests here. One story waits for its time-out; whatever else needs one has it skipped.
"""

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from components import archive
from hourbank.local import people
from hourbank.local.emulator import Emulator
from hourbank.stories import stage, stories
from tests.helpers.world import FOR_FIVE, World
from workflows import service_request

pytestmark = pytest.mark.xdist_group("end-to-end")


@pytest.fixture(scope="module")
def world():
    with Emulator() as emulator:
        world = World(emulator)
        yield world
        world.assert_laws()


@pytest.fixture(scope="module")
def played(world):
    """The stories, played; and the id of a request that was deleted while its provider was asked."""
    deleted = world.submit()
    token = world.until(deleted, "AWAITING_PROVIDER")["taskToken"]
    world.dynamodb.delete_item(TableName=world.tables["serviceRequest"], Key={"id": {"S": deleted}})
    world.run_out(token)
    return stage.Stage(world.deployment).play(), deleted


def test_a_request_is_held_accepted_and_paid(world):
    """The one story that `make test` plays here."""
    before = world.ledger()
    request_id = world.submit()
    world.until(request_id, "AWAITING_PROVIDER")
    assert world.ledger().escrows[request_id]["status"] == "HELD"
    world.provider(request_id, "ACCEPTED")
    world.until(request_id, "IN_PROGRESS")
    world.requester(request_id, "COMPLETED")
    world.until(request_id, "COMPLETED")
    world.until_closed(request_id)
    after = world.ledger()
    assert after.escrows[request_id]["status"] == "RELEASED"
    assert (after.spendable()["rosa"], after.spendable()["theo"]) == (
        before.spendable()["rosa"] - 2,
        before.spendable()["theo"] + 2,
    )
    world.assert_laws()


@pytest.mark.thorough
def test_every_story_of_the_demo_ends_as_it_must(world, played):
    performances, _ = played
    assert {p.story.title: p.problem for p in performances if p.problem} == {}
    balances = world.ledger().spendable()
    expected = stories.expected_balances(stories.DEMO)
    assert {name: balances[name] for name in expected} == expected
    world.assert_laws()


@pytest.mark.thorough
def test_a_story_that_ends_otherwise_says_what_was_expected_and_what_was_seen(world):
    turns = (stories.Turn("AWAITING_PROVIDER", "provider", "REJECTED"),)
    story = stories.Story("Wrong", "rosa", "theo", "a service", Decimal(1), turns, "COMPLETED", (), "wrong", {})
    (performance,) = stage.Stage(world.deployment, [story]).play()
    assert performance.problem == "expected COMPLETED, saw DECLINED at the end: The provider declined"


@pytest.mark.thorough
def test_requests_from_before_the_workflows_stay_untouched(world, played):
    requests = world.ledger().requests
    assert len(world.before.requests) == stage.OLD_RECORDS
    assert {id_: requests[id_] for id_ in world.before.requests} == world.before.requests


@pytest.mark.thorough
def test_a_request_that_is_deleted_while_it_waits_gets_its_hours_back(world, played):
    _, deleted = played
    (execution,) = world.until_closed(deleted)
    assert execution["status"] == "SUCCEEDED"
    assert world.ledger().escrows[deleted]["status"] == "REFUNDED"
    assert world.record(deleted) == {}


@pytest.mark.thorough
def test_an_answer_after_the_time_out_changes_nothing(world, played):
    performances, _ = played
    late = next(p.request_id for p in performances if p.story.status == "TIMED_OUT")
    before = world.ledger()
    world.provider(late, "ACCEPTED")
    # a later request has gone through the same stream, so the late answer has, too
    world.until(world.submit(providerId="rosa"), "REJECTED")
    after = world.ledger()
    assert after.requests[late]["status"] == "TIMED_OUT"
    assert (after.spendable(), after.escrows) == (before.spendable(), before.escrows)
    assert len(world.deployment.executions(late)) == 1


@pytest.mark.thorough
def test_an_answer_with_a_token_that_nobody_knows_is_dropped(world):
    image = {
        "id": {"S": "gone"},
        "status": {"S": "AWAITING_PROVIDER"},
        "taskToken": {"S": "used"},
        "providerResponse": {"S": "ACCEPTED"},
    }
    event = {
        "Records": [
            {
                "eventID": "1",
                "eventName": "MODIFY",
                "eventSource": "aws:dynamodb",
                "dynamodb": {"NewImage": image, "SequenceNumber": "1"},
            }
        ]
    }
    router = json.loads(world.deployment.outputs["functionNames"])["routeServiceRequest"]
    answer = world.emulator.client("lambda").invoke(FunctionName=router, Payload=json.dumps(event))
    assert json.load(answer["Payload"]) == {"batchItemFailures": []}


@pytest.mark.thorough
def test_an_answer_before_the_token_counts(world):
    # Given an answer that is stored at once, before any state could ask for it
    request_id = world.submit()
    world.provider(request_id, "ACCEPTED")
    # Then it is delivered when the token comes
    world.until(request_id, "IN_PROGRESS")
    (execution,) = world.until_closed(request_id)
    assert "TimeoutRequest" not in world.deployment.path(execution["executionArn"])
    assert json.loads(execution["output"])["outcome"] == "IN_PROGRESS"


@pytest.mark.thorough
def test_two_different_answers_at_once_have_one_effect(world):
    requests = [world.submit() for _ in range(3)]
    for request_id in requests:
        world.until(request_id, "AWAITING_PROVIDER")
    # When provider and requester, or the provider in two browsers, answer in the same moment
    answers = [
        (lambda: world.provider(requests[0], "ACCEPTED"), lambda: world.requester(requests[0], "CANCELLED")),
        (lambda: world.requester(requests[1], "CANCELLED"), lambda: world.provider(requests[1], "ACCEPTED")),
        (lambda: world.provider(requests[2], "REJECTED"), lambda: world.provider(requests[2], "ACCEPTED")),
    ]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda say: say(), [say for pair in answers for say in pair]))
    # Then one of them decides, and the escrow agrees with it
    for request_id, refused in zip(requests, ("CANCELLED", "CANCELLED", "DECLINED"), strict=True):
        status = world.until(request_id, "IN_PROGRESS", refused)["status"]
        assert [execution["status"] for execution in world.until_closed(request_id)] == ["SUCCEEDED"]
        escrow = world.ledger().escrows[request_id]
        assert escrow["status"] == ("HELD" if status == "IN_PROGRESS" else "REFUNDED")
    world.assert_laws()


@pytest.mark.thorough
def test_a_provider_who_is_seen_together_with_a_cancelling_requester_wins(world):
    request_id = world.submit()
    # two writes may be seen one after the other
    world.dynamodb.update_item(
        TableName=world.tables["serviceRequest"],
        Key={"id": {"S": request_id}},
        UpdateExpression="SET requesterResponse = :cancelled, providerResponse = :accepted",
        ExpressionAttributeValues=people.item({":cancelled": "CANCELLED", ":accepted": "ACCEPTED"}),
    )
    world.until(request_id, "IN_PROGRESS")


@pytest.mark.thorough
def test_an_execution_started_by_hand_touches_nothing(world):
    # Given a request that waits
    request_id = world.submit()
    before = world.until(request_id, "AWAITING_PROVIDER")
    # When somebody starts a second execution for it, with a name of their own or with the request's next
    for name in ("by-hand", f"service-request-{request_id}-2"):
        world.states.start_execution(
            stateMachineArn=world.deployment.outputs["serviceRequestWorkflowArn"],
            name=name,
            input=json.dumps({"requestId": request_id}),
        )
    own, *others = world.deployment.executions(request_id)
    # Then those end at once, and the request goes on as if they had never been
    assert [world.outcome(execution["executionArn"]) for execution in others] == ["NOT_OWNER", "NOT_OWNER"]
    assert world.record(request_id) == before
    assert own["status"] == "RUNNING"
    world.provider(request_id, "REJECTED")
    world.until(request_id, "DECLINED")
    world.assert_laws()


@pytest.mark.thorough
def test_twelve_requests_at_once_hold_what_five_of_them_need(world):
    # Given somebody with hours for five
    def submit(_: int) -> str:
        return world.submit(requesterId="vera", estimatedHours=FOR_FIVE / 5)

    # When they ask for twelve in the same moment
    with ThreadPoolExecutor(12) as pool:
        asked = list(pool.map(submit, range(12)))
    # Then five hold their hours and wait, and seven are refused in words
    records = [world.until(request_id, "AWAITING_PROVIDER", "REJECTED") for request_id in asked]
    held = [record["id"] for record in records if record["status"] == "AWAITING_PROVIDER"]
    assert len(held) == 5
    assert all("Not enough hours" in r["failureReason"] for r in records if r["status"] == "REJECTED")
    ledger = world.ledger()
    assert ledger.spendable()["vera"] == 0
    assert {request_id: ledger.escrows[request_id]["status"] for request_id in held} == dict.fromkeys(held, "HELD")
    assert set(asked) & set(ledger.escrows) == set(held)
    world.assert_laws()
    # and all come back
    for request_id in held:
        world.provider(request_id, "REJECTED")
    for request_id in held:
        world.until(request_id, "DECLINED")
    assert world.ledger().spendable()["vera"] == FOR_FIVE
    world.assert_laws()


class NewRelease:
    """A release in which every handler and the definition differ: it notes what it does, and answers otherwise."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.notes = folder / "notes.txt"
        self.notes.touch()
        shutil.copytree(archive.HANDLERS, folder / "handlers")
        for path in (folder / "handlers").glob("*.py"):
            if "def handler(" in path.read_text():
                path.write_text(path.read_text() + NEW_CODE.format(notes=str(self.notes)))
        patch.setattr(archive, "HANDLERS", folder / "handlers")
        patch.setattr(service_request, "definition", partial(self._definition, service_request.definition))

    @staticmethod
    def _definition(old: Callable[..., dict], **arguments) -> dict:
        asl = old(**arguments)
        new = {"Type": "Pass", "Result": "NEW DEFINITION", "ResultPath": "$.definition", "End": True}
        del asl["States"]["StartServiceExecution"]["End"]
        asl["States"]["StartServiceExecution"]["Next"] = "NewState"
        return asl | {"States": asl["States"] | {"NewState": new}}

    def ran(self, execution: dict) -> list[str]:
        """The states of an execution that ran the new code."""
        notes = [line.split() for line in self.notes.read_text().splitlines()]
        return [state for name, state in notes if name == execution["executionArn"].rpartition(":")[2]]


NEW_CODE = """

old = handler


def handler(event, context):
    answer = old(event, context)
    if "execution" in event:
        with open({notes!r}, "a") as notes:
            notes.write(event["execution"]["Name"] + " " + event["state"]["Name"] + "\\n")
    return answer + " BY NEW CODE" if isinstance(answer, str) else answer
"""


@pytest.mark.thorough
def test_a_deploy_leaves_an_execution_that_waits_with_what_it_began_with(world, monkeypatch, tmp_path):
    # Given requests that wait for their provider
    started, declined, silent = waiting = [world.submit() for _ in range(3)]
    for request_id in waiting:
        world.until(request_id, "AWAITING_PROVIDER")
    # When every handler and the definition change
    try:
        with monkeypatch.context() as patch:
            release = NewRelease(tmp_path, patch)
            world.deploy()
        # Then they finish with the code and the definition that they began with
        world.provider(started, "COUNTER_OFFER", counter_offer=Decimal(3))
        world.provider(declined, "REJECTED")
        after = world.submit()
        world.until(started, "NEGOTIATING")
        world.requester(started, "ACCEPTED")
        assert world.until(started, "IN_PROGRESS")["offeredHours"] == 3
        world.until(declined, "DECLINED")
        world.run_out(world.record(silent)["taskToken"])
        world.until(silent, "TIMED_OUT")
        # and one that begins now, with the new ones
        world.until(after, "AWAITING_PROVIDER")
        world.provider(after, "ACCEPTED")
        (execution,) = world.until_closed(after)
        output = json.loads(execution["output"])
        assert (output["outcome"], output["definition"]) == ("IN_PROGRESS BY NEW CODE", "NEW DEFINITION")
        new = ["ValidateRequest", "EscrowHours", "WaitForProviderResponse", "StartServiceExecution"]
        assert release.ran(execution) == new
        across = world.submit()
        world.until(across, "AWAITING_PROVIDER")
    finally:
        world.deploy()
    # and, when the old release is back, one that the new one began finishes with the new
    world.provider(across, "REJECTED")
    (execution,) = world.until_closed(across)
    assert json.loads(execution["output"])["outcome"] == "DECLINED BY NEW CODE"
    assert "RefundEscrow" in release.ran(execution)
    for request_id, outcome in zip(waiting, ("IN_PROGRESS", "DECLINED", "TIMED_OUT"), strict=True):
        (execution,) = world.until_closed(request_id)
        assert (execution["status"], json.loads(execution["output"])["outcome"]) == ("SUCCEEDED", outcome)
        assert release.ran(execution) == []
        assert "NewState" not in world.deployment.path(execution["executionArn"])
    world.assert_laws()


REFUSED = {
    "no hours": {"estimatedHours": None},
    "0 hours": {"estimatedHours": Decimal(0)},
    "negative hours": {"estimatedHours": Decimal(-1)},
    "hours with 3 decimal places": {"estimatedHours": Decimal("1.234")},
    "hours that are words": {"estimatedHours": "two"},
    "absurdly many hours": {"estimatedHours": Decimal("1E+30")},
    "more hours than there are": {"estimatedHours": Decimal(5000)},
    "one person": {"providerId": "rosa"},
    "a requester nobody knows": {"requesterId": "nobody"},
    "a requester of a wrong type": {"requesterId": Decimal(1)},
    "no service": {"serviceId": None},
    "a time-out that is too long": {"providerResponseTimeoutSeconds": Decimal(10**9)},
    "an id of 200 characters": {"id": "i" * 200, "providerId": "rosa"},
    "an id that no execution may be named after": {"id": "a b/c:d*é日本", "providerId": "rosa"},
    "an id of one character": {"id": "x", "providerId": "rosa"},
}
IGNORED = {
    "no createdAt": {"createdAt": None},
    "createdAt of a wrong type": {"createdAt": Decimal(20260101)},
    "createdAt that is no time": {"createdAt": "yesterday"},
    "createdAt without a time zone": {"createdAt": "2026-06-01T00:00:00"},
    "a status of a wrong type": {"status": Decimal(1)},
    "a status that a client made up": {"status": "COMPLETED"},
    "a token of a wrong type": {"status": "AWAITING_PROVIDER", "taskToken": Decimal(1), "providerResponse": "ACCEPTED"},
    "a token that a client made up": {"status": "AWAITING_PROVIDER", "taskToken": "x", "providerResponse": "ACCEPTED"},
    "a service that was never in progress": {"status": "IN_PROGRESS", "requesterResponse": "COMPLETED"},
}


@pytest.mark.thorough
def test_bad_input_is_refused_in_words_or_ignored_and_sticks_nothing(world):
    before = world.ledger()
    refused, ignored = {}, {}
    for name, changes in REFUSED.items():
        refused[world.submit(**changes)] = name
        time.sleep(0.2)  # executions one after the other share Lambda processes, all at once each start their own
    for name, changes in IGNORED.items():
        ignored[world.submit(**changes)] = name
    # a good one after them still goes through, with a status that is missing and not NULL
    good = people.request_record(requester="rosa", provider="theo", hours=Decimal(1))
    del good["status"]
    people.submit(world.dynamodb, world.tables, good)
    world.until(good["id"], "AWAITING_PROVIDER")
    world.provider(good["id"], "REJECTED")
    world.until(good["id"], "DECLINED")

    for request_id, name in refused.items():
        record = world.until(request_id, "REJECTED")
        assert record["failureReason"], name
        assert [e["status"] for e in world.until_closed(request_id)] == ["SUCCEEDED"], name
    after = world.ledger()
    for request_id, name in ignored.items():
        assert after.requests[request_id].get("status") == IGNORED[name].get("status"), name
    assert after.spendable() == before.spendable()
    assert set(after.escrows) - set(before.escrows) == {good["id"]}


@pytest.mark.thorough
@pytest.mark.parametrize("end", ["accepted", "cancelled"])
def test_a_word_that_no_answer_has_gives_the_hours_back(world, end):
    request_id = world.submit()
    world.until(request_id, "AWAITING_PROVIDER")
    world.provider(request_id, end)
    record = world.until(request_id, "DECLINED")
    assert "not understood" in record["failureReason"]
    assert world.ledger().escrows[request_id]["status"] == "REFUNDED"
