"""What verify says of the events that it hears, and that it says so where it hears none."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from hourbank.account.checks import Outcome
from hourbank.local.patience import Patience
from hourbank.stories.stage import Performance
from hourbank.stories.stories import DECLINED, NOT_ENOUGH_HOURS, OFFER_ACCEPTED, Story
from hourbank.verify.events import Hearing
from tests.helpers.verifying import misses

BOTH = ("requester", "provider")
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:ServiceRequestWorkflow-dev"


class Bus:
    """EventBridge and SQS as far as a listener needs them: `tells` is brought at the first look after the trial's."""

    def __init__(self, tells: list[dict[str, Any]], *, refuses: str = "", is_silent: bool = False) -> None:
        self._tells, self._refuses, self._is_silent = [[], tells], refuses, is_silent
        self.there: set[str] = set()

    def client(self, _service: str) -> "Bus":
        return self

    def _make(self, what: str) -> None:
        if what == self._refuses:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not allowed"}}, "PutRule")
        self.there.add(what)

    def create_queue(self, **_: Any) -> dict[str, str]:
        self._make("queue")
        return {"QueueUrl": "https://sqs/q"}

    def put_rule(self, **asked: Any) -> None:
        assert json.loads(asked["EventPattern"])["detail"] == {"requestId": [{"prefix": "verify-1-"}]}
        self._make("rule")

    def put_targets(self, **_: Any) -> None:
        self._make("target")

    def delete_queue(self, **_: Any) -> None:
        self.there.remove("queue")

    def delete_rule(self, **_: Any) -> None:
        self.there.remove("rule")

    def remove_targets(self, **_: Any) -> None:
        self.there.remove("target")

    def put_events(self, Entries: list[dict[str, str]]) -> None:  # noqa: N803  as boto3
        (entry,) = Entries
        if not self._is_silent:
            self._tells[0] = [event(entry["DetailType"], "", "", "", source=entry["Source"])]

    def receive_message(self, **_: Any) -> dict[str, Any]:
        brought = self._tells.pop(0) if self._tells and not self._is_silent else []
        return {"Messages": [{"ReceiptHandle": "1", "Body": json.dumps(one)} for one in brought]}

    def delete_message(self, **_: Any) -> None:
        pass


def event(
    kind: str, role: str, who: str, status: str, *, of: str = "verify-1-a", source: str = "hourbank.workflows"
) -> Any:
    detail = {"requestId": of, "userId": who, "role": role, "status": status, "eventId": f"{of}#{status}#{role}"}
    return {"detail-type": kind, "source": source, "detail": detail}


def ended(story: Story, *states: str, of: str = "verify-1-a", problem: str = "") -> Performance:
    paths = [("ServiceRequestWorkflow-dev", list(states))]
    return Performance(story, 0, request_id=of, ended=True, paths=paths, problem=problem)


DECLINED_WAY = ended(DECLINED, "ValidateRequest", "WaitForProviderResponse", "CheckProviderResponse", "RefundEscrow")
ASKED = event("ProviderAsked", "provider", "chloé", "AWAITING_PROVIDER")
END = event("RequestEnded", "requester", "ben", "DECLINED")
FOR_BOTH = event("RequestEnded", "provider", "chloé", "DECLINED")


def heard(bus: Bus, *performances: Performance) -> list[Any]:
    hearing = Hearing(bus.client, "dev", MACHINE, "verify-1-", Patience(0))
    hearing.begin()
    found = list(hearing.judged(performances))
    assert hearing.end() == [] and bus.there == set()
    return found


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ([ASKED, END, FOR_BOTH], ""),
        ([FOR_BOTH, END, ASKED, ASKED], ""),
        ([ASKED, END], "RequestEnded to chloé as the provider (DECLINED) was not told"),
        ([ASKED, FOR_BOTH], "RequestEnded to ben as the requester (DECLINED) was not told"),
        (
            [event("ProviderAsked", "requester", "ben", "AWAITING_PROVIDER"), END, FOR_BOTH],
            (
                "ProviderAsked to chloé as the provider (AWAITING_PROVIDER) was not told; "
                "ProviderAsked to ben as the requester (AWAITING_PROVIDER) was told, and must not be"
            ),
        ),
        (
            [ASKED, FOR_BOTH, {**END, "detail": END["detail"] | {"eventId": ASKED["detail"]["eventId"]}}],
            "what is told once has not one eventId of its own",
        ),
        (
            [ASKED, FOR_BOTH, END, {**END, "detail": END["detail"] | {"eventId": "another"}}],
            "what is told once has not one eventId of its own",
        ),
    ],
)
def test_what_is_told_must_be_what_the_story_says(told: list[Any], problem: str) -> None:
    (found,) = heard(Bus(told), DECLINED_WAY)
    assert (found.what, found.problem) == (DECLINED.title, problem)


def test_who_is_told_follows_from_the_states_that_a_story_passed() -> None:
    way = ("WaitForProviderResponse", "ProcessNegotiation", "AdjustEscrow", "StartServiceExecution")
    told = [
        event("ProviderAsked", "provider", "gus", "AWAITING_PROVIDER"),
        event("RequesterAsked", "requester", "chloé", "NEGOTIATING"),
        event("ServiceStarted", "requester", "chloé", "IN_PROGRESS"),
        event("ServiceStarted", "provider", "gus", "IN_PROGRESS"),
        event("RequestEnded", "requester", "chloé", "COMPLETED"),
        event("RequestEnded", "provider", "gus", "COMPLETED"),
    ]
    assert misses(heard(Bus(told), ended(OFFER_ACCEPTED, *way))) == []


def test_a_provider_who_was_never_asked_hears_nothing() -> None:
    way = ended(NOT_ENOUGH_HOURS, "ValidateRequest", "RejectRequest")
    people = NOT_ENOUGH_HOURS.requester, NOT_ENOUGH_HOURS.provider
    told = [event("RequestEnded", role, who, "REJECTED") for role, who in zip(BOTH, people, strict=True)]
    (found,) = heard(Bus(told), way)
    assert found.problem == f"RequestEnded to {people[1]} as the provider (REJECTED) was told, and must not be"
    assert misses(heard(Bus(told[:1]), way)) == []


def test_a_story_with_a_problem_of_its_own_has_none_here() -> None:
    other = ended(OFFER_ACCEPTED, of="verify-1-b", problem="expected COMPLETED, saw FAILED")
    (found,) = heard(Bus([ASKED, END, FOR_BOTH]), DECLINED_WAY, other)
    assert (found.what, found.problem) == (DECLINED.title, "")


@pytest.mark.parametrize("refused", ["queue", "rule", "target"])
def test_who_may_not_listen_is_told_so_and_nothing_is_left(refused: str) -> None:
    (found,) = heard(Bus([ASKED, END], refuses=refused), DECLINED_WAY)
    assert found.outcome is Outcome.UNSEEN and found.remedy == "the rights are in docs/review/policies/verify.json"
    assert found.problem.startswith("not heard: ") and "not allowed" in found.problem


def test_a_rule_that_brings_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = heard(Bus([], is_silent=True), DECLINED_WAY)
    assert found.outcome is Outcome.UNSEEN
    assert found.problem == "not heard: a rule on hourbank-event-bus-dev brought nothing for 0 s"
