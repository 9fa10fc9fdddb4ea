"""First hours: grantHours and opening balances on a DynamoDB engine, and everything that a caller may send."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import grant_hours
from handlers.aws import dynamodb
from handlers.bank import ledger
from handlers.bank.errors import GrantRefused, ReleaseRefused
from tests.helpers.bank import CONTEXT, Bank, in_process


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    with in_process(monkeypatch) as bank:
        yield bank


def ask(**given: Any) -> dict[str, str]:
    """What the function answers, as Lambda would give it the event."""
    event = json.loads(json.dumps({"userId": "eva", "hours": 10, "reason": "welcome"} | given))
    return grant_hours.handler(event, CONTEXT)


GRANTED = {"outcome": "GRANTED", "message": "eva was granted 10 h: welcome"}


def test_a_grant_makes_the_balance_and_is_in_the_books(bank: Bank) -> None:
    assert ask() == GRANTED
    balance = bank.get("UserBalance", "eva")
    assert balance["availableBalance"] == 10
    assert balance["__typename"] == "UserBalance" and {"createdAt", "updatedAt"} <= balance.keys()
    [entry] = bank.all("TransactionLog")
    moments = {"createdAt": entry["createdAt"], "updatedAt": entry["updatedAt"]}
    assert entry == moments | {
        "__typename": "TransactionLog",
        "id": f"{ledger.grant_id('eva', 'welcome')}#GRANT",
        "requestId": ledger.grant_id("eva", "welcome"),
        "type": "GRANT",
        "hours": Decimal(10),
        "fromAccount": "bank",
        "toAccount": "user:eva",
        "reason": "welcome",
    }


def test_a_grant_adds_to_what_there_is(bank: Bank) -> None:
    ask(userId="ana", hours="0.25")
    assert bank.balance("ana") == Decimal("10.25")


def test_the_same_again_answers_the_same_and_grants_nothing(bank: Bank) -> None:
    assert [ask(), ask(hours="10.00"), ask(hours=10.0)] == [GRANTED] * 3
    assert bank.balance("eva") == 10 and len(bank.all("TransactionLog")) == 1


def test_other_hours_for_the_same_reason_are_refused_in_words(bank: Bank) -> None:
    ask()
    assert ask(hours=11) == {
        "outcome": "REFUSED",
        "message": "eva was granted 10 h for this reason before: nothing was granted now",
    }
    assert bank.balance("eva") == 10


def test_another_reason_or_another_person_is_another_grant(bank: Bank) -> None:
    for user_id, reason in (("eva", "a"), ("eva", "b"), ('eva","a', "b"), ("eva", 'a","b'), ("é" * 1024, "é" * 128)):
        assert ask(userId=user_id, reason=reason)["outcome"] == "GRANTED"
    assert bank.balance("eva") == 30 and len(bank.all("TransactionLog")) == 5


@pytest.mark.parametrize(
    "hours",
    [0, -1, 0.001, 1000000.01, "2,5", "１", "1e3", " 1", "1_0", "", True, None, [1], {"N": "1"}, float("inf"), "9" * 99]
)  # fmt: skip
def test_hours_that_are_not_legal_are_refused(bank: Bank, hours: Any) -> None:
    legal = "a number above 0, at most 1000000, with at most 2 decimal places"
    assert ask(hours=hours) == {"outcome": "REFUSED", "message": f"`hours` is not {legal}"}
    assert bank.get("UserBalance", "eva") == {} and bank.all("TransactionLog") == []


@pytest.mark.parametrize("user_id", [None, "", " ", 7, ["eva"], "x" * 2049, "\ud800"])
def test_a_user_that_can_have_no_balance_is_refused(bank: Bank, user_id: Any) -> None:
    assert ask(userId=user_id) == {"outcome": "REFUSED", "message": "`userId` is not one that a balance can have"}


@pytest.mark.parametrize("reason", [None, "", " \n", 7, "é" * 129, "\ud800"])
def test_a_reason_that_says_nothing_or_too_much_is_refused(bank: Bank, reason: Any) -> None:
    assert ask(reason=reason) == {"outcome": "REFUSED", "message": "`reason` is not a text of 1 to 256 bytes"}


@pytest.mark.parametrize("event", [None, [], "eva", 7, {}])
def test_what_is_no_grant_at_all_is_refused(bank: Bank, event: Any) -> None:
    assert grant_hours.handler(event, CONTEXT)["outcome"] == "REFUSED"


@pytest.mark.parametrize("balance", ["ten", Decimal("1e50"), True])
def test_a_malformed_balance_is_left_alone(bank: Bank, balance: Any) -> None:
    bank.give("eva", balance)
    answer = ask()
    assert answer["outcome"] == "REFUSED" and "The balance of eva is no number" in answer["message"]
    assert bank.balance("eva") == balance and bank.all("TransactionLog") == []


def test_an_explicit_null_is_no_balance_yet(bank: Bank) -> None:
    bank.give("eva", None)
    assert ask() == GRANTED
    assert bank.balance("eva") == 10


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    event=st.fixed_dictionaries(
        {},
        optional={
            name: st.one_of(st.text(max_size=5), st.integers(), st.floats(), st.none(), st.lists(st.none(), max_size=1))
            for name in ("userId", "hours", "reason", "more")
        },
    )
)
def test_nothing_that_a_caller_sends_is_an_error(event: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch, in_process(patch) as bank:
        answer = grant_hours.handler(event, CONTEXT)
        granted = [entry["hours"] for entry in bank.all("TransactionLog")]
        assert answer["outcome"] == ("GRANTED" if granted else "REFUSED")
        assert bank.total() == 10 + sum(granted)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_grant_whose_result_is_lost_is_asked_for_again(
    bank: Bank, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = dynamodb.client("dynamodb")
    write, lost = client.transact_write_items, []

    def lose_one(**given: Any) -> Any:
        if lost:
            return write(**given)
        if when == "after":
            write(**given)
        lost.append(given)
        raise ClientError({"Error": {"Code": "InternalServerError"}}, "TransactWriteItems")

    monkeypatch.setattr(client, "transact_write_items", lose_one)
    with pytest.raises(ClientError):
        ask()
    assert ask() == GRANTED
    assert bank.balance("eva") == 10 and len(bank.all("TransactionLog")) == 1


def test_no_request_can_take_a_grants_place(bank: Bank) -> None:
    """Its entries end in another word, whatever id a client chooses."""
    key = f"{ledger.grant_id('eva', 'welcome')}#GRANT"
    chosen = (key, key.removesuffix("#GRANT"), key.removesuffix("GRANT"))
    assert not {f"{one}#{entry}" for one in chosen for entry in ("ESCROW_HOLD", "ESCROW_ADJUST")} & {key}


# --- opening balances -------------------------------------------------------------------------------------------------


def opening(bank: Bank, user_id: str, difference: str, reason: str = "opening balance") -> None:
    ledger.explain(user_id, bank.get("UserBalance", user_id) or None, Decimal(difference), reason)


def test_an_opening_balance_is_entered_and_moves_nothing(bank: Bank) -> None:
    before = bank.get("UserBalance", "ana")
    opening(bank, "ana", "10")
    assert bank.get("UserBalance", "ana") == before
    [entry] = bank.all("TransactionLog")
    assert (entry["type"], entry["fromAccount"], entry["toAccount"], entry["hours"], entry["reason"]) == (
        *("GRANT", "bank", "user:ana", 10, "opening balance"),
    )
    opening(bank, "ana", "10")
    assert len(bank.all("TransactionLog")) == 1


def test_hours_that_were_taken_away_go_back_to_the_bank(bank: Bank) -> None:
    ask()
    bank.give("eva", Decimal("7.125"))
    opening(bank, "eva", "-2.875")
    entries = bank.all("TransactionLog")
    assert ledger.balance_by("eva", entries) == bank.balance("eva") == Decimal("7.125")


def test_an_opening_balance_is_refused_where_other_hours_were_entered(bank: Bank) -> None:
    opening(bank, "ana", "10")
    with pytest.raises(GrantRefused, match="ana was granted 10 h for this reason before"):
        opening(bank, "ana", "-10")


@pytest.mark.parametrize("change", [{"availableBalance": Decimal(9)}, {"updatedAt": "later"}])
def test_a_balance_that_was_written_meanwhile_is_not_explained(bank: Bank, change: dict[str, Any]) -> None:
    seen = bank.get("UserBalance", "ana")
    bank.put("UserBalance", **seen | change)
    with pytest.raises(GrantRefused, match="The balance of ana was written meanwhile"):
        ledger.explain("ana", seen, Decimal(10), "opening balance")
    assert bank.all("TransactionLog") == []


def test_a_balance_that_is_written_at_the_same_moment_is_not_explained(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction's condition sees it where the look before did not."""
    client = dynamodb.client("dynamodb")
    write = client.transact_write_items

    def after_another(**given: Any) -> Any:
        bank.put("UserBalance", userId="ana", availableBalance=Decimal(9))
        return write(**given)

    monkeypatch.setattr(client, "transact_write_items", after_another)
    with pytest.raises(GrantRefused, match="written meanwhile"):
        opening(bank, "ana", "10")
    assert bank.all("TransactionLog") == []


def test_somebody_without_a_balance_has_what_no_entry_says(bank: Bank) -> None:
    ask()
    bank.remove("UserBalance", "eva")
    opening(bank, "eva", "-10")
    assert ledger.balance_by("eva", bank.all("TransactionLog")) == 0


def test_an_entry_that_does_not_say_its_hours_says_no_balance() -> None:
    with pytest.raises(ReleaseRefused):
        ledger.balance_by("eva", [{"toAccount": "user:eva", "hours": "ten"}])
