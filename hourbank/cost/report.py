"""`hourbank cost`: what a request costs on AWS, path by path, and what a month costs in which nothing happens.

Every path is played on the emulator by the real functions, metered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from handlers.bank.cursor import SHARES
from hourbank.cost import prices, recorded
from hourbank.cost.measure import Measurement, Usage, measure
from hourbank.program import recorder
from hourbank.program.recorder import Recording
from hourbank.program.resource_types import known
from hourbank.stories.stories import STORIES, Story
from hourbank.terminal import show, step

REQUESTS = 1000
SLOWER = (2, 5)
KB, GB = 1000, 10**9
MEASURED = (
    "Write units are the emulator's, which counts them as AWS does; read units are counted by AWS's rule.",
    "Task tokens are as long as AWS may make them, 2,048 characters.",
    "Nothing of this was measured on AWS.",
)
NEVER_COUNTED = (
    "Amplify's own: AppSync for people's writes and reads, indexes but those of amplify/, backups",
    "the mutation for each event where the stack has appsyncEndpoint; what a listener of your own on the bus does",
    "log storage ($0.03 a GB and month), free tiers, data transfer between regions",
)
NOT_COUNTED = (
    *NEVER_COUNTED,
    "the mail for each event where the stack has notifyFrom: SES, a call of a function, the queue, two writes",
)


@dataclass(frozen=True, kw_only=True)
class PathCost:
    """The path of a story, what it uses, and dollars for one request by what is paid for."""

    story: Story
    usage: Usage
    parts: dict[str, float]

    @property
    def dollars(self) -> float:
        """For one request."""
        return sum(self.parts.values())


@dataclass(frozen=True, kw_only=True)
class Idle:
    """A part of a month in which nothing happens."""

    what: str
    count: str
    dollars: float


@dataclass(frozen=True, kw_only=True)
class CostReport:
    """Everything that the command says."""

    paths: list[PathCost]
    idle: list[Idle]
    records: list[Idle]
    """What 1,000 requests that were ever made add to every month."""
    measurement: Measurement
    memory: list[int]
    """Of the functions, in MB."""


def report(measurement: Measurement, recording: Recording) -> CostReport:
    """Price what was measured; what is declared comes from the recording."""
    return CostReport(
        paths=[path_cost(story, measurement.stories[story].usage) for story in STORIES],
        idle=list(idle_month(measurement, recording)),
        records=list(records_month(measurement)),
        measurement=measurement,
        memory=sorted({function.inputs["memorySize"] for function in recording.of_type("Function")}),
    )


def path_cost(story: Story, usage: Usage) -> PathCost:
    return PathCost(story=story, usage=usage, parts=parts(usage))


def parts(usage: Usage, *, slower: float = 1, cold: bool = False) -> dict[str, float]:
    """Dollars by what is paid for; with functions that take that many times as long, or that start a process each."""
    gb_seconds = slower * (usage.gb_seconds + (usage.cold_gb_seconds if cold else 0))
    return {
        "transitions": usage.transitions * prices.TRANSITION.each,
        "invocations": usage.invocations * prices.INVOCATION.each,
        "time": gb_seconds * prices.GB_SECOND.each,
        "reads": usage.read * prices.READ.each,
        "writes": usage.write * prices.WRITE.each,
        "events": usage.events * prices.EVENT.each,
        "logs": usage.log_bytes / GB * prices.LOG_GB.each,
    }


def idle_month(measurement: Measurement, recording: Recording) -> Iterator[Idle]:
    """What is paid although nobody asks for anything."""
    for type_, price in prices.MONTHLY.items():
        if count := len(recording.of_type(type_)):
            yield Idle(what=f"{known(type_).word}s", count=str(count), dollars=count * price.each)
    metrics = measurement.audit_metrics
    yield Idle(
        what="metrics that the auditor tells every hour", count=str(metrics), dollars=metrics * prices.METRIC.each
    )
    run = sum(parts(measurement.idle_audit, cold=True).values()) + prices.SCHEDULE.each
    hours = prices.HOURS_A_MONTH
    yield Idle(
        what="the auditor, each hour in a new process, over empty tables", count=f"{hours} runs", dollars=run * hours
    )
    free = (
        "state machines, functions and versions, bus, queue, parameter, roles; the stream's reader, which Lambda runs"
    )
    yield Idle(what=free, count="", dollars=0)


def records_month(measurement: Measurement) -> Iterator[Idle]:
    """What records add to a month: the auditor looks at each of them once a week, however old."""
    share = REQUESTS / measurement.records
    reads = (measurement.audit.read - measurement.idle_week.read) * share
    weeks = prices.HOURS_A_MONTH / SHARES
    yield Idle(
        what="the auditor looks at them every week",
        count=f"{reads:,.0f} units a week",
        dollars=reads * weeks * prices.READ.each,
    )
    seconds = max(0.0, measurement.audit.gb_seconds - measurement.idle_week.gb_seconds) * share
    yield Idle(
        what="and takes its time", count=f"{seconds:.2f} GB-s a week", dollars=seconds * weeks * prices.GB_SECOND.each
    )
    size = measurement.record_bytes * REQUESTS
    yield Idle(what="DynamoDB stores them", count=f"{size / KB:,.0f} KB", dollars=size / GB * prices.STORED_GB.each)


def to_json(priced: CostReport) -> dict[str, Any]:
    """The report as plain values; dollars of a path are for one request."""

    def of_path(cost: PathCost) -> dict[str, Any]:
        return {
            "name": cost.story.outcome,
            "states": {
                machine: list(states) for machine, states in priced.measurement.stories[cost.story].states.items()
            },
            "usage": asdict(cost.usage),
            "dollars": cost.parts | {"all": cost.dollars},
            "dollarsWhenCold": sum(parts(cost.usage, cold=True).values()),
            "dollarsOfTraces": cost.usage.traces * prices.TRACE.each,
        }

    return {
        "region": prices.REGION,
        "prices": [asdict(price) for price in prices.TABLE],
        "memory": priced.memory,
        "paths": [of_path(cost) for cost in priced.paths],
        "idleMonth": [asdict(part) for part in priced.idle],
        "monthOf1000Records": [asdict(part) for part in priced.records],
        "audits": {key: value for key, value in recorded.plain(priced.measurement).items() if key != "stories"},
        "metricsOfABusyStack": priced.measurement.metrics,
        "notCounted": list(NOT_COUNTED),
    }


def cost(console: Console, progress: Console, *, as_json: bool) -> None:
    """Play every path, and print what it costs.

    Raises
    ------
    HourBankError
        A path could not be played, or not as it must be.
    """
    priced = report(measure(lambda text: step(progress, text)), recorder.record("dev", config=recorder.EXAMPLE))
    if as_json:
        console.file.write(json.dumps(to_json(priced), indent=1) + "\n")
        return
    print_report(console, priced)


def print_report(console: Console, priced: CostReport) -> None:
    """Print the report for a person."""

    def say(text: str = "") -> None:
        show(console, Text(text))

    accepted = priced.paths[0]
    say()
    show(console, paths_table(priced))
    say()
    show(console, parts_table(accepted))
    say()
    memory = " or ".join(map(str, priced.memory))
    say(
        f"Time is this machine's, not Lambda's: {accepted.usage.milliseconds} ms for {accepted.story.outcome}, billed "
        f"by the millisecond at {memory} MB. {REQUESTS:,} of these requests cost {dollars(accepted.dollars)}, and"
    )
    for factor in SLOWER:
        each = sum(parts(accepted.usage, slower=factor).values())
        say(f"    {dollars(each)} where Lambda takes {factor} times as long")
    each = sum(parts(accepted.usage, cold=True).values())
    say(f"    {dollars(each)} where every call starts a process: a request now and then")
    each = accepted.dollars + accepted.usage.traces * prices.TRACE.each
    say(f"    {dollars(each)} where the stack has tracing: {accepted.usage.traces} traces each, if all are recorded")
    say()
    show(console, idle_table("A month in which nothing happens", priced.idle))
    more = priced.measurement.metrics - priced.measurement.audit_metrics
    most = dollars(more * prices.METRIC.each, 1)
    say(
        f"Requests tell up to {more} metrics more, each paid for the hours in which it is told: at most {most} a month."
    )
    say()
    show(console, idle_table(f"What every {REQUESTS:,} requests ever made add to each month", priced.records))
    say()
    say(waiting(priced))
    say()
    console.print(f"Prices, {prices.REGION}, and when they were last compared with the page", style="bold")
    for price in prices.TABLE:
        say(f"{price.what}: {price.words} ({price.compared}, {price.page})")
    say()
    for note in (*MEASURED, *(f"Not counted: {what}." for what in NOT_COUNTED)):
        say(note)


def waiting(priced: CostReport) -> str:
    """What it costs to wait."""
    reads = (priced.measurement.audit.read - priced.measurement.idle_week.read) / priced.measurement.records
    day = reads * 24 * REQUESTS * prices.READ.each
    return (
        "A request that waits costs no transition, no call and no message, however long. The auditor looks at it "
        f"every hour, as it looks at an old one every week: {REQUESTS:,} that wait cost {dollars(day, 1)} a day."
    )


def dollars(each: float, times: int = REQUESTS) -> str:
    """Such as `$0.2412`; less than a hundredth of a cent is said to be that."""
    value = each * times
    if 0 < value < 0.0001:
        return "< $0.0001"
    return f"${value:.4f}" if value < 1 else f"${value:,.2f}"


def plain_table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", header_style="dim", no_wrap=number > 0)
    return table


def paths_table(priced: CostReport) -> Table:
    headings = ("", "transitions", "calls", "ms", "read", "write", "events", "price")
    table = plain_table(f"{REQUESTS:,} requests, by what becomes of them; the other figures are of one", *headings)
    for cost in priced.paths:
        usage = cost.usage
        table.add_row(
            cost.story.outcome,
            str(usage.transitions),
            str(usage.invocations),
            str(usage.milliseconds),
            f"{usage.read:g}",
            f"{usage.write:g}",
            str(usage.events),
            dollars(cost.dollars),
        )
    return table


def parts_table(cost: PathCost) -> Table:
    table = plain_table("What the first of them pays for", "", "", "share")
    for what, each in cost.parts.items():
        table.add_row(what, dollars(each), f"{each / cost.dollars:.0%}")
    return table


def idle_table(title: str, items: list[Idle]) -> Table:
    table = plain_table(title, "", "", "$")
    for part in items:
        table.add_row(part.what, part.count, dollars(part.dollars, 1))
    table.add_row("all together", "", dollars(sum(part.dollars for part in items), 1), style="bold")
    return table
