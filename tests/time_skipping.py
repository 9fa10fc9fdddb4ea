"""Both workflows in one process with time skipped: real definitions, real handlers, moto's DynamoDB and Step Functions.

A `World` holds four tables, two state machines and whatever runs in them; `deployed()` makes one of what the program
deploys. Nothing happens by itself: `World.settle` lets executions run and hands the table's stream to the router until
all is quiet, `World.expire` lets a wait run out. Each execution has a thread, but exactly one thread runs at any time,
so every run is the same run.

Handlers are called as Lambda would call them: an event that went through JSON, a context, their own environment
variables, and errors that come back as `errorType` and `errorMessage`. `World.on_invoke` and `World.on_call` may raise
in place of a function or of one call to AWS, before or after its effect; `World.on_deliver` may change what the stream
delivers. A `Run` is a function that stops before each of its calls, so that two can be interleaved.

After each write the laws of `tests.laws` are checked; `World.settle` raises what was broken.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, Literal
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
from moto.stepfunctions.parser.api import ExecutionStatus, TaskTimedOut
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
from handlers.bank import errors, requests
from hourbank.program import recorder
from tests.laws import (
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
from tests.stream_filters import matches
from workflows import escrow_management, service_request

ACCOUNT = "123456789012"
REGION = "us-east-1"
BUS = "hourbank-event-bus-test"
TABLES = {name: f"{name}-api-test" for name in ("ServiceRequest", "Escrow", "UserBalance", "TransactionLog")}
SEVEN_DAYS = 7 * 24 * 3600
REFUSALS = frozenset(refusal.__name__ for refusal in errors.Refusal.__subclasses__())

Moment = Literal["before", "after"]


def function_arn(name: str, version: int = 1) -> str:
    """Return the ARN of a version of the function `name` (camelCase)."""
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:hourbank-{name}-test:{version}"


def function_of(arn: str) -> str:
    """Return the name (camelCase) of the function that an ARN names."""
    return arn.split(":")[6].removeprefix("hourbank-").removesuffix("-test")


def machine_arn(name: str) -> str:
    """Return the ARN of the state machine `name` (such as ServiceRequestWorkflow)."""
    return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}-test"


def snake_case(name: str) -> str:
    """Return the file name of a function: `createEscrow` lives in `create_escrow.py`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


# --- what runs --------------------------------------------------------------------------------------------------------


class LambdaError(Exception):
    """What a failing function is to Step Functions: raise it in a hook to stand for any error by its name."""

    def __init__(self, error_type: str, message: str = "injected") -> None:
        super().__init__(message)
        self.error_type = error_type


class Closed(BaseException):
    """Unwinds the thread of an execution that nobody will resume; no `except Exception` may stop it."""


class Killed(BaseException):
    """Ends a function where it is, as Lambda does at the end of its memory or time; raise it in a hook."""


@dataclass(frozen=True)
class Invocation:
    """One call of a function (camelCase) by a state of a machine, or by the stream (neither); attempts count from 0."""

    function: str
    machine: str | None
    state: str | None
    attempt: int
    event: Any


@dataclass(frozen=True)
class Call:
    """One call to AWS within an invocation; `index` counts the calls of that invocation from 0."""

    invocation: Invocation
    index: int
    service: str
    operation: str
    parameters: Mapping[str, Any]


class Execution:
    """One execution of a workflow, run a stretch at a time by whoever calls `resume`.

    Attributes
    ----------
    arn, name, machine, request_id
        The execution's ARN and name; the machine's name without the stack; the requestId of its input.
    ended
        Whether it has; `status` says how.
    waiting, wait_seconds
        The state that waits for an answer (None: none does), and for how many seconds.
    stopped_before
        The state whose function is due where `World.settle(until=...)` stopped.
    pauses
        Each retry's pause that was skipped, in order: the state and the seconds.
    seconds
        How long all pauses and time-outs would have taken.
    version
        The version of all functions that was deployed when it began.
    """

    _local: ClassVar[threading.local] = threading.local()

    def __init__(self, worker: ExecutionWorker, version: int) -> None:
        self.version = version
        self._worker: Any = worker
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._work: Callable[[], None] = worker._execution_logic
        self._parked_until: Callable[[], bool] | None = None
        self._closing = False
        self._redrives = 0
        details = worker._evaluation_details
        self.arn: str = details.execution_details.arn
        self.name: str = details.execution_details.name
        given = details.execution_details.inpt
        self.request_id: Any = given.get("requestId") if isinstance(given, dict) else None
        self.machine: str = details.state_machine_details.name.removesuffix("-test")
        self.ended = False
        self.waiting: str | None = None
        self.wait_seconds = 0
        self.stopped_before: str | None = None
        self.pauses: list[tuple[str, float]] = []
        self.seconds = 0.0

    @classmethod
    def current(cls) -> Execution:
        """Return the execution whose thread this is."""
        return cls._local.execution

    @property
    def is_runnable(self) -> bool:
        """Whether there is something to do: it has not ended, and does not wait for anything."""
        return not self.ended and (self._parked_until is None or self._parked_until())

    def resume(self) -> None:
        """Run until this execution waits, stops before a state, or ends."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()
        self._go.release()
        self._back.acquire()

    def park(self, until: Callable[[], bool]) -> None:
        """Give control back to whoever called `resume`, until the next one does."""
        self._parked_until = until
        self._back.release()
        self._go.acquire()
        self._parked_until = None
        if self._closing:
            raise Closed

    def close(self) -> None:
        """End the thread, wherever it is parked."""
        self._closing = True
        if self._thread is not None and not self.ended:
            self.resume()
            self._thread.join()

    def stop(self, status: str) -> None:
        """End as StopExecution (ABORTED) or a time-out of the whole execution (TIMED_OUT) would."""
        self._record.exec_status = ExecutionStatus(status)
        if self._thread is threading.current_thread():
            raise Closed
        self.close()
        self.ended, self.waiting = True, None

    def redrive(self) -> None:
        """Prepare a failed or stopped execution to go on where it ended, as RedriveExecution does."""
        assert self.status in ("FAILED", "ABORTED", "TIMED_OUT"), f"{self.name} is {self.status}"
        self._redrives += 1
        failed = next(event for event in reversed(self.history) if "stateEnteredEventDetails" in event)
        entered = failed["stateEnteredEventDetails"]
        worker, events = self._worker, self._worker.env.event_manager

        def go_on() -> None:
            worker.env = env = worker._get_evaluation_environment()
            env.event_manager = events
            env.states.context_object.context_object_data["Execution"]["RedriveCount"] = self._redrives
            env.states.reset(json.loads(entered["input"]))
            env.next_state_name = entered["name"]
            EvalComponent.eval(worker._get_evaluation_entrypoint(), env)
            worker._execution_communication.terminated()

        self._record.exec_status = ExecutionStatus.RUNNING
        self._record.error = self._record.cause = None
        self._thread, self._work, self.ended, self._closing = None, go_on, False, False
        self._parked_until = None

    def _run(self) -> None:
        self._go.acquire()
        Execution._local.execution = self
        try:
            if not self._closing:
                self._work()
        except Closed:
            pass
        finally:
            self.ended = True
            self._back.release()

    # what happened, read from moto's own history

    @property
    def _record(self) -> Any:
        return self._worker._execution_communication.execution

    @property
    def status(self) -> str:
        """RUNNING, SUCCEEDED, FAILED, ABORTED or TIMED_OUT."""
        return self._record.status

    @property
    def output(self) -> Any:
        """The output of an execution that succeeded."""
        return self._record.output

    @property
    def error(self) -> str | None:
        """The name of the error that failed the execution."""
        return self._record.error

    @property
    def cause(self) -> str | None:
        """The cause of the error that failed the execution."""
        return self._record.cause

    @property
    def history(self) -> list[dict[str, Any]]:
        """The events as GetExecutionHistory returns them."""
        return self._worker.env.event_manager._history_event_list if self._worker.env else []

    @property
    def states(self) -> list[str]:
        """The names of the states entered, in order."""
        return [
            event["stateEnteredEventDetails"]["name"] for event in self.history if "stateEnteredEventDetails" in event
        ]

    @property
    def refusals(self) -> list[tuple[str, str, str | None]]:
        """Each typed refusal: the state whose task ended with it, its name, and the state that was entered next."""
        found: list[tuple[str, str, str | None]] = []
        state = refusal = ""
        for event in self.history:
            if "stateEnteredEventDetails" in event:
                entered = event["stateEnteredEventDetails"]["name"]
                if refusal:
                    found.append((state, refusal, entered))
                state, refusal = entered, ""
            for details in ("lambdaFunctionFailedEventDetails", "taskFailedEventDetails"):
                if (name := event.get(details, {}).get("error")) in REFUSALS:
                    refusal = name
        return [*found, (state, refusal, None)] if refusal else found

    @property
    def transitions(self) -> int:
        """What AWS charges for: states entered, and retries."""
        return len(self.states) + len(self.pauses)


class Run:
    """One call of a function that stops before each of its own calls to AWS, until `step` is called.

    Attributes
    ----------
    due
        The call that it will make next; None: it has ended.
    answer
        What it returned or raised.
    """

    def __init__(self, world: World, function: str, event: Any) -> None:
        self._world = world
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._closing = False
        self.due: Call | None = None
        self.answer: Any = None
        self.ended = False
        self.invocation = Invocation(function, None, event.get("state", {}).get("Name"), 0, event)
        self._thread = threading.Thread(target=self._work, name=function, daemon=True)
        self._thread.start()
        self.step()

    def _work(self) -> None:
        self._go.acquire()
        try:
            self.answer = self._world._run_handler(self.invocation, self)
        except Closed:
            pass
        finally:
            self.due, self.ended = None, True
            self._back.release()

    def step(self) -> None:
        """Make the call that is due, and run until the next one is."""
        with self._world.as_client():
            self._go.release()
            self._back.acquire()

    def finish(self) -> Any:
        """Run to the end; return the answer."""
        while not self.ended:
            self.step()
        return self.answer

    def close(self) -> None:
        """End the thread, as a function that is killed where it is."""
        self._closing = True
        if not self.ended:
            self.step()
        self._thread.join()

    def park(self, call: Call) -> None:
        """Give control back to whoever called `step`."""
        self.due = call
        environment = dict(os.environ)
        self._back.release()
        self._go.acquire()
        os.environ.clear()
        os.environ.update(environment)
        if self._closing:
            raise Closed


class _Inline:
    """A thread that has run when `start` returns: moto starts one per task only to watch a time-out that is skipped."""

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...] = (), daemon: bool = True) -> None:
        self._target, self._args = target, args

    def start(self) -> None:
        self._target(*self._args)

    def join(self, timeout: float | None = None) -> None:
        pass

    def is_alive(self) -> bool:
        return False


class LambdaContext:
    """What Lambda hands to a handler beside the event."""

    memory_limit_in_mb = 256
    function_version = "1"

    def __init__(self, function: str, request_id: str) -> None:
        self.function_name = f"hourbank-{function}-test"
        self.invoked_function_arn = function_arn(function)
        self.aws_request_id = request_id

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


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
            missing = [needed for needed in _needed(call) if needed not in self._permissions[function]]
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
        run = Run(self, function, event)
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
        attempt = execution._worker.env.states.context_object.context_object_data["State"]["RetryCount"]
        try:
            payload: Any = self.invoke(function, event, machine=execution.machine, state=state, attempt=attempt)
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
        assert execution.stopped_before, f"{execution.name} is not stopped"
        self.step(execution)
        self.settle()

    def expire(self, execution: Execution) -> None:
        """Let the wait of `execution` run out, however long it is, then settle.

        An answer that the stream has not delivered yet arrives after that, too late.
        """
        assert execution.waiting, f"{execution.name} does not wait"
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
        assert not problems, "\n".join(problems)

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

    def grant(self, user: str, hours: str | int) -> None:
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


def _audit(event: Any, context: Any) -> dict[str, Any]:
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
        raise client.exceptions.from_code(code)(answer, operation) from None


# --- what the program deploys -----------------------------------------------------------------------------------------

# in place of what a stack configures; other variables are as recorded
VALUES = {
    "SERVICE_REQUEST_TABLE_NAME": TABLES["ServiceRequest"],
    "ESCROW_TABLE_NAME": TABLES["Escrow"],
    "USER_BALANCE_TABLE_NAME": TABLES["UserBalance"],
    "TRANSACTION_LOG_TABLE_NAME": TABLES["TransactionLog"],
    "EVENT_BUS_NAME": BUS,
    "PROVIDER_RESPONSE_TIMEOUT_SECONDS": str(SEVEN_DAYS),
    "MINIMUM_RESPONSE_TIMEOUT_SECONDS": "60",
    "START_REQUESTS_FROM": "2026-01-01T00:00:00Z",
    "SERVICE_REQUEST_WORKFLOW_ARN": machine_arn("ServiceRequestWorkflow"),
    "ESCROW_MANAGEMENT_WORKFLOW_ARN": machine_arn("EscrowManagementWorkflow"),
    "POWERTOOLS_SERVICE_NAME": "hourbank-test",
    "POWERTOOLS_METRICS_NAMESPACE": "HourBank",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}


def definition_of(workflow: ModuleType) -> dict[str, Any]:
    """Return the definition that a module of `workflows` makes of exact versions of its functions."""
    return workflow.definition(functions={name: function_arn(name) for name in workflow.FUNCTIONS})


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


@dataclass(frozen=True)
class Deployment:
    """What the program says about its functions and its stream, as a recording of stack `dev` has it."""

    environment: dict[str, dict[str, str]]
    timeout_seconds: dict[str, int]
    permissions: dict[str, set[tuple[str, str]]]
    filters: list[dict[str, Any]]
    batch_size: int


@cache
def recorded() -> Deployment:
    """Return what the program deploys; evaluating it takes a second, once a process."""
    recording = recorder.record("dev")
    functions = {function.name: function.inputs for function in recording.of_type("Function")}
    [mapping] = recording.of_type("EventSourceMapping")
    return Deployment(
        environment={
            name: {key: VALUES.get(key, value) for key, value in inputs["environment"]["variables"].items()}
            for name, inputs in functions.items()
        },
        timeout_seconds={name: inputs["timeout"] for name, inputs in functions.items()},
        permissions={
            name: {
                (action, _subject(resource))
                for statement in json.loads(recording.named(f"{name}-policy").inputs["policy"])["Statement"]
                for action in _list(statement["Action"])
                for resource in _list(statement["Resource"])
            }
            for name in functions
        },
        filters=[json.loads(given["pattern"]) for given in mapping.inputs["filterCriteria"]["filters"]],
        batch_size=mapping.inputs["batchSize"],
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _subject(resource: str) -> str:
    """Return the model of a table's ARN or name, and nothing for anything else."""
    return next((name for name in TABLES if re.search(rf"(^|/){name}-[^/]*$", resource)), "")


def _needed(call: Call) -> Iterator[tuple[str, str]]:
    """Yield what a role must allow for a call, as (action, model)."""
    if call.service == "dynamodb" and call.operation in ("TransactGetItems", "TransactWriteItems"):
        for item in call.parameters["TransactItems"]:
            [(kind, access)] = item.items()
            yield f"dynamodb:{kind}Item", _subject(access["TableName"])
    elif call.operation == "BatchGetItem":
        yield from (("dynamodb:BatchGetItem", _subject(table)) for table in call.parameters["RequestItems"])
    elif call.service == "dynamodb":
        yield f"dynamodb:{call.operation}", _subject(call.parameters["TableName"])
    else:
        yield f"{'states' if call.service == 'stepfunctions' else call.service}:{call.operation}", ""
