"""Both workflows in one process with time skipped: real definitions, real handlers, DynamoDB and Step Functions.

A `World` holds four tables, two state machines and whatever runs in them; `deployed()` makes one of what the program
deploys. Nothing happens by itself: `World.settle` lets executions run and hands the table's stream to the router until
all is quiet, `World.expire` lets a wait run out. Each execution has a thread, but exactly one thread runs at any time,
so every run is the same run.

Handlers are called as Lambda would call them: an event that went through JSON, a context, their own environment
variables, and errors that come back as `errorType` and `errorMessage`. `World.on_invoke` and `World.on_call` may raise
in place of a function or of one call to AWS, before or after its effect; `World.on_deliver` may change what the stream
delivers. A `SteppedCall` is a function that stops before each of its calls, so that two can be interleaved.

After each write the laws of `hourbank.laws` are checked; `World.settle` raises what was broken.

A world is one class, in one file: whatever happens in it, a call, a step, a delivery or a person's write, happens to
the same tables at the same clock, and each part would need all the others.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

from boto3.dynamodb.types import TypeSerializer
from botocore.client import BaseClient

from handlers.aws import dynamodb
from handlers.bank import requests
from handlers.bank.audit import Audit
from handlers.bank.ledger import explain
from hourbank.laws import (
    OPENING,
    Item,
    Ledger,
    balance_told,
    decided_by_nobody,
    entries_of_nothing,
    entries_that_do_not_add_up,
    grants_out_of_place,
    held_for_others,
    hours_held_for_nobody,
    hours_lost,
    hours_of_others,
    illegal_hours,
    illegal_transition,
    tokens_outside_a_wait,
    told_to_others,
    told_too_early,
)
from hourbank.simulate.engine import Machines
from hourbank.simulate.executions import (
    Call,
    Invocation,
    Killed,
    LambdaContext,
    LambdaError,
    Moment,
    SimulatedExecution,
    SteppedCall,
)
from hourbank.simulate.expressions import DynamoDBRefusal
from hourbank.simulate.program import (
    ACCOUNT,
    KEYS,
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
from hourbank.simulate.tables import LARGEST_ITEM, Row, Tables, plain_value, raised
from workflows import WORKFLOWS


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
    ) -> None:
        self._definitions = definitions
        self._environment = environment
        self._filters = list(filters)
        self._handlers = {"auditLedger": self._audit_ledger, **(handlers or {})}
        self._permissions = permissions
        self._legal = legal
        self._router = router
        self._batch_size = batch_size
        self._times = times
        self._run: SteppedCall | None = None
        self._context: LambdaContext | None = None
        self._runs: list[SteppedCall] = []
        self._stack = ExitStack()
        self._machines = Machines(self._invoke_for_step_functions)
        self.tables = Tables(KEYS, self._on_change)
        self._variables = sorted({name for variables in environment.values() for name in variables})
        self._ledger: Ledger | None = None
        self._lawful: tuple[Ledger, int] | None = None
        self._deleted_in_progress: set[str] = set()
        self._sequence = 0
        self.clock = datetime.now(UTC)
        self._pending: list[dict[str, Any]] = []
        self._stop_before: str | None = None
        self._invocation: Invocation | None = None
        self._call_index = 0
        self.invocations: list[Invocation] = []
        self.calls: list[Call] = []
        self.events: list[dict[str, Any]] = []
        self.redelivered: list[dict[str, Any]] = []
        self.dead_letters: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.beside: dict[str, Decimal] = {}
        self._grants = 0
        self.legacy: set[str] = set()
        self._asked: dict[Any, set[Decimal]] = {}
        self.is_stream_read = True
        self._escrows_seen: set[str] = set()
        # by request: the statuses that its row has had, and those that handlers wrote to it
        self._statuses_seen: defaultdict[Any, set[Any]] = defaultdict(set)
        self.written: defaultdict[Any, list[Any]] = defaultdict(list)
        self.on_invoke: Callable[[Invocation, Moment], None] | None = None
        self.on_pause: Callable[[], bool] | None = None
        self.on_call: Callable[[Call, Moment], Any] | None = None
        self.on_deliver: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] | None = None

    # --- life

    def __enter__(self) -> World:
        self._stack.enter_context(self._machines)
        for target, name, value in (
            (time, "sleep", self._sleep(time.sleep)),
            (BaseClient, "_make_api_call", self._make_api_call),
            (dynamodb, "now", self._now),
        ):
            self._stack.enter_context(mock.patch.object(target, name, value))
        for name, definition in self._definitions.items():
            self._machines.put(name, definition)
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            run.close()
        self._stack.close()

    @property
    def executions(self) -> list[SimulatedExecution]:
        """All executions there ever were, in the order of their starts."""
        return self._machines.executions

    @property
    def remembered(self) -> list[SimulatedExecution]:
        """The executions that are not forgotten; see `free_names`."""
        return self._machines.remembered

    def redeploy(self) -> None:
        """Publish version 2, 3, ... of every function, and definitions that name it, as a deploy does."""
        self._machines.version += 1
        for name, definition in self._definitions.items():
            newer = json.dumps(definition).replace('-test:1"', f'-test:{self._machines.version}"')
            self._machines.put(name, json.loads(newer))

    def free_names(self) -> None:
        """Let the names of all executions that have ended be free again, as after 90 days."""
        self._machines.forget()

    def _sleep(self, sleep: Callable[[float], None]) -> Callable[[float], None]:
        def pause(seconds: float) -> None:
            if self._context:
                self._context.pause()
            else:
                sleep(seconds)

        return pause

    # --- functions

    @property
    def _make_api_call(self) -> Callable[[BaseClient, str, dict[str, Any]], Any]:
        def make_api_call(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
            service = client.meta.service_model.service_name
            try:
                if self._invocation is None:
                    return self._answer(service, operation, parameters)
                return self._call(Call(self._invocation, self._call_index, service, operation, parameters))
            except DynamoDBRefusal as refusal:
                raise raised(client, operation, refusal) from None

        return make_api_call

    def _answer(self, service: str, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        engine = {"dynamodb": self.tables.answer, "stepfunctions": self._machines.answer}[service]
        return engine(operation, parameters)

    def _call(self, call: Call) -> Any:
        self._call_index += 1
        self.calls.append(call)
        self._check_permission(call)
        self._park_run(call)
        answer = self.on_call(call, "before") if self.on_call else None
        if answer is None and call.service == "events":
            answer = self._put_events(call)
        elif answer is None:
            answer = self._answer(call.service, call.operation, call.parameters)
            if call.operation in ("TransactWriteItems", "UpdateItem"):
                self._check_laws(call.invocation)
        if self.on_call:
            self.on_call(call, "after")
        return answer

    def _park_run(self, call: Call) -> None:
        if self._run:
            mine, variables = (self._invocation, self._call_index, self._run, self._context), self._environ()
            self._run.park(call)
            self._invocation, self._call_index, self._run, self._context = mine
            self._become(variables)

    def _environ(self) -> dict[str, str | None]:
        return {name: os.environ.get(name) for name in self._variables}

    @staticmethod
    def _become(variables: Mapping[str, str | None]) -> None:
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            elif os.environ.get(name) != value:
                os.environ[name] = value

    def _put_events(self, call: Call) -> dict[str, Any]:
        told = [{**entry, "Detail": json.loads(entry["Detail"])} for entry in call.parameters["Entries"]]
        owner = call.invocation.event["execution"]["Id"]
        for event in told:
            self.problems += told_too_early(self.ledger(), event, owner, self._legal or {})
            self.problems += told_to_others(event, self.events, self._statuses_seen[event["Detail"]["requestId"]])
        self.events += told
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in told]}

    def _check_laws(self, invocation: Invocation) -> None:
        ledger, ended = self.ledger(), sum(execution.ended for execution in self.executions)
        if self._lawful and self._lawful[0] is ledger and self._lawful[1] == ended:
            return
        self._lawful = ledger, ended
        problems = self.broken_laws()
        for key in ledger.escrows.keys() - self._escrows_seen - self.legacy:
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

    def begin(self, function: str, event: Any) -> SteppedCall:
        """Call a handler, and stop before its first call to AWS."""
        run = SteppedCall(function, event, self._run_handler, self.as_client)
        self._runs.append(run)
        return run

    def _run_handler(self, invocation: Invocation, run: SteppedCall | None = None) -> Any:
        """Return what the handler returns or raises."""
        event = json.loads(json.dumps(invocation.event))
        context = LambdaContext(invocation.function, f"invocation-{len(self.invocations)}")
        handler = self.handler(invocation.function)
        variables = self._environ()
        self._become(self._environment.get(invocation.function, {}))
        outer = self._invocation, self._call_index, self._run, self._context
        self._invocation, self._call_index, self._run, self._context = invocation, 0, run, context
        try:
            return json.loads(json.dumps(handler(event, context)))
        except Killed:
            return LambdaError("Runtime.ExitError", "The function was killed")
        except Exception as error:  # noqa: BLE001  raised by whoever called
            return error
        finally:
            self._invocation, self._call_index, self._run, self._context = outer
            self._become(variables)
            self._check_laws(invocation)

    def _invoke_for_step_functions(self, parameters: dict[str, Any]) -> dict[str, Any]:
        execution = SimulatedExecution.current()
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
            if at_once := next((execution for execution in runnable if not execution.is_pausing), None):
                self._resume(at_once)
            elif not self.deliver():
                # the world goes on while an execution pauses before it tries again
                if not runnable:
                    break
                if not (self.on_pause and self.on_pause()):
                    self._resume(runnable[0])
        self._stop_before = None
        self.assert_lawful()

    def go_a_stretch(self, execution: SimulatedExecution) -> None:
        """Let one execution run until it waits, stops, ends, or pauses before it tries something again."""
        self._resume(execution)

    def step(self, execution: SimulatedExecution) -> None:
        """Let one execution run until it waits, stops or ends, whatever it waits for, its pauses skipped."""
        self._resume(execution)
        while execution.is_pausing:
            self._resume(execution)

    def _resume(self, execution: SimulatedExecution) -> None:
        before = execution.seconds
        execution.resume()
        self.clock += timedelta(seconds=execution.seconds - before)
        if execution.ended:
            self.problems += [f"after {execution.name}: {problem}" for problem in self.broken_laws()]

    def go_on(self, execution: SimulatedExecution) -> None:
        """Let an execution that `settle(until=...)` stopped run on, then settle."""
        if not execution.stopped_before:
            raise ValueError(f"{execution.name} is not stopped")
        self.step(execution)
        self.settle()

    def expire(self, execution: SimulatedExecution) -> None:
        """Let the wait of `execution` run out, however long it is, then settle.

        An answer that the stream has not delivered yet arrives after that, too late.
        """
        if not execution.waiting:
            raise ValueError(f"{execution.name} does not wait")
        self.step(execution)
        self.settle()

    def redrive(self, execution: SimulatedExecution) -> None:
        """Let a failed or stopped execution go on where it ended, then settle."""
        execution.redrive()
        self.settle()

    def stop(self, execution: SimulatedExecution, status: str = "ABORTED") -> None:
        """End an execution from outside; a function that runs, runs on."""
        execution.stop(status)

    @property
    def changes(self) -> int:
        """How often a request was written so far."""
        return self._sequence

    def audit(self, *, touch: bool = True, again: bool = False, later: timedelta = timedelta(hours=1)) -> AuditReport:
        """Let the auditor look at the tables as it would in a while; what it touches is in the stream then."""
        self.clock += later
        found = self.invoke("auditLedger", {"touch": touch, "again": again})
        about = [finding for finding in found["findings"] if finding["model"] == "ServiceRequest"]
        problems, remedies = ({f["key"]: f[key] for f in about} for key in ("problem", "remedy"))
        others = {(f["model"], f["key"]): f["problem"] for f in found["findings"] if f not in about}
        return AuditReport(problems, found["missed"], remedies, others)

    def _audit_ledger(self, event: Any, _context: Any) -> dict[str, Any]:
        """Stand in for the auditor's handler, which cannot be told the time."""
        audit = Audit(touch=event["touch"], again=event["again"], now=self.clock)
        findings = [
            {"model": found.model, "key": found.key, "problem": found.problem, "remedy": found.remedy}
            for found in audit.findings()
            if found.kind != "UNCONFIRMED"
        ]
        return {"findings": findings, "missed": audit.missed}

    def _now(self) -> str:
        """Return the time as Amplify writes it; no two moments are the same."""
        self.clock += timedelta(milliseconds=1)
        return dynamodb.date_time(self.clock)

    def assert_lawful(self) -> None:
        """Raise AssertionError with every law that was broken so far."""
        problems, self.problems = self.problems, []
        if problems:
            raise AssertionError("\n".join(problems))

    # --- the stream

    def _note_status(self, old: Row | None, new: Row | None) -> None:
        key = (old or new or Row({})).plain.get("id")
        before, after = old.plain.get("status") if old else None, new.plain.get("status") if new else None
        if old is None or new is None:
            self.written[key].clear()
        if isinstance(after, str):
            self._statuses_seen[key].add(after)
            if self._invocation and after != before:
                self.written[key].append(after)

    def _on_change(self, table: str, old: Row | None, new: Row | None) -> None:
        self._ledger = None
        if table != TABLES["ServiceRequest"]:
            return
        self._sequence += 1
        asked = self._asked.setdefault((old or new or Row({})).plain.get("id"), set())
        asked |= {value for value in (new.plain.values() if new else ()) if isinstance(value, Decimal)}
        self._note_status(old, new)
        images = {"OldImage": old, "NewImage": new}
        written = old or new
        change: dict[str, Any] = {
            "ApproximateCreationDateTime": self.clock.timestamp(),
            "Keys": {"id": written.image["id"]} if written else {},
            "SequenceNumber": str(self._sequence),
            "SizeBytes": sum(row.size for row in images.values() if row),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            **{name: streamed(row.image) for name, row in images.items() if row},
        }
        if self._invocation and self._legal is not None and new:
            before, after = old.plain if old else {}, new.plain
            broken = illegal_transition(before.get("status"), after.get("status"), self._legal)
            broken += balance_told(before, after, asked)
            if not _is_ordered(self._invocation):
                broken += decided_by_nobody(before, after, self._invocation.state)
            self.problems += [f"{self._invocation.function}: {problem}" for problem in broken]
        self._pending.append(
            {
                "eventID": str(self._sequence),
                "eventName": "MODIFY" if old and new else "INSERT" if new else "REMOVE",
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": REGION,
                "dynamodb": change,
                "eventSourceARN": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}/stream/1",
            }
        )

    def deliver(self, at_most: int | None = None) -> bool:
        """Hand the next batch of the stream to the router; return whether anything was there.

        A batch that fails is tried once more from its first failure on, then that record goes to `dead_letters`.
        """
        if not self.is_stream_read:
            return False
        # a table's stream keeps a record for a day
        oldest = (self.clock - timedelta(days=1)).timestamp()
        self._pending = [r for r in self._pending if r["dynamodb"]["ApproximateCreationDateTime"] >= oldest]
        if self.on_deliver:
            self._pending = self.on_deliver(self._pending)
        if not self._pending or not self.is_stream_read:
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
        self._pending.clear()

    def _route(self, batch: list[dict[str, Any]], attempt: int) -> dict[str, Any] | None:
        try:
            answer = self.invoke(self._router, {"Records": batch}, attempt=attempt)
        except Exception:  # noqa: BLE001  as Lambda does
            return batch[0]
        failures = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        return next((record for record in batch if record["dynamodb"]["SequenceNumber"] in failures), None)

    # --- tables

    def ledger(self) -> Ledger:
        """Return the tables as they are now, which nobody may change."""
        if self._ledger is None:
            self._ledger = Ledger(
                *({key: row.plain for key, row in self.tables.tables[TABLES[name]].rows.items()} for name in TABLES)
            )
        return self._ledger

    def snapshot(self) -> Callable[[], None]:
        """Return what takes the tables back to what they are now; executions go on."""
        kept = {name: dict(table.rows) for name, table in self.tables.tables.items()}

        def restore() -> None:
            for name, rows in kept.items():
                self.tables.tables[name].rows = dict(rows)
            self._ledger = None
            self._pending.clear()
            self.events.clear()
            self.written.clear()
            self._escrows_seen = set(self.ledger().escrows)

        return restore

    def broken_laws(self, ledger: Ledger | None = None) -> list[str]:
        """Return every law that does not hold right now, in words."""
        ledger = ledger or self.lawful_ledger()
        ended = {execution.arn: execution.status for execution in self.remembered if execution.ended}
        return [
            *hours_lost(ledger, self.beside),
            *entries_that_do_not_add_up(ledger, self.beside),
            *grants_out_of_place(ledger),
            *entries_of_nothing(ledger),
            *hours_of_others(ledger),
            *illegal_hours(ledger),
            *hours_held_for_nobody(ledger, ended, self._deleted_in_progress),
            *tokens_outside_a_wait(ledger, ended),
        ]

    @contextmanager
    def as_client(self) -> Iterator[None]:
        """Call AWS as people and apps do, also from a hook within a function's call."""
        outer = self._invocation, self._call_index, self._run, self._context
        self._invocation = self._run = self._context = None
        variables = self._environ()
        try:
            yield
        finally:
            self._invocation, self._call_index, self._run, self._context = outer
            self._become(variables)

    @staticmethod
    def _dated(table: str, now: str, item: Mapping[str, Any]) -> dict[str, Any]:
        return {"__typename": table, "createdAt": now, "updatedAt": now, **item}

    def room_in(self, item: Mapping[str, Any]) -> int:
        """Return how many bytes more a request would hold that is created so."""
        return LARGEST_ITEM - Row(typed(self._dated("ServiceRequest", self._now(), item))).size

    def put_legacy(self, table: str, item: Mapping[str, Any]) -> None:
        """Write a row that none of ours has written, of a request or person that the laws leave out of account."""
        self.legacy |= {str(item.get("id", "")).split("#")[0] or str(item["userId"])}
        self.put(table, item)

    def lawful_ledger(self) -> Ledger:
        """Return the tables without the rows that none of ours has written."""
        ledger = self.ledger()
        if not self.legacy:
            return ledger
        tables = (ledger.requests, ledger.escrows, ledger.balances, ledger.log)
        return Ledger(*({k: row for k, row in rows.items() if k.split("#")[0] not in self.legacy} for rows in tables))

    def grant(self, user: str, hours: Decimal | str | int, reason: str = "") -> str:
        """Let grantHours give `user` hours, by default for a reason of their own; return what it answers.

        No fault strikes it, and it counts among no function's calls.
        """
        self._grants += 1
        event = {"userId": user, "hours": str(hours), "reason": reason or f"grant {self._grants}"}
        on_call, made, self.on_call = self.on_call, len(self.calls), None
        try:
            with self.as_client():
                answer = self._run_handler(Invocation("grantHours", None, None, 0, event))
        finally:
            self.on_call = on_call
            del self.calls[made:]
        if isinstance(answer, BaseException):
            raise answer
        return answer["outcome"]

    def give(self, user: str, hours: Decimal | str | int) -> None:
        """Give `user` hours to spend by a raw write, which leaves no trace in the log; below 0, they are taken away."""
        self.beside[user] = self.beside.get(user, Decimal(0)) + Decimal(hours)
        self.put("UserBalance", {"userId": user, "availableBalance": self.ledger().balance(user) + Decimal(hours)})

    def open_books(self, user: str) -> None:
        """Enter what `user` was given beside the log as an opening balance, as an operator does."""
        if not (difference := self.ledger().unexplained().get(user)):
            return
        number = sum(entry.get("reason", "").startswith(OPENING) for entry in self.ledger().log.values())
        with self.as_client():
            self._become(self._environment["grantHours"])
            explain(user, self.ledger().balances.get(user), difference, f"{OPENING} {number}")
        self.beside[user] = Decimal(0)

    def put(self, table: str, item: Mapping[str, Any]) -> None:
        """Write an item as Amplify's create does: with its type's name and both dates."""
        now = self._now()
        row = self._dated(table, now, item)
        with self.as_client():
            self._answer("dynamodb", "PutItem", {"TableName": TABLES[table], "Item": typed(row)})

    def submit(self, request_id: str, **values: Any) -> None:
        """Create a request as Amplify does for its requester, with explicit nulls for what nobody has said yet.

        Without `values`, ann asks bob for 3 hours.
        """
        self.put("ServiceRequest", self.row_of(request_id, **values))

    @staticmethod
    def row_of(request_id: str, **values: Any) -> Item:
        """Return a request as its requester creates it; see `submit`."""
        unsaid = ("status", "providerResponse", "counterOfferHours", "requesterResponse", "failureReason")
        row = {"id": request_id, "serviceId": "gardening", "requesterId": "ann", "providerId": "bob"}
        return {**row, "estimatedHours": Decimal(3), **dict.fromkeys(unsaid), **values}

    def update(self, request_id: str, **values: Any) -> None:
        """Change fields of a request as a client does through Amplify's update, which says when."""
        values = {"updatedAt": self._now()} | values
        names = {f"#{i}": name for i, name in enumerate(values)}
        with self.as_client():
            asked = {
                "TableName": TABLES["ServiceRequest"],
                "Key": typed({"id": request_id}),
                "UpdateExpression": "SET " + ", ".join(f"#{i} = :{i}" for i in range(len(values))),
                "ConditionExpression": "attribute_exists(id)",
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": typed({f":{i}": value for i, value in enumerate(values.values())}),
            }
            self._answer("dynamodb", "UpdateItem", asked)

    def delete(self, request_id: str) -> None:
        """Remove a request's record, as nobody but an administrator can."""
        if self.ledger().requests[request_id].get("status") == "IN_PROGRESS":
            self._deleted_in_progress.add(request_id)
        with self.as_client():
            asked = {"TableName": TABLES["ServiceRequest"], "Key": typed({"id": request_id})}
            self._answer("dynamodb", "DeleteItem", asked)

    def start(self, machine: str, name: str, event: Mapping[str, Any]) -> SimulatedExecution:
        """Start an execution by hand; it runs at the next `settle`."""
        with self.as_client():
            asked = {"stateMachineArn": machine_arn(machine), "name": name, "input": json.dumps(event)}
            self._answer("stepfunctions", "StartExecution", asked)
        return next(e for e in reversed(self.executions) if e.name == name)

    def execution(self, name: str) -> SimulatedExecution:
        """Return the execution called `name`."""
        return next(execution for execution in self.executions if execution.name == name)


@dataclass(frozen=True)
class AuditReport:
    """What an audit found.

    The problem of each request by its id, how many records the stream had missed, remedies, and the problem of each
    other row by its model and key.
    """

    findings: dict[str, str]
    missed: int
    remedies: dict[str, str]
    others: dict[tuple[str, str], str]


def streamed(value: Any) -> Any:
    """Return an image as it is in a stream's event, which is JSON: bytes are base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {name: streamed(part) for name, part in value.items()}
    return [streamed(part) for part in value] if isinstance(value, list) else value


def plain(image: Mapping[str, Any]) -> Item:
    """Return DynamoDB's typed JSON as plain Python values."""
    return {name: plain_value(value) for name, value in image.items()}


def typed(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain Python values as DynamoDB's typed JSON."""
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in item.items()}


def _is_ordered(invocation: Invocation) -> bool:
    """Whether an operator's word is behind a call."""
    return "decision" in invocation.event.get("execution", {}).get("Input", {})


def deployed(**more: Any) -> World:
    """Return a world of both workflows, with the environment and the filters that the program gives them.

    `more` replaces arguments of `World`.
    """
    program = recorded()
    arguments: dict[str, Any] = {
        "definitions": {name: definition_of(workflow) for name, workflow in WORKFLOWS.items()},
        "environment": program.environment,
        "filters": program.filters,
        "permissions": program.permissions,
        "legal": {None: requests.TRANSITIONS["PENDING"], **requests.TRANSITIONS},
        "batch_size": program.mapping["batchSize"],
    }
    return World(**{**arguments, **more})
