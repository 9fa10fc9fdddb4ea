"""What AWS asks for, in us-east-1 and on arm64: US dollars, without the free tiers.

Nothing asks AWS for prices. Each has AWS's page that says it, and the month in which it was last compared with that
page, or with a dated report of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from hourbank.program import resource_types

REGION = "us-east-1"
HOURS_A_MONTH = 730


@dataclass(frozen=True, kw_only=True)
class Price:
    """`dollars` for `units` of what is counted."""

    what: str
    dollars: float
    units: int
    unit: str
    page: str
    compared: str

    @property
    def each(self) -> float:
        """Dollars for one."""
        return self.dollars / self.units

    @property
    def words(self) -> str:
        """Such as `$0.025 per 1,000 transitions`."""
        return (
            f"${self.dollars:.10f}".rstrip("0").rstrip(".")
            + f" per {f'{self.units:,} ' if self.units > 1 else ''}{self.unit}"
        )


MILLION = 1_000_000
TRANSITION = Price(
    what="Step Functions, Standard",
    dollars=0.025,
    units=1000,
    unit="state transitions, retries among them",
    page="https://aws.amazon.com/step-functions/pricing/",
    compared="2026-11",
)
INVOCATION = Price(
    what="Lambda, requests",
    dollars=0.20,
    units=MILLION,
    unit="invocations",
    page="https://aws.amazon.com/lambda/pricing/",
    compared="2026-11",
)
GB_SECOND = Price(
    what="Lambda, time (arm64)",
    dollars=0.0000133334,
    units=1,
    unit="GB-second, by the millisecond, initialisation too",
    page="https://aws.amazon.com/lambda/pricing/",
    compared="2026-11",
)
READ = Price(
    what="DynamoDB on demand, reads",
    dollars=0.125,
    units=MILLION,
    unit="read request units",
    page="https://aws.amazon.com/dynamodb/pricing/on-demand/",
    compared="2025-07",
)
WRITE = Price(
    what="DynamoDB on demand, writes",
    dollars=0.625,
    units=MILLION,
    unit="write request units",
    page="https://aws.amazon.com/dynamodb/pricing/on-demand/",
    compared="2025-07",
)
EVENT = Price(
    what="EventBridge",
    dollars=1.00,
    units=MILLION,
    unit="custom events",
    page="https://aws.amazon.com/eventbridge/pricing/",
    compared="2026-06",
)
SCHEDULE = Price(
    what="EventBridge Scheduler",
    dollars=1.00,
    units=MILLION,
    unit="calls",
    page="https://aws.amazon.com/eventbridge/pricing/",
    compared="2026-03",
)
TRACE = Price(
    what="X-Ray, where the stack has tracing",
    dollars=5.00,
    units=MILLION,
    unit="traces recorded",
    page="https://aws.amazon.com/xray/pricing/",
    compared="2026-11",
)
LOG_GB = Price(
    what="CloudWatch Logs",
    dollars=0.50,
    units=1,
    unit="GB taken in, of functions and (vended) of machines",
    page="https://aws.amazon.com/cloudwatch/pricing/",
    compared="2026-02",
)
ALARM = Price(
    what="CloudWatch alarms",
    dollars=0.10,
    units=1,
    unit="alarm and month",
    page="https://aws.amazon.com/cloudwatch/pricing/",
    compared="2026-02",
)
DASHBOARD = Price(
    what="CloudWatch dashboards",
    dollars=3.00,
    units=1,
    unit="dashboard and month",
    page="https://aws.amazon.com/cloudwatch/pricing/",
    compared="2026-06",
)
METRIC = Price(
    what="CloudWatch metrics of one's own",
    dollars=0.30,
    units=1,
    unit="metric and month, by the hour in which it is told",
    page="https://aws.amazon.com/cloudwatch/pricing/",
    compared="2026-02",
)
STORED_GB = Price(
    what="DynamoDB, storage",
    dollars=0.25,
    units=1,
    unit="GB and month",
    page="https://aws.amazon.com/dynamodb/pricing/on-demand/",
    compared="2025-07",
)
MAIL = Price(
    what="SES, where the stack has notifyFrom",
    dollars=0.10,
    units=1000,
    unit="mails",
    page="https://aws.amazon.com/ses/pricing/",
    compared="2026-11",
)
TABLE = (
    *(TRANSITION, INVOCATION, GB_SECOND, READ, WRITE, STORED_GB),
    *(EVENT, SCHEDULE, LOG_GB, ALARM, METRIC, DASHBOARD, TRACE, MAIL),
)
# By the type of a resource: what is paid for it by the month, whatever happens.
MONTHLY = {resource_types.ALARM: ALARM, resource_types.DASHBOARD: DASHBOARD}
