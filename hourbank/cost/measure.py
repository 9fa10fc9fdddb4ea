"""The stories, played on the emulator by metered functions: what each request uses, and what an audit does."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handlers.bank.cursor import SHARES, Cursor
from hourbank.errors import HourBankError
from hourbank.local import deploy
from hourbank.local.deployment import Deployment
from hourbank.local.emulator import Emulator
from hourbank.local.functions import FunctionFailed, invoked
from hourbank.local.patience import Patience
from hourbank.names import workflow_name
from hourbank.stories import stories
from hourbank.stories.stage import Performance, Stage
from hourbank.stories.stories import STORIES, Story

# Together they call every function.
FIRST_STORIES = (
    stories.NOBODY_ANSWERS,
    stories.OFFER_ACCEPTED,
    stories.DECLINED,
    stories.NOT_ENOUGH_HOURS,
)
RECORDS = 200
# What Lambda itself writes about a call: https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
LAMBDA_LINES = (
    "START RequestId: 00000000-0000-0000-0000-000000000000 Version: 123\n"
    "END RequestId: 00000000-0000-0000-0000-000000000000\n"
    "REPORT RequestId: 00000000-0000-0000-0000-000000000000\tDuration: 123.45 ms\tBilled Duration: 124 ms\t"
    "Memory Size: 512 MB\tMax Memory Used: 123 MB\n"
)
EXECUTION_DATA = {"input", "output", "parameters", "error", "cause"}
Line = Mapping[str, Any]
Step = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a request, or an audit, uses.

    Attributes
    ----------
    transitions, invocations, events, traces : int
        States entered; calls of functions; events told to the bus; traces, where the stack has `tracing` and each is
        recorded.
    milliseconds : int
        That Lambda bills for all calls together, where each finds a process that is there.
    gb_seconds, cold_gb_seconds : float
        The same by the functions' memory; and what is added where each call starts a process.
    read, write : float
        DynamoDB's request units.
    printed_bytes, lambda_bytes, machine_bytes : int
        Of logs: what functions print, what Lambda says about their calls, and what machines say.
    """

    transitions: int
    invocations: int
    milliseconds: int
    gb_seconds: float
    cold_gb_seconds: float
    read: float
    write: float
    events: int
    traces: int
    printed_bytes: int
    lambda_bytes: int
    machine_bytes: int

    @property
    def log_bytes(self) -> int:
        return self.printed_bytes + self.lambda_bytes + self.machine_bytes


@dataclass(frozen=True, kw_only=True)
class Played:
    """A story: the states of its executions by machine, and what it used."""

    states: Mapping[str, Sequence[str]]
    usage: Usage


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a run has shown.

    Attributes
    ----------
    idle_audit : Usage
        A run of the auditor over empty tables.
    idle_week, audit : Usage
        A run that looks at all shares of a week, over empty tables, and over `records` requests that were completed.
    audit_metrics, metrics : int
        How many metrics of its own the auditor tells, and how many all functions do.
    record_bytes : float
        What a completed request takes in the four tables.
    """

    stories: Mapping[Story, Played]
    idle_audit: Usage
    idle_week: Usage
    audit: Usage
    records: int
    audit_metrics: int
    metrics: int
    record_bytes: float


def measure(step: Step) -> Measurement:
    """Play every story twice on an emulator of its own, and meter the second time.

    Raises
    ------
    HourBankError
        A story ended otherwise than it must, or met another on its way.
    """
    with Emulator() as emulator:
        with step("An emulator, and the program deployed to it, its functions metered"):
            meter = emulator.directory / "meter.jsonl"
            deployment = deploy.deploy(emulator, meter=meter)
        with step("The auditor, over empty tables"):
            audit(deployment)
            audit(deployment)
            idle = lines_of(meter)
            audit(deployment, past=True)
            week = lines_of(meter)[-1]
            deploy.grant_hours(deployment, stories.BALANCES)
        with step(f"{len(FIRST_STORIES)} stories, after which every function has a process"):
            play(deployment, FIRST_STORIES)
        with step(f"{len(STORIES)} stories, metered"):
            performances = play(deployment, STORIES)
            lines = complete_lines(meter, performances)
        with step(f"The auditor, over {RECORDS} completed requests"):
            completed = next(p for p in performances if p.record["status"] == "COMPLETED")
            size = multiply(deployment, completed.request_id)
            audit(deployment, past=True)
            full = lines_of(meter)[-1]
        used = Functions(lines)
        audits = [
            Functions([idle[0], line]).usage([line], transitions=0, machine_bytes=0, executions=0)
            for line in (idle[-1], week, full)
        ]
        return Measurement(
            stories={p.story: used.played(deployment, p) for p in performances},
            idle_audit=audits[0],
            idle_week=audits[1],
            audit=audits[2],
            records=RECORDS,
            audit_metrics=len(metrics_of(idle)),
            metrics=len(metrics_of([*lines, full])),
            record_bytes=size,
        )


def play(deployment: Deployment, played: Iterable[Story]) -> list[Performance]:
    """Play stories to their ends, one after the other: two at once may share a call, and wait for each other's."""
    performances = []
    for story in played:
        (performance,) = Stage(deployment, [story]).play()
        if performance.problem:
            raise HourBankError(f"the story {story.title!r}: {performance.problem}")
        performances.append(performance)
    return performances


def audit(deployment: Deployment, *, past: bool = False) -> None:
    """Let the auditor run now; with `past` it looks at everything there is."""
    hour = int(time.time() // 3600)
    if past:
        place = Cursor(hour - SHARES + 1).text()
        name = f"hourbank-auditCursor-{deploy.STACK}"
        deployment.client("ssm").put_parameter(Name=name, Value=place, Type="String", Overwrite=True)
    try:
        invoked(deployment.client("lambda"), f"hourbank-auditLedger-{deploy.STACK}", {})
    except FunctionFailed as failed:
        raise HourBankError(f"the auditor failed: {failed}") from None
    if past and hour != int(time.time() // 3600):
        # it may have looked at the next hour's share too
        audit(deployment, past=True)


def lines_of(meter: Path) -> list[Line]:
    """What was metered until now."""
    return [json.loads(line) for line in meter.read_text(encoding="utf-8").splitlines()]


def complete_lines(meter: Path, performances: Sequence[Performance]) -> list[Line]:
    """Wait until the router has written down each of its calls, which may be the last to end."""
    wanted = {p.request_id: 1 + len(p.story.turns) for p in performances}
    patience = Patience()
    while True:
        lines = lines_of(meter)
        routed = [id_ for line in lines if "routeServiceRequest" in line["function"] for id_ in line["requests"]]
        if all(routed.count(request_id) >= count for request_id, count in wanted.items()):
            return lines
        if patience.is_over(len(lines)):
            raise HourBankError("the stream's reader did not meter all of its calls: was it ended?")
        time.sleep(0.05)


def multiply(deployment: Deployment, request_id: str) -> float:
    """Empty the tables, put `RECORDS` copies of a completed request there, and return the bytes that one takes."""
    from hourbank.local.processes.meter import size_of

    dynamodb, copies, size = deployment.client("dynamodb"), [], 0
    for key in ("serviceRequest", "escrow", "transactionLog"):
        table = deployment.tables[key]
        items = [item for page in dynamodb.get_paginator("scan").paginate(TableName=table) for item in page["Items"]]
        own = [item for item in items if item["id"]["S"].startswith(request_id)]
        size += sum(map(size_of, own))
        copies += [(table, {"DeleteRequest": {"Key": {"id": item["id"]}}}) for item in items]
        for number in range(RECORDS):
            copy_id = f"{number:08}{request_id[8:]}"
            text = json.dumps(own).replace(request_id, copy_id)
            copies += [(table, {"PutRequest": {"Item": item}}) for item in json.loads(text)]
    for first in range(0, len(copies), 25):
        requests: dict[str, list[Any]] = {}
        for table, write in copies[first : first + 25]:
            requests.setdefault(table, []).append(write)
        dynamodb.batch_write_item(RequestItems=requests)
    return size


def metrics_of(lines: Sequence[Line]) -> set[str]:
    """The metrics that functions have told, each with its dimensions: what CloudWatch counts."""
    return {json.dumps(metric) for line in lines for metric in line["metrics"]}


def gb_seconds(line: Line, milliseconds: Mapping[str, int]) -> float:
    return milliseconds[line["function"]] / 1000 * line["memory"] / 1024


class Functions:
    """What the functions of a run took.

    One call says little on a machine that does other things as well: a function's time is the median of its calls,
    those apart that started a process.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.warm: dict[str, int] = {}
        self.cold: dict[str, int] = {}
        for function in {line["function"] for line in lines}:
            own = [line for line in lines if line["function"] == function]
            warm = [line["milliseconds"] for line in own if "initialisation" not in line]
            if not warm:
                raise HourBankError(f"{function} had a new process for each call: try again on a quieter machine")
            started = [line["initialisation"] + line["milliseconds"] for line in own if "initialisation" in line]
            self.warm[function] = math.ceil(statistics.median(warm))
            self.cold[function] = max(0, math.ceil(statistics.median(started)) - self.warm[function])

    def played(self, deployment: Deployment, performance: Performance) -> Played:
        """Return what a story took.

        Raises
        ------
        HourBankError
            A state was tried again, or a write was refused: that is not what the path costs.
        """
        own = [line for line in self.lines if performance.request_id in line["requests"]]
        executions = deployment.executions(performance.request_id)
        states = {workflow_name(machine): path for machine, path in performance.paths}
        histories = {arn: deployment.history(arn) for arn in (one["executionArn"] for one in executions)}
        types = Counter(event["type"] for history in histories.values() for event in history)
        tried = types["TaskScheduled"] + types["LambdaFunctionScheduled"]
        if tried != types["TaskStateEntered"] or any(line["refused"] for line in own):
            raise HourBankError(
                f"the story {performance.story.title!r} tried something twice: try again on a quieter machine"
            )
        return Played(
            states=states,
            usage=self.usage(
                own,
                transitions=sum(map(len, states.values())),
                machine_bytes=sum(logged_bytes(*item) for item in histories.items()),
                executions=len(executions),
            ),
        )

    def usage(self, lines: Sequence[Line], *, transitions: int, machine_bytes: int, executions: int) -> Usage:
        """Return what these calls used; of the router, and of the auditor, each call is a trace of its own."""
        alone = sum(not line["in_execution"] for line in lines)
        return Usage(
            transitions=transitions,
            invocations=len(lines),
            milliseconds=sum(self.warm[line["function"]] for line in lines),
            gb_seconds=sum(gb_seconds(line, self.warm) for line in lines),
            cold_gb_seconds=sum(gb_seconds(line, self.cold) for line in lines),
            read=sum(line["read"] for line in lines),
            write=sum(line["write"] for line in lines),
            events=sum(line["events"] for line in lines),
            traces=executions + alone,
            printed_bytes=sum(line["printed"] for line in lines),
            lambda_bytes=len(lines) * len(LAMBDA_LINES),
            machine_bytes=machine_bytes,
        )


def logged_bytes(execution_arn: str, history: Sequence[Mapping[str, Any]]) -> int:
    """Bytes of what a machine logs of an execution at level ALL without execution data: a line of JSON an event.

    https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
    """
    lines = []
    for event in history:
        details = next((value for name, value in event.items() if name.endswith("Details")), {})
        line = {
            "id": str(event["id"]),
            "type": event["type"],
            "details": {name: value for name, value in details.items() if name not in EXECUTION_DATA},
            "redrive_count": "0",
            "previous_event_id": str(event["id"] - 1),
            "event_timestamp": "1790000000000",
            "execution_arn": execution_arn,
        }
        lines.append(json.dumps(line))
    return sum(map(len, lines))
