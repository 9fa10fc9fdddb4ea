"""The ledger under contention, on real engines: many threads, few people, nothing lost, nothing doubled, no deadlock.

`make contention` prints how fast it went. Write a test here for what only shows when transactions meet on one item.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from handlers.aws import dynamodb, environment
from handlers.aws.dynamodb import Plan
from handlers.bank import ledger, requests
from handlers.bank.errors import InsufficientBalance, OfferNotAffordable
from handlers.bank.execution import REQUEST_PREFIX, Execution, execution_name
from hourbank import laws
from tests.helpers.waiting import ENDLESS_SECONDS
from workflows import retries

# In one process with the end to end tests, one after the other: they have time-outs, and this takes every processor.
pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("end-to-end")]

THREADS = 50
# Nothing here takes longer, unless something waits for something that never comes.
_accounts = count(100_000_000_001)


class Client:
    """The engine's own client, which counts transactions and refusals.

    Parameters
    ----------
    conflicts
        Whether to refuse, as AWS does and neither engine here, a transaction on an item that another is writing.
    """

    def __init__(self, client: Any, *, conflicts: bool) -> None:
        self._client, self._conflicts = client, conflicts
        self._lock, self._written = threading.Lock(), Counter[tuple[str, str]]()
        self.counted = Counter[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, TransactItems: list[dict[str, Any]]) -> Any:  # noqa: N803
        items = [item for write in TransactItems for item in self._items(write)]
        with self._lock:
            met = [self._conflicts and self._written[item] > 0 for item in items]
            if not any(met):
                self._written.update(items)
        if any(met):
            self.counted["conflicts"] += 1
            reasons = [{"Code": "TransactionConflict" if one else "None"} for one in met]
            error = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
            raise ClientError(error, "TransactWriteItems")
        try:
            answer = self._client.transact_write_items(TransactItems=TransactItems)
        except ClientError as error:
            for reason in error.response.get("CancellationReasons", []):
                self.counted["conflicts"] += reason["Code"] == "TransactionConflict"
                self.counted["refused conditions"] += reason["Code"] == "ConditionalCheckFailed"
            raise
        finally:
            with self._lock:
                self._written.subtract(items)
        self.counted["transactions"] += 1
        return answer

    @staticmethod
    def _items(write: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for one in write.values():
            key = dynamodb._KEY[one["TableName"]]
            yield one["TableName"], (one.get("Key") or one["Item"])[key]["S"]


class Bank:
    """Four tables of an account of its own, and what many threads do to them."""

    def __init__(self, name: str, endpoint: str, *, conflicts: bool = False) -> None:
        self.name = name
        engine = boto3.client(
            "dynamodb",
            endpoint_url=endpoint,
            aws_access_key_id=str(next(_accounts)),  # both engines keep the tables of each apart
            aws_secret_access_key="local",
            # as the handlers' own, but for as many connections as there are threads, on an engine that may be slow
            config=Config(
                connect_timeout=ENDLESS_SECONDS,
                read_timeout=ENDLESS_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 3},
                max_pool_connections=THREADS,
                proxies={},
            ),
        )
        for model, key in dynamodb._KEY.items():
            engine.create_table(
                TableName=model,
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        self.client = Client(engine, conflicts=conflicts)
        self.granted: dict[str, Decimal] = {}
        self.exhausted = 0
        self.slowest = 0.0
        self.seconds = 0.0

    def give(self, **hours: str) -> None:
        for person, amount in hours.items():
            self.granted[person] = Decimal(amount)
        self._put("UserBalance", [{"userId": p, "availableBalance": h} for p, h in self.granted.items()])

    def requests(self, *made: tuple[str, str, str]) -> list[Execution]:
        """Requests as ValidateRequest leaves them, from (requester, provider, hours); the execution of each."""
        runs = [self._execution(f"r{number}") for number in range(len(made))]
        records = [
            {
                "id": run.request_id,
                "serviceId": "s",
                "requesterId": requester,
                "providerId": provider,
                "estimatedHours": Decimal(hours),
                "status": "VALIDATING",
                "stepFunctionExecutionArn": run.arn,
            }
            for run, (requester, provider, hours) in zip(runs, made, strict=True)
        ]
        self._put("ServiceRequest", records)
        return runs

    @staticmethod
    def _execution(request_id: str) -> Execution:
        name = execution_name(REQUEST_PREFIX, request_id)
        arn = f"arn:aws:states:us-east-1:123456789012:execution:ServiceRequestWorkflow-test:{name}"
        execution = {"Id": arn, "Name": name, "Input": {"requestId": request_id}}
        return Execution.of({"execution": execution, "state": {"Name": "EscrowHours", "RetryCount": 0}})

    def _put(self, model: str, items: list[dict[str, Any]]) -> None:
        puts = [{"PutRequest": {"Item": {k: dynamodb.typed(v) for k, v in item.items()}}} for item in items]
        for start in range(0, len(puts), 25):
            self.client.batch_write_item(RequestItems={model: puts[start : start + 25]})

    def at_once(self, steps: Iterable[Callable[[], Any]]) -> list[Any]:
        """What each step answers, or the refusal it raises, in their order; 50 threads at a time."""
        start = time.monotonic()
        pool = ThreadPoolExecutor(THREADS)
        results = [pool.submit(step) for step in steps]
        try:
            answers = [result.result(timeout=ENDLESS_SECONDS) for result in results]
        finally:
            # to wait for threads that wait for each other would hide why
            pool.shutdown(wait=False, cancel_futures=True)
        self.seconds += time.monotonic() - start
        return answers

    def task(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """The step as a Task runs it, again where it gave up; the answer, or the refusal."""
        start = time.monotonic()
        for _ in range(retries.HICCUP["MaxAttempts"] + 1):
            try:
                answer = step(*arguments)
            except dynamodb.Contended:
                self.exhausted += 1
                continue
            except (InsufficientBalance, OfferNotAffordable) as refusal:
                answer = type(refusal)
            self.slowest = max(self.slowest, time.monotonic() - start)
            return answer
        raise AssertionError(f"{step} did not get through, however often the Task was retried")

    def move(self, run: Execution, status: str, **attributes: Any) -> None:
        """What the handlers and the people between two moves of hours do to the request."""
        self.task(
            lambda: dynamodb.commit(
                lambda: Plan(None, (requests.move(requests.load(run.request_id), status, attributes),))
            )
        )

    def refund(self, run: Execution, status: str = "DECLINED") -> Any:
        return self.task(ledger.refund, run, status, "a test's reason").outcome

    def ledger(self) -> laws.Ledger:
        found = {}
        for model, key in dynamodb._KEY.items():
            pages = self.client.get_paginator("scan").paginate(TableName=model, ConsistentRead=True)
            found[model] = {(item := dynamodb.from_image(one))[key]: item for page in pages for one in page["Items"]}
        return laws.Ledger(*found.values())

    def entries(self) -> Counter[str]:
        return Counter(entry["type"] for entry in self.ledger().log.values())

    def broken(self) -> list[str]:
        """What breaks a law, given that every execution has ended and succeeded."""
        now = self.ledger()
        ended = {request["stepFunctionExecutionArn"]: "SUCCEEDED" for request in now.requests.values()}
        return [
            *laws.hours_lost(now, self.granted),
            *laws.entries_that_do_not_add_up(now, self.granted),
            *laws.hours_of_others(now),
            *laws.hours_held_for_nobody(now, ended),
        ]

    def report(self, capsys: pytest.CaptureFixture[str], what: str) -> None:
        counted = self.client.counted
        with capsys.disabled():
            print(
                f"\n{self.name}: {what} in {self.seconds:.1f} s, {counted['transactions']} transactions, "
                f"{counted['transactions'] / self.seconds:.0f} a second; {counted['conflicts']} conflicts, "
                f"{counted['refused conditions']} refused conditions, {self.exhausted} steps given up, "
                f"slowest {self.slowest:.1f} s",
                end="",
                flush=True,
            )


@pytest.fixture
def bank(engine: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Bank:
    return opened(Bank(*engine), monkeypatch)


@pytest.fixture
def aws_like(engine: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Bank:
    return opened(Bank(*engine, conflicts=True), monkeypatch)


def opened(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> Bank:
    for model, variable in environment._TABLE.items():
        monkeypatch.setenv(variable, model)
    for metric in ("count", "measure"):
        monkeypatch.setattr(ledger, metric, lambda *_, **__: None)
    monkeypatch.setattr(dynamodb, "client", lambda _: bank.client)
    return bank


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
    bank.report(capsys, "50 on one balance")


def test_fifty_threads_on_one_balance_where_transactions_conflict(
    aws_like: Bank, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_fifty(aws_like, monkeypatch)
    aws_like.report(capsys, "50 on one balance, conflicts as on AWS")
    assert aws_like.client.counted["conflicts"] > THREADS, "they did meet"
    assert aws_like.exhausted < THREADS / 10, "the tries suffice, but for a few on a very slow machine"


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
    bank.report(capsys, "100 payments that cross")


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
    bank.report(capsys, "300 mixed requests of 5 people")
