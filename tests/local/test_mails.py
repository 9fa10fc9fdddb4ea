"""Mails on this machine: by the rule, the queue, the function, the pool and SES of the emulator.

Write one here when what is mailed on the way of a request changes.
"""

from decimal import Decimal

import pytest

from hourbank.local import deploy, mails, people
from hourbank.local.emulator import Emulator
from hourbank.local.tables import scan
from tests.helpers.waiting import until

STARTED_FROM = {"hourbank:startRequestsFrom": "2026-01-01T00:00:00Z"}


@pytest.mark.thorough
def test_both_people_are_mailed_what_happens() -> None:
    with Emulator() as emulator:
        hours = {"ana": Decimal(10), "ben": Decimal(0), "chloé": Decimal(0)}
        dynamodb, tables = emulator.client("dynamodb"), deploy.create_tables(emulator)
        deployment = deploy.deploy(emulator, config=STARTED_FROM | mails.prepare(emulator, hours))
        deploy.grant_hours(deployment, {"ana": hours["ana"]})
        record = people.request_record(requester="ana", provider="chloé", hours=Decimal(2))
        request_id = people.submit(dynamodb, tables, record)

        def is_now(status: str) -> bool:
            return [one.get("status") for one in scan(dynamodb, tables["serviceRequest"])] == [status]

        until(lambda: is_now("AWAITING_PROVIDER"), what="asked")
        people.provider_says(dynamodb, tables, request_id, "ACCEPTED")
        until(lambda: is_now("IN_PROGRESS"), what="begun")
        people.requester_says(dynamodb, tables, request_id, "COMPLETED")
        sent = until(
            lambda: found if len(found := list(mails.sent(emulator.endpoint))) >= 5 else [],
            moving=lambda: len(list(mails.sent(emulator.endpoint))),
            what="five mails",
        )
    # a queue keeps no order
    assert sorted((mail.to, mail.subject) for mail in sent) == [
        ("ana@example.com", "The service is completed"),
        ("ana@example.com", "Your request was accepted"),
        ("chloé@example.com", "Somebody asks for your service"),
        ("chloé@example.com", "The service can begin"),
        ("chloé@example.com", "You were paid"),
    ]
    assert all(request_id not in mail.text for mail in sent)
