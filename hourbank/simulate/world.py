"""Both workflows in one process with time skipped: real definitions, real handlers, moto's DynamoDB and Step Functions.

A `World` holds four tables, two state machines and whatever runs in them; `deployed()` makes one of what the program
deploys. Nothing happens by itself: `World.settle` lets executions run and hands the table's stream to the router until
all is quiet, `World.expire` lets a wait run out. Each execution has a thread, but exactly one thread runs at any time,
so every run is the same run.

Handlers are called as Lambda would call them: an event that went through JSON, a context, their own environment
variables, and errors that come back as `errorType` and `errorMessage`. `World.on_invoke` and `World.on_call` may raise
in place of a function or of one call to AWS, before or after its effect; `World.on_deliver` may change what the stream
delivers. A `Run` is a function that stops before each of its calls, so that two can be interleaved.

After each write the laws of `hourbank.laws` are checked; `World.settle` raises what was broken.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any
from unittest import mock

import boto3
import jsonpath_ng
import jsonpath_ng.ext
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.client import BaseClient
from moto import mock_aws
from moto.core.exceptions import JsonRESTError
from moto.core.model_instances import reset_model_data
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.responses import DynamoHandler
from moto.stepfunctions.models import stepfunctions_backends
from moto.stepfunctions.parser.api import TaskTimedOut
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.component.program import program
from moto.stepfunctions.parser.asl.component.state.exec import execute_state
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import (
    StateTaskServiceLambda,
)
from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackEndpoint
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import json_path
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.models import StepFunctionsParserBackend

from handlers import audit_ledger
from handlers.bank import requests
from hourbank.laws import (
    Item,
    Ledger,
    decided_by_nobody,
    entries_that_do_not_add_up,
    held_for_others,
    hours_held_for_nobody,
    hours_lost,
    hours_of_others,
    illegal_transition,
    tokens_outside_a_wait,
    told_too_early,
)
from hourbank.simulate.executions import Call, Execution, Invocation, Killed, LambdaContext, LambdaError, Moment, Run
from hourbank.simulate.program import (
    ACCOUNT,
    REGION,
    TABLES,
    definition_of,
    function_arn,
    function_of,
    machine_arn,
    needed,
    recorded,
    snake_case,
)
from hourbank.simulate.stream import matches
from workflows import escrow_management, service_request


class _Inline:
    """A thread that has run when `start` returns: moto starts one per task only to watch a time-out that is skipped."""

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...] = (), daemon: bool = True) -> None:  # noqa: ARG002  as Thread
        self._target, self._args = target, args

    def start(self) -> None:
        self._target(*self._args)

    def join(self, timeout: float | None = None) -> None:
        pass

    def is_alive(self) -> bool:
        return False


def _wait(endpoint: CallbackEndpoint, timeout: float | None = None) -> Any:
    """Stand in for a wait for a task token: give control back until somebody has answered or let it run out."""
    execution = Execution.current()
    if endpoint.get_outcome() is None:
        execution.waiting, execution.wait_seconds = execution.states[-1], int(timeout or 0)
        execution.park(until=lambda: endpoint.get_outcome() is not None)
        execution.waiting = None
        if endpoint.get_outcome() is None:
            execution.seconds += execution.wait_seconds
    return endpoint.get_outcome()


def _skip_pause(seconds: float) -> None:
    execution = Execution.current()
    execution.pauses.append((execution.states[-1], seconds))
    execution.seconds += seconds


# moto parses a definition or a path anew for each use, which is most of what an execution costs
_parsed = lru_cache(maxsize=64)(AmazonStateLanguageParser.parse)
_parsed_path = lru_cache(maxsize=1024)(jsonpath_ng.ext.parse)
_parsed_result_path = lru_cache(maxsize=1024)(jsonpath_ng.parse)


@cache
def _clients() -> SimpleNamespace:
    return SimpleNamespace(
        dynamodb=boto3.client("dynamodb", region_name=REGION), states=boto3.client("stepfunctions", region_name=REGION)
    )


class World:
    """Four tables, two state machines, a stream and a router, in one process.

    Parameters
    ----------
    definitions
        The definition of each machine by name (ServiceRequestWorkflow, EscrowManagementWorkflow).
    environment
        The environment variables of each function by name (camelCase).
    filters
        The patterns of the event source mapping, each as a dict; a record passes if one matches.
    handlers
        Functions in place of `handlers.<file>.handler`, by name.
    permissions
        What each function's role allows, as (action, model of the table or nothing).
    legal
        The legal transitions of a request's status: old status (None: absent) to the new ones.
    batch_size
        How many records the router is given at a time.
    times
        How often each function is run for one call, as after a lost answer; all runs must answer the same.
    direct
        Whether calls to DynamoDB reach moto's engine without being written to HTTP and read from it, which takes most
        of the time.
    """

    def __init__(
        self,
        *,
        definitions: Mapping[str, dict[str, Any]],
        environment: Mapping[str, Mapping[str, str]],
        filters: Iterable[Mapping[str, Any]],
        handlers: Mapping[str, Callable[[Any, Any], Any]] | None = None,
        permissions: Mapping[str, Collection[tuple[str, str]]] | None = None,
        legal: Mapping[str | None, Collection[str]] | None = None,
        router: str = "routeServiceRequest",
        batch_size: int = 25,
        times: int = 1,
        direct: bool = False,
    ) -> None:
        self._definitions = definitions
        self._environment = environment
        self._filters = list(filters)
        self._handlers = {"auditLedger": _audit, **(handlers or {})}
        self._permissions = permissions
        self._legal = legal
        self._router = router
        self._batch_size = batch_size
        self._times = times
        self._direct = direct
        self._version = 1
        self._run: Run | None = None
        self._runs: list[Run] = []
        self._stack = ExitStack()
        self._closed_tokens: set[str] = set()
        self._deleted_in_progress: set[str] = set()
        self._sequence = 0
        self._pending: list[dict[str, Any]] = []
        self._stop_before: str | None = None
        self._invocation: Invocation | None = None
        self._call_index = 0
        self.executions: list[Execution] = []
        self.invocations: list[Invocation] = []
        self.calls: list[Call] = []
        self.events: list[dict[str, Any]] = []
        self.redelivered: list[dict[str, Any]] = []
        self.dead_letters: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.granted: dict[str, Decimal] = {}
        self._escrows_seen: set[str] = set()
        self.on_invoke: Callable[[Invocation, Moment], None] | None = None
        self.on_call: Callable[[Call, Moment], Any] | None = None
        self.on_deliver: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] | None = None

    # --- life

    def __enter__(self) -> World:
        moto = {"stepfunctions": {"execute_state_machine": True}, "core": {"reset_boto3_session": False}}
        self._stack.enter_context(mock_aws(config=moto))
        dynamodb_backends.reset()
        stepfunctions_backends.reset()
        reset_model_data()  # moto lists every model there ever was; thousands of worlds would fill the memory
        for target, name, value in (
            (AmazonStateLanguageParser, "parse", staticmethod(_parsed)),
            (json_path, "parse", _parsed_path),
            (result_path, "parse", _parsed_result_path),
            (execute_state, "Thread", _Inline),
            (program, "threading", SimpleNamespace(Thread=_Inline)),
            (retrier_decl, "time", SimpleNamespace(sleep=_skip_pause)),
            (time, "sleep", self._sleep(time.sleep)),
            # these describe a whole definition in words for each error
            (EvalComponent, "_log_exception", lambda *_, **__: None),
            (EvalComponent, "_log_failure_event_exception", lambda *_, **__: None),
            (ExecutionWorker, "start", lambda worker: self.executions.append(Execution(worker, self._version))),
            (CallbackEndpoint, "wait", _wait),
            (StateTaskServiceLambda, "_eval_execution", self._attempt(StateTaskServiceLambda._eval_execution)),
            (
                StepFunctionsParserBackend,
                "send_task_success",
                self._answer(StepFunctionsParserBackend.send_task_success),
            ),
            (lambda_eval_utils, "_invoke_lambda_function", self._invoke_for_step_functions),
            (BaseClient, "_make_api_call", self._intercept(vars(BaseClient)["_make_api_call"])),
        ):
            self._stack.enter_context(mock.patch.object(target, name, value))
        try:
            self._deploy()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for thread in (*self.executions, *self._runs):
            thread.close()
        self._stack.close()

    def _deploy(self) -> None:
        stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        for name, table in TABLES.items():
            key = "userId" if name == "UserBalance" else "id"
            _clients().dynamodb.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
                StreamSpecification=stream if name == "ServiceRequest" else {"StreamEnabled": False},
            )
        for name, definition in self._definitions.items():
            _clients().states.create_state_machine(
                name=f"{name}-test", definition=json.dumps(definition), roleArn=f"arn:aws:iam::{ACCOUNT}:role/{name}"
            )

    def redeploy(self) -> None:
        """Publish version 2, 3, ... of every function, and definitions that name it, as a deploy does."""
        self._version += 1
        with self.as_client():
            for name, definition in self._definitions.items():
                newer = json.dumps(definition).replace('-test:1"', f'-test:{self._version}"')
                _clients().states.update_state_machine(stateMachineArn=machine_arn(name), definition=newer)

    # --- what replaces parts of moto

    def _attempt(self, evaluate: Callable[..., None]) -> Callable[..., None]:
        def attempt(task: StateTaskServiceLambda, env: Any) -> None:
            context = env.states.context_object.context_object_data
            if context["State"]["RetryCount"]:
                # AWS makes a token for each attempt, moto one for all
                env.callback_pool_manager.add(env.states.context_object.update_task_token())
            token = context["Task"]["Token"]
            try:
                evaluate(task, env)
            finally:
                self._closed_tokens.add(token)

        return attempt

    def _answer(self, send: Callable[..., Any]) -> Callable[..., Any]:
        def send_task_success(backend: StepFunctionsParserBackend, task_token: str, outcome: str) -> Any:
            # AWS answers a second or a late call so, moto takes it in silence
            if task_token in self._closed_tokens:
                raise TaskTimedOut("Task Timed Out: 'Provided task does not exist anymore'", "TaskTimedOut", 400)
            answer = send(backend, task_token, outcome)
            self._closed_tokens.add(task_token)
            return answer

        return send_task_success

    def _sleep(self, sleep: Callable[[float], None]) -> Callable[[float], None]:
        def pause(seconds: float) -> None:
            if self._invocation is None:
                sleep(seconds)

        return pause

    # --- functions

    def _intercept(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def make_api_call(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
            service = client.meta.service_model.service_name
            engine = _call_directly if self._direct and service == "dynamodb" else original
            if self._invocation is None:
                return engine(client, operation, parameters)
            call = Call(self._invocation, self._call_index, service, operation, parameters)
            self._call_index += 1
            self.calls.append(call)
            self._check_permission(call)
            self._park_run(call)
            answer = self.on_call(call, "before") if self.on_call else None
            if answer is None and service == "events":
                answer = self._put_events(call)
            elif answer is None:
                answer = engine(client, operation, parameters)
                if operation in ("TransactWriteItems", "UpdateItem"):
                    self._collect(call.invocation)
                    self._check_laws(call.invocation)
            if self.on_call:
                self.on_call(call, "after")
            return answer

        return make_api_call

    def _park_run(self, call: Call) -> None:
        if self._run:
            mine = self._invocation, self._call_index, self._run
            self._run.park(call)
            self._invocation, self._call_index, self._run = mine

    def _put_events(self, call: Call) -> dict[str, Any]:
        told = [{**entry, "Detail": json.loads(entry["Detail"])} for entry in call.parameters["Entries"]]
        owner = call.invocation.event["execution"]["Id"]
        for event in told:
            self.problems += told_too_early(self.ledger(), event, owner, self._legal or {})
        self.events += told
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in told]}

    def _check_laws(self, invocation: Invocation) -> None:
        ledger = self.ledger()
        problems = self.broken_laws(ledger)
        for key in ledger.escrows.keys() - self._escrows_seen:
            self._escrows_seen.add(key)
            problems += held_for_others(ledger.escrows[key], ledger.requests.get(key, {}))
        self.problems += [f"after {invocation.function}: {problem}" for problem in problems]

    def _check_permission(self, call: Call) -> None:
        if self._permissions is not None:
            function = call.invocation.function
            missing = [
                needed
                for needed in needed(call.service, call.operation, call.parameters)
                if needed not in self._permissions[function]
            ]
            self.problems += [f"{function} may not {action} {model}".rstrip() for action, model in missing]

    def handler(self, function: str) -> Callable[[Any, Any], Any]:
        """Return the handler of `function`: the given one, or `handlers.<file>.handler`."""
        if function not in self._handlers:
            self._handlers[function] = importlib.import_module(f"handlers.{snake_case(function)}").handler
        return self._handlers[function]

    def invoke(
        self, function: str, event: Any, *, machine: str | None = None, state: str | None = None, attempt: int = 0
    ) -> Any:
        """Call a handler as Lambda would, with its environment, and check the laws when it is back.

        Raises whatever the handler or `on_invoke` raises.
        """
        invocation = Invocation(function, machine, state, attempt, event)
        self.invocations.append(invocation)
        if self.on_invoke:
            self.on_invoke(invocation, "before")
        answers = [self._run_handler(invocation) for _ in range(self._times)]
        first = answers[0]
        if any(repr(answer) != repr(first) for answer in answers):
            self.problems.append(f"{function} run again answered {answers}")
        if isinstance(first, BaseException):
            raise first
        if self.on_invoke:
            self.on_invoke(invocation, "after")
        return first

    def begin(self, function: str, event: Any) -> Run:
        """Call a handler, and stop before its first call to AWS."""
        run = Run(function, event, self._run_handler, self.as_client)
        self._runs.append(run)
        return run

    def _run_handler(self, invocation: Invocation, run: Run | None = None) -> Any:
        """Return what the handler returns or raises."""
        event = json.loads(json.dumps(invocation.event))
        context = LambdaContext(invocation.function, f"invocation-{len(self.invocations)}")
        handler = self.handler(invocation.function)
        environment = dict(os.environ)
        os.environ.update(self._environment.get(invocation.function, {}))
        outer = self._invocation, self._call_index, self._run
        self._invocation, self._call_index, self._run = invocation, 0, run
        try:
            return json.loads(json.dumps(handler(event, context)))
        except Killed:
            return LambdaError("Lambda.Unknown", "The function was killed")
        except Exception as error:  # noqa: BLE001  raised by whoever called
            return error
        finally:
            self._invocation, self._call_index, self._run = outer
            os.environ.clear()
            os.environ.update(environment)
            self._check_laws(invocation)

    def _invoke_for_step_functions(self, parameters: dict[str, Any], **_: Any) -> dict[str, Any]:
        execution = Execution.current()
        arn = parameters["FunctionName"]
        function = function_of(arn)
        if arn != function_arn(function, execution.version):
            self.problems.append(f"{execution.name} calls {arn}, not version {execution.version} of {function}")
        event = json.loads(parameters["Payload"])
        state = execution.states[-1]
        if self._stop_before == state:
            self._stop_before, execution.stopped_before = None, state
            execution.park(until=lambda: False)
            execution.stopped_before = None
        try:
            payload: Any = self.invoke(
                function, event, machine=execution.machine, state=state, attempt=execution.attempt
            )
        except TimeoutError:
            raise
        except Exception as error:  # noqa: BLE001  as Lambda does
            name = error.error_type if isinstance(error, LambdaError) else type(error).__name__
            failure = {"errorMessage": str(error), "errorType": name, "requestId": "1", "stackTrace": []}
            return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": failure}
        return {"StatusCode": 200, "ExecutedVersion": "1", "Payload": payload}

    # --- time

    def settle(self, *, until: str | None = None) -> None:
        """Let executions run and the stream arrive until nothing moves, or until a task of the state `until` is due.

        Raises
        ------
        AssertionError
            If a law was broken on the way.
        """
        self._stop_before = until
        while True:
            runnable = [execution for execution in self.executions if execution.is_runnable]
            if runnable:
                self.step(runnable[0])
            elif not self.deliver():
                break
        self._stop_before = None
        self.assert_lawful()

    def step(self, execution: Execution) -> None:
        """Let one execution run until it waits, stops or ends, whatever it waits for."""
        execution.resume()
        if execution.ended:
            self.problems += [f"after {execution.name}: {problem}" for problem in self.broken_laws()]

    def go_on(self, execution: Execution) -> None:
        """Let an execution that `settle(until=...)` stopped run on, then settle."""
        if not execution.stopped_before:
            raise ValueError(f"{execution.name} is not stopped")
        self.step(execution)
        self.settle()

    def expire(self, execution: Execution) -> None:
        """Let the wait of `execution` run out, however long it is, then settle.

        An answer that the stream has not delivered yet arrives after that, too late.
        """
        if not execution.waiting:
            raise ValueError(f"{execution.name} does not wait")
        self.step(execution)
        self.settle()

    def redrive(self, execution: Execution) -> None:
        """Let a failed or stopped execution go on where it ended, then settle."""
        execution.redrive()
        self.settle()

    def stop(self, execution: Execution, status: str = "ABORTED") -> None:
        """End an execution from outside; a function that runs, runs on."""
        execution.stop(status)

    def audit(self, *, touch: bool = True, later: timedelta = timedelta(hours=1)) -> Report:
        """Let the auditor look at the tables as it would in a while; what it touches is in the stream then."""
        found = self.invoke("auditLedger", {"touch": touch, "seconds": later.total_seconds()})
        return Report({finding["request_id"]: finding["problem"] for finding in found["findings"]}, found["missed"])

    def assert_lawful(self) -> None:
        """Raise AssertionError with every law that was broken so far."""
        problems, self.problems = self.problems, []
        if problems:
            raise AssertionError("\n".join(problems))

    # --- the stream

    def _collect(self, written_by: Invocation | None) -> None:
        shard = self._table("ServiceRequest").stream_shard
        records: list[dict[str, Any]] = [item.to_json() for item in shard.items]
        # moto copies a table with its stream before each transaction
        shard.items.clear()
        for record in records:
            self._sequence += 1
            change: dict[str, Any] = {**record["dynamodb"], "SequenceNumber": str(self._sequence)}
            change["ApproximateCreationDateTime"] = change["ApproximateCreationDateTime"].timestamp()
            if written_by and self._legal is not None and "NewImage" in change:
                old, new = (plain(change.get(name, {})) for name in ("OldImage", "NewImage"))
                found = illegal_transition(old.get("status"), new.get("status"), self._legal)
                found += [] if _is_ordered(written_by) else decided_by_nobody(old, new, written_by.state)
                self.problems += [f"{written_by.function}: {problem}" for problem in found]
            self._pending.append(
                {
                    **record,
                    "dynamodb": change,
                    "eventSourceARN": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TABLES['ServiceRequest']}/stream/1",
                }
            )

    def deliver(self, at_most: int | None = None) -> bool:
        """Hand the next batch of the stream to the router; return whether anything was there.

        A batch that fails is tried once more from its first failure on, then that record goes to `dead_letters`.
        """
        self._collect(written_by=None)
        if self.on_deliver:
            self._pending = self.on_deliver(self._pending)
        if not self._pending:
            return False
        size = at_most or self._batch_size
        batch, self._pending = self._pending[:size], self._pending[size:]
        batch = [record for record in batch if self.is_of_interest(record)]
        for attempt in range(len(batch) + 2):
            if not batch:
                break
            failed = self._route(batch, attempt)
            if failed is None:
                break
            self.redelivered.append(failed)
            if attempt and failed is batch[0]:
                self.dead_letters.append(failed)
                batch = batch[1:]
            else:
                batch = batch[batch.index(failed) :]
        return True

    def is_of_interest(self, record: dict[str, Any]) -> bool:
        """Whether a record of the stream passes the filters."""
        return any(matches(pattern, record) for pattern in self._filters)

    def lose_stream(self) -> None:
        """Drop what the stream holds and has not delivered, as an outage of more than a day does."""
        self._collect(written_by=None)
        self._pending.clear()

    def _route(self, batch: list[dict[str, Any]], attempt: int) -> dict[str, Any] | None:
        try:
            answer = self.invoke(self._router, {"Records": batch}, attempt=attempt)
        except Exception:  # noqa: BLE001  as Lambda does
            return batch[0]
        failures = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        return next((record for record in batch if record["dynamodb"]["SequenceNumber"] in failures), None)

    # --- tables

    @staticmethod
    def _table(name: str) -> Any:
        return dynamodb_backends[ACCOUNT][REGION].tables[TABLES[name]]

    def ledger(self) -> Ledger:
        """Return a copy of the tables as they are now."""
        rows = {
            name: {item.hash_key.value: plain(item.to_json()["Attributes"]) for item in self._table(name).all_items()}
            for name in TABLES
        }
        return Ledger(rows["ServiceRequest"], rows["Escrow"], rows["UserBalance"], rows["TransactionLog"])

    def snapshot(self) -> Callable[[], None]:
        """Return what takes the tables back to what they are now; executions go on."""
        kept = {name: copy.deepcopy(self._table(name).items) for name in TABLES}

        def restore() -> None:
            for name, items in kept.items():
                self._table(name).items = copy.deepcopy(items)
            self._collect(written_by=None)
            self._pending.clear()
            self.events.clear()
            self._escrows_seen = set(self.ledger().escrows)

        return restore

    def broken_laws(self, ledger: Ledger | None = None) -> list[str]:
        """Return every law that does not hold right now, in words."""
        ledger = ledger or self.ledger()
        ended = {execution.arn: execution.status for execution in self.executions if execution.ended}
        return [
            *hours_lost(ledger, self.granted),
            *entries_that_do_not_add_up(ledger, self.granted),
            *hours_of_others(ledger),
            *hours_held_for_nobody(ledger, ended, self._deleted_in_progress),
            *tokens_outside_a_wait(ledger, ended),
        ]

    @contextmanager
    def as_client(self) -> Iterator[None]:
        """Call AWS as people and apps do, also from a hook within a function's call."""
        outer = self._invocation, self._call_index, self._run
        self._invocation = self._run = None
        environment = dict(os.environ)
        try:
            yield
        finally:
            self._invocation, self._call_index, self._run = outer
            os.environ.clear()
            os.environ.update(environment)

    def grant(self, user: str, hours: Decimal | str | int) -> None:
        """Give `user` hours to spend, as the app's own grant does; below 0, they are spent elsewhere."""
        self.granted[user] = self.granted.get(user, Decimal(0)) + Decimal(hours)
        self.put("UserBalance", {"userId": user, "availableBalance": self.ledger().balance(user) + Decimal(hours)})

    def put(self, table: str, item: Mapping[str, Any]) -> None:
        """Write an item as Amplify's create does: with its type's name and both dates."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        row = {"__typename": table, "createdAt": now, "updatedAt": now, **item}
        with self.as_client():
            _clients().dynamodb.put_item(TableName=TABLES[table], Item=typed(row))
            self._collect(written_by=None)

    def submit(self, request_id: str, **values: Any) -> None:
        """Create a request as Amplify does for its requester, with explicit nulls for what nobody has said yet.

        Without `values`, ann asks bob for 3 hours.
        """
        unsaid = ("status", "providerResponse", "counterOfferHours", "requesterResponse", "failureReason")
        row = {"id": request_id, "serviceId": "gardening", "requesterId": "ann", "providerId": "bob"}
        self.put("ServiceRequest", {**row, "estimatedHours": Decimal(3), **dict.fromkeys(unsaid), **values})

    def update(self, request_id: str, **values: Any) -> None:
        """Change fields of a request as a client does through Amplify's update."""
        names = {f"#{i}": name for i, name in enumerate(values)}
        with self.as_client():
            _clients().dynamodb.update_item(
                TableName=TABLES["ServiceRequest"],
                Key=typed({"id": request_id}),
                UpdateExpression="SET " + ", ".join(f"#{i} = :{i}" for i in range(len(values))),
                ConditionExpression="attribute_exists(id)",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=typed({f":{i}": value for i, value in enumerate(values.values())}),
            )
            self._collect(written_by=None)

    def delete(self, request_id: str) -> None:
        """Remove a request's record, as nobody but an administrator can."""
        if self.ledger().requests[request_id].get("status") == "IN_PROGRESS":
            self._deleted_in_progress.add(request_id)
        with self.as_client():
            _clients().dynamodb.delete_item(TableName=TABLES["ServiceRequest"], Key=typed({"id": request_id}))
            self._collect(written_by=None)

    def start(self, machine: str, name: str, event: Mapping[str, Any]) -> Execution:
        """Start an execution by hand; it runs at the next `settle`."""
        with self.as_client():
            _clients().states.start_execution(stateMachineArn=machine_arn(machine), name=name, input=json.dumps(event))
        return next(e for e in reversed(self.executions) if e.name == name)

    def execution(self, name: str) -> Execution:
        """Return the execution called `name`."""
        return next(execution for execution in self.executions if execution.name == name)


@dataclass(frozen=True)
class Report:
    """What an audit found: the problem of each request by its id, and how many records the stream had missed."""

    findings: dict[str, str]
    missed: int


def _audit(event: Any, _context: Any) -> dict[str, Any]:
    """Stand in for the auditor's handler, which cannot be told the time."""
    later = datetime.now(UTC) + timedelta(seconds=event["seconds"])
    audit = audit_ledger.Audit(touch=event["touch"], now=later)
    findings = [{"request_id": finding.request_id, "problem": finding.problem} for finding in audit.findings()]
    return {"findings": findings, "missed": audit.missed}


def plain(image: Mapping[str, Any]) -> Item:
    """Return DynamoDB's typed JSON as plain Python values."""
    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in image.items()}


def typed(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain Python values as DynamoDB's typed JSON."""
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in item.items()}


def _is_ordered(invocation: Invocation) -> bool:
    """Whether an operator's word is behind a call."""
    return "decision" in invocation.event.get("execution", {}).get("Input", {})


def _call_directly(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
    """Call moto's DynamoDB with the parameters as they are; errors are those of boto3."""
    handler = DynamoHandler()
    handler.region, handler.current_account = REGION, ACCOUNT
    handler.body = handler.params = copy.deepcopy(parameters)
    try:
        return getattr(handler, snake_case(operation))().result
    except JsonRESTError as refused:
        said = json.loads(refused.description)
        code = said["__type"].split("#")[-1]
        answer = {"Error": {"Code": code, "Message": said.get("message") or said.get("Message", "")}}
        if "CancellationReasons" in said:
            answer["CancellationReasons"] = said["CancellationReasons"]
        refusal: Any = client.exceptions.from_code(code)
        raise refusal(answer, operation) from None


def deployed(**more: Any) -> World:
    """Return a world of both workflows, with the environment and the filters that the program gives them.

    `more` replaces arguments of `World`.
    """
    program = recorded()
    arguments: dict[str, Any] = {
        "definitions": {
            "ServiceRequestWorkflow": definition_of(service_request),
            "EscrowManagementWorkflow": definition_of(escrow_management),
        },
        "environment": program.environment,
        "filters": program.filters,
        "permissions": program.permissions,
        "legal": {None: requests.TRANSITIONS["PENDING"], **requests.TRANSITIONS},
        "batch_size": program.batch_size,
    }
    return World(**{**arguments, **more})
