"""The ledger under contention, on real engines: many threads, few people, nothing lost, nothing doubled, no deadlock.

`make contention` prints how fast it went. Write a test here for what only shows when transactions meet on one item.
"""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from handlers.aws import dynamodb
from handlers.bank import ledger
from handlers.bank.errors import InsufficientBalance, OfferNotAffordable
from handlers.bank.execution import Execution
from hourbank import laws
from tests.helpers.contention import Bank
from tests.helpers.waiting import ENDLESS_SECONDS

# In one process with the end to end tests, one after the other: they have time-outs, and this takes every processor.
pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("end-to-end")]

THREADS = 50


@pytest.fixture
def bank(engine: tuple[str, str]) -> Iterator[Bank]:
    with Bank(*engine).asked() as bank:
        yield bank


@pytest.fixture
def aws_like(engine: tuple[str, str]) -> Iterator[Bank]:
    with Bank(*engine, conflicts=True).asked() as bank:
        yield bank


def report(bank: Bank, capsys: pytest.CaptureFixture[str], what: str) -> None:
    counted = bank.client.counted
    with capsys.disabled():
        print(
            f"\n{bank.name}: {what} in {bank.seconds:.1f} s, {counted['transactions']} transactions, "
            f"{counted['transactions'] / bank.seconds:.0f} a second; {counted['conflicts']} conflicts, "
            f"{counted['refused conditions']} refused conditions, {bank.exhausted} steps given up, "
            f"slowest {max(bank.taken):.1f} s",
            end="",
            flush=True,
        )


def all_read_before_one_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one of 50 threads decides on the balance as it was before any of them."""
    barrier, waited, balance_of = threading.Barrier(THREADS), threading.local(), ledger.balance_of

    def balance(request: Any) -> Decimal:
        available = balance_of(request)
        if not getattr(waited, "once", False):
            waited.once = True
            barrier.wait(timeout=ENDLESS_SECONDS)
        return available

    monkeypatch.setattr(ledger, "balance_of", balance)


def hold_fifty_at_once(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Execution], list[Any]]:
    """50 requests of one person who has hours for 25, each in a thread of its own: their executions and answers."""
    bank.give(ana="30.25", ben="0")
    runs = bank.requests(*[("ana", "ben", "1.21")] * THREADS)
    with monkeypatch.context() as patch:
        all_read_before_one_writes(patch)
        answers = bank.at_once([lambda run=run: bank.task(ledger.hold, run) for run in runs])
    return runs, answers


def assert_fifty(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given 50 requests at once, hours for 25
    runs, answers = hold_fifty_at_once(bank, monkeypatch)
    assert Counter(answers) == {Decimal("1.21"): 25, InsufficientBalance: 25}
    # When each step runs again, as after a lost result, and every hold is given back twice at once
    again = bank.at_once([lambda run=run: bank.task(ledger.hold, run) for run in runs])
    assert again == answers
    assert bank.ledger().balance("ana") == 0
    held = [run for run, answer in zip(runs, answers, strict=True) if answer == Decimal("1.21")]
    refused = [run for run in runs if run not in held]
    refunds = [*held, *refused] * 2
    outcomes = bank.at_once(
        [lambda run=run: bank.refund(run, "DECLINED" if run in held else "REJECTED") for run in refunds]
    )
    # Then each hold went out once and came back once
    assert Counter(outcomes) == {"DECLINED": 50, "REJECTED": 50}
    assert bank.entries() == {"ESCROW_HOLD": 25, "ESCROW_REFUND": 25}
    assert bank.ledger().balance("ana") == Decimal("30.25")
    assert bank.broken() == []


def test_fifty_threads_on_one_balance(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_fifty(bank, monkeypatch)
    report(bank, capsys, "50 on one balance")


def test_fifty_threads_on_one_balance_where_transactions_conflict(
    aws_like: Bank, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_fifty(aws_like, monkeypatch)
    report(aws_like, capsys, "50 on one balance, conflicts as on AWS")
    # how many give up is this machine's: that the tries suffice is tried in virtual time (bench/heat.py)
    assert aws_like.client.counted["conflicts"] > 0, "they did meet"


def test_without_the_balances_condition_an_overdraft_is_seen(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb.Change, "at_least", lambda change, *_: change.exists())
    _, answers = hold_fifty_at_once(bank, monkeypatch)
    assert Counter(answers) == {Decimal("1.21"): 50}
    assert "user:ana is overdrawn" in bank.broken()


def test_payments_that_cross(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    # Given two people who owe each other
    bank.give(ana="40", ben="30")
    runs = bank.requests(*[("ana", "ben", "1.25"), ("ben", "ana", "0.75")] * THREADS)
    # hours for 32 of the 50 and 40 of the 50 at first, more as they are paid
    paid = []

    def pay(run: Execution) -> None:
        if bank.task(ledger.hold, run) is InsufficientBalance:
            assert bank.refund(run, "REJECTED") == "REJECTED"
            return
        bank.move(run, "IN_PROGRESS", requesterResponse="COMPLETED")
        paid.append(run)

    # When all are held and started at once, and each is released twice at once
    bank.at_once([lambda run=run: pay(run) for run in runs])
    outcomes = bank.at_once([lambda run=run: bank.task(ledger.release, run.request_id) for run in paid * 2])
    # Then each is paid once
    assert {ended.outcome for ended in outcomes} == {"COMPLETED"}
    assert bank.entries() == {"ESCROW_HOLD": len(paid), "ESCROW_RELEASE": len(paid)}
    moved = sum((Decimal("0.75") if int(run.request_id[1:]) % 2 else Decimal("-1.25") for run in paid), Decimal(0))
    assert bank.ledger().balance("ana") == 40 + moved
    assert bank.ledger().balance("ben") == 30 - moved
    assert bank.broken() == []
    report(bank, capsys, "100 payments that cross")


def test_three_hundred_mixed_requests(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    people = ("ana", "ben", "chloé", "dan", "eve")
    bank.give(**dict.fromkeys(people, "60"))
    chance = random.Random(1)
    runs = bank.requests(
        *((*chance.sample(people, 2), f"{chance.randint(1, 600) / 100:.2f}") for _ in range(300))  # type: ignore[misc]
    )
    plans = [
        (
            run,
            Decimal(chance.randint(1, 800)) / 100 if chance.random() < 0.4 else None,
            chance.choices(("refund", "release", "withdraw", "leave"), (4, 4, 1, 1))[0],
            chance.choice((1, 1, 2)),
        )
        for run in runs
    ]

    def story(run: Execution, offer: Decimal | None, end: str, times: int) -> str:
        def step(*call: Any) -> Any:
            """The Task, and again where its result was lost."""
            return [bank.task(*call) for _ in range(times)][-1]

        if step(ledger.hold, run) is InsufficientBalance:
            return bank.refund(run, "REJECTED")
        if offer:
            bank.move(run, "NEGOTIATING", offeredHours=offer)
            if step(ledger.adjust, run) is OfferNotAffordable:
                end = "refund"
        if end == "refund":
            return step(bank.refund, run)
        answers = {"release": {"requesterResponse": "COMPLETED"}, "withdraw": {"providerResponse": "WITHDRAWN"}}
        bank.move(run, "IN_PROGRESS", **answers.get(end, {}))
        if end == "leave":
            return "IN_PROGRESS"
        return step(ledger.release if end == "release" else ledger.withdraw, run.request_id).outcome

    outcomes = bank.at_once([lambda plan=plan: story(*plan) for plan in plans])

    ends = Counter(outcomes)
    assert ends.keys() == {"REJECTED", "DECLINED", "COMPLETED", "CANCELLED", "IN_PROGRESS"}
    assert ends == Counter(request["status"] for request in bank.ledger().requests.values())
    entries = bank.entries()
    assert entries["ESCROW_HOLD"] == 300 - ends["REJECTED"]
    assert entries["ESCROW_REFUND"] == ends["DECLINED"] + ends["CANCELLED"]
    assert entries["ESCROW_RELEASE"] == ends["COMPLETED"]
    assert entries["ESCROW_ADJUST"] > 0
    assert len(bank.ledger().held()) == ends["IN_PROGRESS"]
    assert bank.broken() == []
    report(bank, capsys, "300 mixed requests of 5 people")


def test_fifty_ask_for_the_same_grant_at_once(aws_like: Bank) -> None:
    """One of them moves hours; the others find it done, though the balance did not exist when all began."""
    answers = aws_like.at_once([partial(aws_like.task, ledger.grant, "eva", Decimal("2.5"), "welcome")] * THREADS)
    assert answers == [Decimal("2.5")] * THREADS
    assert aws_like.entries() == {"GRANT": 1} and aws_like.ledger().balance("eva") == Decimal("2.5")
    assert aws_like.broken() == []


def test_fifty_grants_of_one_user_at_once_all_count(aws_like: Bank) -> None:
    """Each for a reason of its own, beside one hold of what is granted."""
    aws_like.give(eva="3", ben="0")
    (run,) = aws_like.requests(("eva", "ben", "1.5"))
    grants = [partial(aws_like.task, ledger.grant, "eva", Decimal("0.01"), str(n)) for n in range(THREADS - 1)]
    answers = aws_like.at_once([*grants, partial(aws_like.task, ledger.hold, run)])
    assert answers == [*[Decimal("0.01")] * (THREADS - 1), Decimal("1.5")]
    assert aws_like.entries() == {"GRANT": THREADS - 1, "ESCROW_HOLD": 1}
    assert aws_like.ledger().balance("eva") == Decimal("1.99")
    now = aws_like.ledger()
    assert laws.hours_lost(now, aws_like.granted) == laws.entries_that_do_not_add_up(now, aws_like.granted) == []
    assert laws.grants_out_of_place(now) == []
