"""`hourbank list`: the newest requests, of an unordered table that is read as far as it may be."""

import json
from collections.abc import Iterator
from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from hourbank.account.stack import Stack
from hourbank.operate.listing import show_list
from tests.helpers.bank import Bank, in_process

DEV = Stack(
    env="dev", region="eu-west-1", requests_arn="", releases_arn="", queue="", options=" --stack dev", is_local=False
)


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    with in_process(monkeypatch) as bank:
        for number, (requester, provider, status) in enumerate(
            [("ana", "ben", "COMPLETED"), ("ben", "cem", "IN_PROGRESS"), ("cem", "dua", None), ("ana", "dua", "FAILED")]
        ):
            bank.request(
                f"r{number}",
                requesterId=requester,
                providerId=provider,
                status=status,
                estimatedHours=Decimal("2.50"),
                createdAt=f"2026-11-0{number + 1}T12:00:00.000Z",
                taskToken="SECRET",
            )
        yield bank


def listed(*, person=None, status=None, limit=20, most=1000, as_json=False) -> str:
    out = Console(file=StringIO(), width=60)
    show_list(out, DEV, person=person, status=status, limit=limit, most=most, as_json=as_json)
    assert "SECRET" not in out.file.getvalue()
    return out.file.getvalue()


def test_requests_are_listed_newest_first_with_their_people(bank):
    assert listed() == (
        "created                  status                hours  request\n"
        "2026-11-04 12:00:00 UTC  FAILED                  2.5  r3  ana → dua\n"
        "2026-11-03 12:00:00 UTC  PENDING                 2.5  r2  cem → dua\n"
        "2026-11-02 12:00:00 UTC  IN_PROGRESS             2.5  r1  ben → cem\n"
        "2026-11-01 12:00:00 UTC  COMPLETED               2.5  r0  ana → ben\n"
    )


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({"person": "ana"}, ["r3", "r0"]),
        ({"person": "dua"}, ["r3", "r2"]),
        ({"status": "PENDING"}, ["r2"]),
        ({"person": "ana", "status": "COMPLETED"}, ["r0"]),
        ({"person": "nobody"}, []),
    ],
)
def test_only_those_of_a_person_or_a_status(bank, asked, ids):
    document = json.loads(listed(**asked, as_json=True))
    assert [row["requestId"] for row in document["rows"]] == ids
    assert (document["ok"], document["read"], document["more"]) == (True, 4, False)
    assert all(row["estimatedHours"] == "2.5" for row in document["rows"])
    assert ("none of 4 requests" in listed(**asked)) == (not ids)


def test_what_is_left_out_is_said(bank):
    assert listed(limit=3).endswith("and 1 older, --limit shows more\n")
    cut = listed(most=3)
    assert (cut.count("→"), cut.splitlines()[-1]) == (
        3,
        "the table has more than the 3 records read, --read takes more",
    )
    for asked in ({"limit": 3}, {"most": 3}):
        assert json.loads(listed(**asked, as_json=True))["more"] is True
    assert "--read" not in listed(most=4)


def test_rows_of_any_kind_are_listed_and_drawn_by_nobody(bank):
    bank.request("a\x1b[2J", createdAt=5, estimatedHours="two", requesterId=None, status=7)
    assert (
        "at an unknown time       UNKNOWN                 two  a\N{REPLACEMENT CHARACTER}[2J  None → ben\n" in listed()
    )
    assert json.loads(listed(as_json=True))["rows"][-1]["createdAt"] == "5"
