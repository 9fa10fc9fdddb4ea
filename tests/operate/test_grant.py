"""`hourbank grant`: hours for a user by the stack's function, and opening balances, on the tables themselves."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import boto3
import pytest
from rich.console import Console

from handlers import grant_hours as function
from handlers.aws import dynamodb
from hourbank.account.stack import Stack
from hourbank.errors import HourBankError
from hourbank.laws import Ledger, entries_that_do_not_add_up, grants_out_of_place
from hourbank.operate import grant, orders
from tests.helpers.bank import CONTEXT, VARIABLES, Bank, in_process

DEV = Stack(
    env="dev", region="eu-west-1", requests_arn="", releases_arn="", queue="", options=" --stack dev", is_local=False
)


class Functions:
    """Lambda, as far as `grant` uses it: the function runs in this process."""

    def __init__(self) -> None:
        self.exceptions = boto3.client("lambda", region_name="eu-west-1").exceptions
        self.is_deployed, self.failure = True, ""

    def _find(self, name: str) -> None:
        assert name == "hourbank-grantHours-dev"
        if not self.is_deployed:
            raise self.exceptions.ResourceNotFoundException({"Error": {"Code": "ResourceNotFoundException"}}, "Invoke")

    def invoke(self, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803
        self._find(FunctionName)
        if self.failure:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(self.failure.encode())}
        answer = function.handler(json.loads(Payload), CONTEXT)
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    def get_function_configuration(self, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        self._find(FunctionName)
        return {"Environment": {"Variables": VARIABLES}}


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    with in_process(monkeypatch) as bank:
        yield bank


@pytest.fixture
def functions(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> Functions:
    functions = Functions()
    monkeypatch.setattr(grant, "client", lambda service: functions)
    monkeypatch.setattr(orders, "caller", lambda: "arn:me")
    monkeypatch.setattr(grant, "caller", lambda: "arn:me")
    return functions


class Operator:
    """Who gives orders, what was asked of them, and what they saw."""

    def __init__(self, *, yes: bool = True, as_json: bool = False) -> None:
        self.console = Console(file=io.StringIO(), width=200)
        self.asked: list[str] = []
        self.options: dict[str, Any] = {"by": None, "confirm": self._confirm, "as_json": as_json}
        self._yes = yes

    def _confirm(self, question: str) -> bool:
        self.asked.append(question)
        return self._yes

    @property
    def said(self) -> str:
        return self.console.file.getvalue()  # type: ignore[attr-defined]

    def grants(self, user: str = "eva", amount: str = "10", reason: str = "welcome") -> bool:
        return grant.grant_hours(self.console, DEV, user, Decimal(amount), reason=reason, **self.options)

    def opens(self) -> bool:
        return grant.open_books(self.console, DEV, **self.options)


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().err.splitlines()[-1])


@pytest.mark.usefixtures("functions")
def test_hours_are_granted_with_who_and_why(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    operator = Operator()
    assert operator.grants()
    assert operator.asked == ["Grant them so?"]
    assert operator.said.splitlines() == [
        "10 hours go from bank to user:eva, for: welcome",
        "eva was granted 10 h: welcome",
    ]
    line = told(capsys)
    assert (line["message"], line["by"], line["reason"]) == ("grant", "arn:me", "welcome")
    assert (line["userId"], line["hours"], line["outcome"]) == ("eva", "10", "GRANTED")
    assert bank.balance("eva") == 10
    assert operator.grants() and bank.balance("eva") == 10


@pytest.mark.usefixtures("functions")
def test_other_hours_for_the_same_reason_are_refused(bank: Bank) -> None:
    operator = Operator()
    operator.grants()
    assert not operator.grants(amount="12")
    assert operator.said.splitlines()[-1].startswith("refused: eva was granted 10 h for this reason before")
    assert bank.balance("eva") == 10


@pytest.mark.usefixtures("functions")
def test_without_a_yes_nothing_is_granted(bank: Bank) -> None:
    with pytest.raises(HourBankError, match="nothing was done"):
        Operator(yes=False).grants()
    with pytest.raises(HourBankError, match="nothing was done"):
        Operator(yes=False).opens()
    assert bank.all("TransactionLog") == []


@pytest.mark.usefixtures("functions")
def test_a_grant_as_json() -> None:
    operator = Operator(as_json=True)
    operator.grants()
    row = {"userId": "eva", "hours": "10", "reason": "welcome", "outcome": "GRANTED"}
    assert json.loads(operator.said) == {
        "stack": "dev", "region": "eu-west-1", "ok": True,
        "rows": [row | {"message": "eva was granted 10 h: welcome"}],
    }  # fmt: skip


def test_a_stack_of_an_older_version_is_told_of(functions: Functions) -> None:
    functions.is_deployed = False
    for order in (Operator().grants, Operator().opens):
        with pytest.raises(HourBankError, match="no function hourbank-grantHours-dev: deploy this version first"):
            order()


@pytest.mark.parametrize("failure", ['{"errorMessage": "Task timed out"}', "Task timed out"])
def test_a_function_that_fails_is_told_of(functions: Functions, failure: str) -> None:
    functions.failure = failure
    with pytest.raises(HourBankError, match="hourbank-grantHours-dev failed: Task timed out: give the same again"):
        Operator().grants()


# --- opening balances -------------------------------------------------------------------------------------------------


def ledger_of(bank: Bank) -> Ledger:
    def keyed(model: str, key: str) -> dict[str, Any]:
        return {row[key]: row for row in bank.all(model)}

    return Ledger(
        keyed("ServiceRequest", "id"), keyed("Escrow", "id"), keyed("UserBalance", "userId"),
        keyed("TransactionLog", "id"),
    )  # fmt: skip


@pytest.mark.usefixtures("functions")
def test_what_was_given_beside_the_log_is_entered_and_no_balance_changes(
    bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ana has 10 hours of no entry, eva was granted 10 of which 4 are gone, and ben has what the log says."""
    operator = Operator()
    operator.grants("eva")
    operator.grants("ben", "3")
    bank.give("eva", 6)
    balances = bank.all("UserBalance")

    looked = Operator()
    assert looked.opens()
    assert looked.asked == ["Enter them so? No balance changes."]
    assert looked.said.splitlines() == [
        "3 balances and 2 entries read",
        "user:ana has 10 h that no entry explains: bank → user:ana",
        "user:eva has 4 h less than its entries say: user:eva → bank",
        "2 balances to explain, 6 h in all",
        "2 opening balances entered",
    ]
    assert told(capsys)["entered"] == 2
    after = ledger_of(bank)
    assert bank.all("UserBalance") == balances
    assert after.unexplained() == {} and after.granted() == after.total() == 19
    assert entries_that_do_not_add_up(after) == [] and grants_out_of_place(after) == []

    again = Operator()
    assert again.opens() and again.asked == []
    assert again.said.splitlines()[-1] == "every balance is what its entries say"


@pytest.mark.usefixtures("functions")
def test_an_app_that_goes_on_writing_raw_opens_its_books_again(bank: Bank) -> None:
    for given in (10, 12, 11):
        bank.give("ana", given)
        assert Operator().opens()
    reasons = sorted(entry["reason"] for entry in bank.all("TransactionLog"))
    assert reasons == ["opening balance", "opening balance 2", "opening balance 3"]
    assert ledger_of(bank).unexplained() == {}


@pytest.mark.usefixtures("functions")
def test_what_moves_between_the_look_and_the_entry_is_left_for_the_next_time(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours that are granted while the entries are read are in these, and not yet in the balance that was read."""
    pages = dynamodb.pages

    def then_grant(model: str, size: int) -> Any:
        yield from pages(model, size)
        if model == "UserBalance":
            function.handler({"userId": "ana", "hours": 5, "reason": "welcome"}, CONTEXT)

    monkeypatch.setattr(dynamodb, "pages", then_grant)
    operator = Operator()
    assert not operator.opens()
    assert operator.said.splitlines()[-2:] == [
        "ana: The balance of ana was written meanwhile",
        "0 opening balances entered; give it again",
    ]
    monkeypatch.setattr(dynamodb, "pages", pages)
    assert Operator().opens()
    assert ledger_of(bank).unexplained() == {}


@pytest.mark.usefixtures("functions")
def test_what_makes_no_sense_is_left_out_and_said(bank: Bank) -> None:
    bank.give("odd", "ten")
    bank.give("long", Decimal("0.25"))
    bank.put("TransactionLog", id="x", hours=Decimal("1e37"), fromAccount="escrow:r", toAccount="user:long")
    bank.put("TransactionLog", id="y", hours="two", fromAccount="user:fay", toAccount=["user:eva"])
    operator = Operator()
    assert not operator.opens()
    assert "user:odd is left out: its balance is no number" in operator.said
    assert "user:fay is left out: The entry y does not say how many hours it is about" in operator.said
    assert "long: it has more digits than an entry takes" in operator.said
    assert [entry["toAccount"] for entry in bank.all("TransactionLog") if "reason" in entry] == ["user:ana"]


@pytest.mark.usefixtures("functions")
def test_opening_balances_as_json(bank: Bank) -> None:
    bank.give("odd", "ten")
    operator = Operator(as_json=True)
    assert not operator.opens()
    assert json.loads(operator.said) == {
        "stack": "dev", "region": "eu-west-1", "ok": False, "balances": 2, "entries": 0,
        "rows": [
            {"userId": "ana", "hours": "10", "outcome": "ENTERED"},
            {"userId": "odd", "hours": None, "outcome": "its balance is no number"},
        ],
    }  # fmt: skip


@pytest.mark.usefixtures("functions")
def test_many_are_counted_and_not_all_printed(bank: Bank) -> None:
    for number in range(30):
        bank.give(f"u{number:02}", 1)
    operator = Operator()
    assert operator.opens()
    assert "and 11 more, which --json prints" in operator.said
    assert "31 opening balances entered" in operator.said
