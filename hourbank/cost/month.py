"""`hourbank cost --requests-per-month`: a month's bill, part by part, and the quota that each part meets first.

It is worked out from what one request of each story was measured to use (`recorded`), so it takes a moment and says the
same everywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from handlers.bank.cursor import SHARES
from hourbank.cost import prices, quotas, recorded
from hourbank.cost.measure import Measurement
from hourbank.cost.quotas import Quota
from hourbank.cost.report import GB, NEVER_COUNTED, plain_table
from hourbank.cost.report import parts as parts_of_a_request
from hourbank.program import recorder
from hourbank.program.recorder import Recording
from hourbank.stories import stories
from hourbank.terminal import say as say_whole
from hourbank.terminal import show

DAYS_A_MONTH = 30
WAITING_DAYS = 7.0
# Nobody's figures, but a time bank's whose people mostly agree: of 100 requests.
MIX = {
    stories.RELEASED: 70,
    stories.DECLINED: 8,
    stories.NOBODY_ANSWERS: 8,
    stories.OFFER_ACCEPTED: 5,
    stories.OFFER_DECLINED: 2,
    stories.CANCELLED: 3,
    stories.WITHDRAWN: 1,
    stories.NOT_ENOUGH_HOURS: 2,
    stories.INVALID: 1,
}
# The busiest second has so many times the average's requests.
PEAK = 10
# So many months are past, each as busy.
PAST_MONTHS = 12
# With fewer requests a month, Lambda has mostly ended a function's process before it is called again.
COLD_BELOW = 10_000
# Of Lambda's, for the auditor's look at one request: docs/why/scale.md has what `make bench ARGS=--scale` measured.
LOOK_SECONDS = 0.0016
# A request enters its index when it is made, and leaves it when it ends.
INDEX_WRITES = 2
HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How much of a quota is used in the busiest second, or at once."""

    quota: Quota
    used: float

    def share(self, *, elsewhere: bool = False) -> float:
        """Of the quota; above 1 it is exceeded."""
        return self.used / (self.quota.elsewhere if elsewhere else self.quota.value)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the bill.

    Attributes
    ----------
    dollars : float
        For the month.
    limits : sequence of Limit
        The quotas that it meets; none where it meets none.
    option : str
        The key of the stack's configuration without which it is not there; then it is not in the sum.
    told_in : str
        The section of docs/why/scale.md that says what it meets, where that is measured and not worked out.
    """

    what: str
    dollars: float
    limits: Sequence[Limit] = ()
    option: str = ""
    told_in: str = ""

    @property
    def first(self) -> Limit | None:
        """What it meets first in `us-east-1`."""
        return max(self.limits, key=Limit.share, default=None)


@dataclass(frozen=True, kw_only=True)
class Month:
    """The bill of a month with so many requests, of which each waits so many days for people."""

    requests: int
    waiting_days: float
    parts: Sequence[Part]
    open: int
    """Requests that are open at once."""
    past: int
    """Requests that have ended before."""
    dollars_a_year: float
    """What each year more of such months adds to every month."""

    @property
    def dollars(self) -> float:
        return sum(part.dollars for part in self.parts if not part.option)

    def met_at(self, limit: Limit, *, elsewhere: bool = False) -> float:
        """With how many requests a month a quota is used up: all use grows with them; infinite where there is none."""
        share = limit.share(elsewhere=elsewhere)
        return self.requests / share if share else math.inf


def month(measured: Measurement, recording: Recording, requests: int, waiting_days: float) -> Month:
    """Work out the bill from what one request of each story was measured to use."""
    usages = [(share / 100, measured.stories[story]) for story, share in MIX.items()]

    def average(of: str) -> float:
        return sum(share * getattr(played.usage, of) for share, played in usages)

    is_cold = requests < COLD_BELOW
    each = dict.fromkeys(parts_of_a_request(usages[0][1].usage), 0.0)
    for share, played in usages:
        for name, dollars in parts_of_a_request(played.usage, cold=is_cold).items():
            each[name] += share * dollars
    executions = sum(share * len(played.states) for share, played in usages)
    answered = {story: sum(turn.status != "IN_PROGRESS" for turn in story.turns) for story in MIX}
    answers = sum(share / 100 * answered[story] for story, share in MIX.items())
    seconds = average("milliseconds") / 1000
    a_second = PEAK * requests / (DAYS_A_MONTH * 24 * 3600)
    waiting, past = requests * waiting_days / DAYS_A_MONTH, requests * PAST_MONTHS
    stored = measured.record_bytes / GB * prices.STORED_GB.each
    weekly = look(measured) * prices.HOURS_A_MONTH / SHARES
    run = sum(parts_of_a_request(measured.idle_audit, cold=True).values()) + prices.SCHEDULE.each
    hours = prices.HOURS_A_MONTH
    fixed = sum(len(recording.of_type(type_)) * price.each for type_, price in prices.MONTHLY.items())

    def limit(quota: Quota, of_one: float) -> Limit:
        return Limit(quota=quota, used=a_second * of_one)

    return Month(
        requests=requests,
        waiting_days=waiting_days,
        open=round(waiting),
        past=past,
        dollars_a_year=12 * requests * (weekly + stored),
        parts=(
            Part(
                what="transitions",
                dollars=requests * each["transitions"],
                limits=(
                    Limit(quota=quotas.OPEN_EXECUTIONS, used=waiting),
                    limit(quotas.STATE_TRANSITIONS, average("transitions")),
                    limit(quotas.STARTS, executions),
                    limit(quotas.ANSWERS, answers),
                ),
            ),
            Part(
                what="functions",
                dollars=requests * (each["invocations"] + each["time"]),
                limits=(limit(quotas.CALLS, seconds),),
            ),
            Part(
                what="DynamoDB requests",
                dollars=requests * (each["reads"] + each["writes"]),
                limits=(limit(quotas.NEW_TABLE, average("write")), limit(quotas.PARTITION, INDEX_WRITES)),
            ),
            Part(what="DynamoDB storage", dollars=(waiting + past) * stored),
            Part(what="stream, read by Lambda", dollars=0, told_in="The way in"),
            Part(
                what="EventBridge",
                dollars=requests * each["events"],
                limits=(limit(quotas.PUT_EVENTS, average("events")),),
            ),
            Part(
                what="logs",
                dollars=requests * each["logs"],
                limits=(limit(quotas.PUT_LOGS, average("invocations") + executions),),
            ),
            Part(what="alarms, dashboard", dollars=fixed),
            Part(what="metrics", dollars=measured.metrics * prices.METRIC.each),
            Part(
                what="auditor",
                dollars=hours * (run + waiting * look(measured)) + past * weekly,
                limits=(Limit(quota=quotas.RUN_SECONDS, used=(waiting + past / SHARES) * LOOK_SECONDS),),
            ),
            Part(what="traces", option="tracing", dollars=requests * average("traces") * prices.TRACE.each),
            Part(
                what="mails",
                option="notifyFrom",
                dollars=requests * average("events") * prices.MAIL.each,
                limits=(
                    Limit(quota=quotas.MAILS_A_DAY, used=requests * average("events") / DAYS_A_MONTH),
                    limit(quotas.MAILS_A_SECOND, average("events")),
                ),
            ),
        ),
    )


def look(measured: Measurement) -> float:
    """What the auditor's look at one request costs: units that are read, and Lambda's time."""
    reads = (measured.audit.read - measured.idle_week.read) / measured.records
    gigabytes = measured.idle_audit.gb_seconds * 1000 / measured.idle_audit.milliseconds
    return reads * prices.READ.each + LOOK_SECONDS * gigabytes * prices.GB_SECOND.each


def assumptions(bill: Month) -> Iterator[str]:
    """What the bill takes for granted."""
    mix = ", ".join(f"{share} {story.outcome}" for story, share in MIX.items())
    yield f"Of 100 requests: {mix}."
    yield (
        f"With {bill.requests:,} a month {bill.open:,} are open at once: each for {bill.waiting_days:g} days, its "
        f"execution as long. {PAST_MONTHS} such months are past: {bill.past:,} have ended. Each year more adds "
        f"{money(bill.dollars_a_year)} to every month."
    )
    yield f"The busiest second has {PEAK} times the average; what is written then is taken to be in one table."
    yield f"Below {COLD_BELOW:,} a month each call of a function starts a process, above it finds one."
    yield (
        f"Prices are those of {prices.REGION}, without free tiers; `hourbank cost` prints them. Elsewhere transitions "
        "cost up to half as much again."
    )
    yield "What a request uses was measured on the emulator (`make measured`). Nothing of this was measured on AWS."


def to_json(bill: Month) -> dict[str, Any]:
    """The bill as plain values; `metAt` is in requests a month, null where none meet it."""

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    def of_limit(limit: Limit) -> dict[str, Any]:
        return {
            "quota": limit.quota.what,
            "value": limit.quota.value,
            "elsewhere": limit.quota.elsewhere,
            "code": "/".join(limit.quota.code) if limit.quota.code else None,
            "used": limit.used,
            "metAt": finite(bill.met_at(limit)),
            "metAtElsewhere": finite(bill.met_at(limit, elsewhere=True)),
        }

    return {
        "region": prices.REGION,
        "requestsPerMonth": bill.requests,
        "waitingDays": bill.waiting_days,
        "open": bill.open,
        "past": bill.past,
        "dollars": bill.dollars,
        "dollarsOfAYearMore": bill.dollars_a_year,
        "parts": [
            {
                "what": part.what,
                "dollars": part.dollars,
                "option": part.option or None,
                "limits": [of_limit(limit) for limit in part.limits],
            }
            for part in bill.parts
        ],
        "assumptions": list(assumptions(bill)),
        "notCounted": list(NEVER_COUNTED),
    }


def print_month(console: Console, requests: int, waiting_days: float, *, as_json: bool) -> None:
    """Print the bill of a month."""
    bill = month(recorded.read(), recorder.record("dev", config=recorder.EXAMPLE), requests, waiting_days)
    if as_json:
        console.file.write(json.dumps(to_json(bill), indent=1) + "\n")
    else:
        draw(console, bill)


def draw(console: Console, bill: Month) -> None:
    """Print the bill for a person."""

    def say(text: str = "") -> None:
        show(console, Text(text))

    title = f"{bill.requests:,} requests a month"
    table = plain_table(title, "", "$ a month", "of the quota that it meets first", "used")
    for part in bill.parts:
        if not part.option:
            table.add_row(part.what, money(part.dollars), *used_in_words(part))
    table.add_row("all together", money(bill.dollars), "", "", style="bold")
    say()
    show(console, table)
    say()
    for part in bill.parts:
        if part.option:
            quota, used = used_in_words(part)
            say(
                f"With {part.option}, {part.what}: {money(part.dollars)} more"
                + (f"; {used} of {quota}" if used else "")
            )
    tight = [limit for part in bill.parts for limit in part.limits if limit.share() > HALF]
    if tight:
        say()
        console.print("To raise before, as more than half is used", style="bold")
    for limit in tight:
        say(f"{limit.quota.words}: {limit.used:,.0f} are needed")
        say_whole(console, f"    {limit.quota.increase(rounded(2 * limit.used))}")
    say()
    for sentence in assumptions(bill):
        say(sentence)
    for what in NEVER_COUNTED:
        say(f"Not counted: {what}.")


def used_in_words(part: Part) -> tuple[str, str]:
    """The quota that a part meets first, and how much of it is used; nothing where it meets none."""
    if part.first is None:
        return "", ""
    share = part.first.share()
    return part.first.quota.words, "< 1 %" if share < 0.01 else f"{share:,.0%}".replace("%", " %")


def money(value: float) -> str:
    """Such as `$0.16`, `$161` or `$1,605`; less than a cent is said to be that."""
    if 0 < value < 0.01:
        return "< $0.01"
    return f"${value:,.2f}" if value < 100 else f"${value:,.0f}"


def rounded(value: float) -> int:
    """Up, to two digits."""
    size = 10 ** max(0, math.floor(math.log10(value)) - 1) if value > 0 else 1
    return math.ceil(value / size) * size


def requests_in_words(value: float) -> str:
    """Such as `560,000` or `4.3 M`: down, to two digits."""
    size = 10 ** max(0, math.floor(math.log10(value)) - 1)
    down = math.floor(value / size) * size
    if down < 10**6:
        return f"{down:,}"
    return f"{down // 10**6:,} M" if down % 10**6 == 0 else f"{down / 10**6:.1f} M"


def markdown(sizes: Sequence[int] = (1_000, 100_000, 1_000_000, 10_000_000)) -> str:
    """The bills of months of these sizes as one table, and what to raise, for docs/why/scale.md."""
    measured, recording = recorded.read(), recorder.record("dev", config=recorder.EXAMPLE)
    bills = [month(measured, recording, size, WAITING_DAYS) for size in sizes]
    largest = bills[-1]

    def met(limit: Limit) -> str:
        here, there = (requests_in_words(largest.met_at(limit, elsewhere=where)) for where in (False, True))
        return here if here == there else f"{here} ({there})"

    many = "with so many a month (elsewhere)"
    lines = [
        f"| requests a month | {' | '.join(f'{size:,}' for size in sizes)} | meets first | {many} |",
        f"|---|{'---|' * (len(sizes) + 2)}",
    ]
    for number, part in enumerate(largest.parts):
        cells = [money(bill.parts[number].dollars) for bill in bills]
        what = f"with `{part.option}`: {part.what}" if part.option else part.what
        first = ["nothing", ""]
        if part.first:
            first = [part.first.quota.words, met(part.first)]
        elif part.told_in:
            first = [f"[{part.told_in}](#{part.told_in.lower().replace(' ', '-')})", ""]
        lines.append(f"| {' | '.join([what, *cells, *first])} |")
        if number + 1 < len(largest.parts) and largest.parts[number + 1].option and not part.option:
            cells = [f"**{money(bill.dollars)}**" for bill in bills]
            lines.append(f"| **all together** | {' | '.join(cells)} | | |")
    cells = [money(1000 * bill.dollars / bill.requests) for bill in bills]
    lines.append(f"| for 1,000 of them | {' | '.join(cells)} | | |")
    lines += [
        "",
        f"| quota | elsewhere, at least | met {many} | `aws service-quotas request-service-quota-increase` | |",
        "|---|---|---|---|---|",
    ]
    for part in largest.parts:
        for limit in part.limits:
            quota = limit.quota
            raise_ = f"`--service-code {quota.code[0]} --quota-code {quota.code[1]}`" if quota.code else ""
            elsewhere = f"{quota.elsewhere:,}" if quota.elsewhere != quota.value else ""
            lines.append(f"| {quota.words} | {elsewhere} | {met(limit)} | {raise_} | {quota.remedy} |")
    lines += ["", *(f"- {sentence}" for sentence in assumptions(bills[len(bills) // 2]))]
    return "\n".join(lines)
