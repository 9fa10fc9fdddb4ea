"""Mails: to whom, in which language, once; and what is never in one.

Write one here when an event gets a text, or a mail something that it says.
"""

import hashlib
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from handlers import send_notification
from handlers.bank.events import TOLD
from handlers.bank.requests import TRANSITIONS
from handlers.texts import LANGUAGES, mail
from hourbank.simulate.tables import Tables, answering

CONTEXT = SimpleNamespace(
    function_name="hourbank-sendNotification-dev",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:hourbank-sendNotification-dev",
    aws_request_id="1",
    get_remaining_time_in_millis=lambda: 60_000,
)
ANA, BEN = "11111111-aaaa-4aaa-8aaa-111111111111", "22222222-bbbb-4bbb-8bbb-222222222222"


class Post:
    """The user pool, and what SES took."""

    def __init__(self) -> None:
        self.people: dict[str, dict[str, str]] = {
            ANA: {"email": "ana@example.com", "email_verified": "true", "locale": "de-AT"},
            BEN: {"email": "ben@example.com", "email_verified": "true"},
        }
        self.filters: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.refuses = False
        self.enabled = True

    def list_users(self, *, UserPoolId: str, Filter: str, Limit: int) -> Any:  # noqa: N803
        assert (UserPoolId, Limit) == ("us-east-1_pool", 1)
        if (
            len(Filter) > 256
        ):  # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListUsers.html
            raise ClientError({"Error": {"Code": "InvalidParameterException"}}, "ListUsers")
        self.filters.append(Filter)
        person = self.people.get(Filter.removeprefix('sub = "').removesuffix('"'))
        attributes = [{"Name": name, "Value": value} for name, value in (person or {}).items()]
        return {"Users": [{"Enabled": self.enabled, "Attributes": attributes}] if person else []}

    def send_email(self, **mail: Any) -> None:
        if self.refuses:
            told = {"Error": {"Code": "MessageRejected", "Message": f"{mail['Destination']} is refused"}}
            raise ClientError(told, "SendEmail")
        self.sent.append(mail)

    @property
    def subjects(self) -> list[tuple[str, str]]:
        return [
            (one["Destination"]["ToAddresses"][0], one["Content"]["Simple"]["Subject"]["Data"]) for one in self.sent
        ]


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    post = Post()
    monkeypatch.setenv("NOTIFY_FROM", "hours@example.com")
    monkeypatch.setenv("USER_POOL_ID", "us-east-1_pool")
    monkeypatch.setenv("MAILED_TABLE_NAME", "mailed")
    send_notification.mailed.cache_clear()
    with answering(Tables({"mailed": "id"})):
        dynamodb = boto3.client("dynamodb")
        monkeypatch.setattr(send_notification, "client", lambda name: dynamodb if name == "dynamodb" else post)
        yield post
    send_notification.mailed.cache_clear()


def told(event: str, status: str, role: str | None, user_id: str = ANA, **more: Any) -> dict[str, Any]:
    detail = {"requestId": "r1", "userId": user_id, "role": role, "status": status, "eventId": f"r1#{status}#{role}"}
    if role is None:
        del detail["role"]
    return {"source": "hourbank.workflows", "detail-type": event, "detail": detail | more}


def deliver(*events: dict[str, Any]) -> list[str]:
    """The ids of the messages that must come again."""
    records = [
        {"messageId": str(n), "body": json.dumps(event), "eventSource": "aws:sqs"} for n, event in enumerate(events)
    ]
    answer = send_notification.handler({"Records": records}, CONTEXT)
    return [one["itemIdentifier"] for one in answer["batchItemFailures"]]


def test_both_are_mailed_in_their_language_and_each_event_once(post: Post) -> None:
    ends = [told("RequestEnded", "COMPLETED", "requester"), told("RequestEnded", "COMPLETED", "provider", BEN)]
    assert deliver(*ends, ends[0]) == []
    assert deliver(ends[1]) == []
    assert post.subjects == [("ana@example.com", "Abgeschlossen"), ("ben@example.com", "You were paid")]
    assert {one["FromEmailAddress"] for one in post.sent} == {"hours@example.com"}


def test_what_was_mailed_is_known_by_a_hash_that_no_two_ids_share(post: Post) -> None:
    deliver(told("RequestEnded", "COMPLETED", "requester"))
    (row,) = boto3.client("dynamodb").scan(TableName="mailed")["Items"]
    digest = hashlib.sha256(json.dumps("r1#COMPLETED#requester").encode()).hexdigest()
    assert row["id"]["S"].rpartition("#")[2] == digest, "of MD5, clients can make two"


def test_what_ses_refuses_comes_again_alone_and_is_mailed_then(post: Post, capsys: pytest.CaptureFixture[str]) -> None:
    asked, started = told("ProviderAsked", "AWAITING_PROVIDER", "provider", BEN), told("X", "IN_PROGRESS", "requester")
    post.refuses = True
    assert deliver(asked, started) == ["0"]
    assert "example.com" not in capsys.readouterr().out, "an error of AWS can quote an address"
    post.refuses = False
    assert deliver(asked) == []
    assert post.subjects == [("ben@example.com", "Somebody asks for your service")]


@pytest.mark.parametrize(
    "person",
    [{}, {"email": "x@example.com"}, {"email": "x@example.com", "email_verified": "false"}, {"email_verified": "true"}],
)
def test_nobody_is_mailed_without_a_verified_address(post: Post, person: dict[str, str]) -> None:
    post.people[ANA] = person
    assert deliver(told("ServiceStarted", "IN_PROGRESS", "requester")) == []
    assert post.sent == []


def test_who_may_not_sign_in_is_not_mailed(post: Post) -> None:
    post.enabled = False
    assert deliver(told("ServiceStarted", "IN_PROGRESS", "requester")) == []
    assert post.sent == []


@pytest.mark.parametrize("user_id", ['" or email ^= "', "\\", 'x"', "x" * 1024, "a\n", " ", ""])
def test_what_a_client_typed_for_an_id_is_no_part_of_the_filter(post: Post, user_id: str) -> None:
    assert deliver(told("ProviderAsked", "AWAITING_PROVIDER", "provider", user_id)) == []
    assert (post.filters, post.sent) == ([], [])


def test_on_a_laptop_an_id_is_a_name(post: Post) -> None:
    post.people["Chloé von Hohenfels"] = post.people[ANA]
    assert deliver(told("ProviderAsked", "AWAITING_PROVIDER", "provider", "Chloé von Hohenfels")) == []
    assert len(post.sent) == 1


def test_an_event_without_a_role_is_of_an_execution_from_before(post: Post) -> None:
    deliver(told("ProviderAsked", "AWAITING_PROVIDER", None, BEN), told("RequestEnded", "DECLINED", None, ANA))
    assert [address for address, _ in post.subjects] == ["ben@example.com", "ana@example.com"]


def test_a_message_that_is_no_event_comes_again_until_it_is_given_up(post: Post) -> None:
    assert deliver({"detail": {}}) == ["0"]


EVENTS = [(event, status, role) for event, (status, roles) in TOLD.items() for role in roles] + [
    ("RequestEnded", status, role)
    for status, after in TRANSITIONS.items()
    for role in ("requester", "provider")
    # a request is rejected before anybody is asked
    if not after and (status, role) != ("REJECTED", "provider")
]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_event_has_a_text_in_every_language_that_tells_nothing_of_anybody(language: str) -> None:
    mails = [mail(*event_role_status(event), language) for event in EVENTS]
    assert all(one and one.subject and one.text for one in mails)
    assert len({one.subject for one in mails if one}) == len(mails), "a subject says what has happened"
    texts = LANGUAGES[language]
    assert texts.keys() == LANGUAGES["en"].keys()
    used = {f"{event} {role}" for event, _, role in EVENTS} | {" ".join(event) for event in EVENTS}
    assert texts.keys() - used <= {"ProviderReminded provider"}, "which the tutorial tells"
    assert not [text for pair in texts.values() for text in pair if any(sign in text for sign in "0123456789{}%@")]


def event_role_status(event: tuple[str, str, str]) -> tuple[str, str, str]:
    name, status, role = event
    return name, role, status


def test_another_language_gets_english() -> None:
    assert mail("ProviderAsked", "provider", "AWAITING_PROVIDER", "fr-FR") == mail(
        "ProviderAsked", "provider", "AWAITING_PROVIDER", ""
    )
