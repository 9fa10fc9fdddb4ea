"""Many threads that move hours at once, on a real engine, for the tests of contention and `make bench ARGS=--heat`."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from itertools import count
from typing import Any
from unittest import mock

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from handlers.aws import dynamodb, environment
from handlers.aws.dynamodb import Plan
from handlers.bank import endings, ledger, requests
from handlers.bank.errors import InsufficientBalance, OfferNotAffordable
from handlers.bank.execution import REQUEST_PREFIX, Execution, execution_name
from hourbank import laws
from tests.helpers.waiting import ENDLESS_SECONDS
from workflows import retries

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
            self.counted["refused"] += 1
            reasons = [{"Code": "TransactionConflict" if one else "None"} for one in met]
            error: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
            raise ClientError(error, "TransactWriteItems")
        try:
            answer = self._client.transact_write_items(TransactItems=TransactItems)
        except ClientError as error:
            self.counted["refused"] += 1
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

    def __init__(self, name: str, endpoint: str, *, conflicts: bool = False, threads: int = 50) -> None:
        self.name, self.threads = name, threads
        engine = boto3.client(
            "dynamodb",
            region_name="us-east-1",
            endpoint_url=endpoint,
            aws_access_key_id=str(next(_accounts)),  # both engines keep the tables of each apart
            aws_secret_access_key="local",
            # as the handlers' own, but for as many connections as there are threads, on an engine that may be slow
            config=Config(
                connect_timeout=ENDLESS_SECONDS,
                read_timeout=ENDLESS_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 3},
                max_pool_connections=threads,
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
        self.taken: list[float] = []
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
        """What each step answers, or the refusal it raises, in their order; so many threads at a time."""
        start = time.monotonic()
        pool = ThreadPoolExecutor(self.threads)
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
        for _ in range(retries.TRANSIENT["MaxAttempts"] + 1):
            try:
                answer = step(*arguments)
            except dynamodb.Contended:
                self.exhausted += 1
                continue
            except (InsufficientBalance, OfferNotAffordable) as refusal:
                answer = type(refusal)
            self.taken.append(time.monotonic() - start)
            return answer
        raise AssertionError(f"{step} did not get through, however often the Task was retried")

    def move(self, run: Execution, status: str, **attributes: Any) -> None:
        """What the handlers and the people between two moves of hours do to the request."""

        def plan() -> Plan:
            request = requests.load(run.request_id)
            assert request
            return Plan(None, (requests.move(request, status, attributes),))

        self.task(dynamodb.commit, plan)

    def refund(self, run: Execution, status: str = "DECLINED") -> Any:
        return self.task(ledger.refund, run, status, endings.Reason("A_TEST", "a test's reason")).outcome

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

    @contextmanager
    def asked(self) -> Iterator["Bank"]:
        """Let the handlers' code ask this engine, and count no metrics."""
        variables = {variable: model for model, variable in environment._TABLE.items()}
        with ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ, variables))
            stack.enter_context(mock.patch.object(dynamodb, "client", return_value=self.client))
            for metric in ("count", "measure"):
                stack.enter_context(mock.patch.object(ledger, metric))
            yield self
