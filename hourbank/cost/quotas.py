"""What AWS lets an account do in a region at first, as far as requests can meet it.

Nothing asks AWS for quotas: an account may have others. Each has AWS's page that says it, and the month in which it was
last compared with that page, or with a dated copy of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Quota:
    """So much of something in `us-east-1`, and in the region of AWS's that has least.

    Attributes
    ----------
    code : str or None
        Of the service in Service Quotas and of the quota; None where it cannot be raised there.
    remedy : str
        What to do where it cannot, or does not have to.
    """

    what: str
    value: int
    elsewhere: int
    page: str
    compared: str
    code: tuple[str, str] | None = None
    remedy: str = ""

    @property
    def words(self) -> str:
        """Such as `300 starts of executions a second`."""
        return f"{self.value:,} {self.what}"

    def increase(self, desired: int | str) -> str:
        """The command that asks AWS for more; where there is none, what to do instead."""
        if self.code is None:
            return self.remedy
        service, quota = self.code
        return (
            f"aws service-quotas request-service-quota-increase --service-code {service} --quota-code {quota} "
            f"--desired-value {desired}"
        )


STEP_FUNCTIONS = "https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"
DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
OPEN_EXECUTIONS = Quota(
    what="executions open at once",
    value=1_000_000,
    elsewhere=1_000_000,
    code=("states", "L-B8A5B662"),
    remedy="AWS raises it to millions",
    page=STEP_FUNCTIONS,
    compared="2026-11",
)
STATE_TRANSITIONS = Quota(
    what="transitions a second",
    value=5_000,
    elsewhere=800,
    code=("states", "L-AD9B4E93"),
    remedy="a new account has fewer, which AWS raises as they are used",
    page=STEP_FUNCTIONS,
    compared="2026-11",
)
STARTS = Quota(
    what="starts of executions a second",
    value=300,
    elsewhere=150,
    code=("states", "L-1B55A735"),
    remedy="1,300 (800 elsewhere) may come at once: L-CE9F8059",
    page=STEP_FUNCTIONS,
    compared="2026-11",
)
ANSWERS = Quota(
    what="answers to waits a second",
    value=500,
    elsewhere=300,
    code=("states", "L-EACE83FA"),
    remedy="`SendTaskSuccess`; 3,000 (1,500 elsewhere) may come at once: L-630CF084",
    page=STEP_FUNCTIONS,
    compared="2026-11",
)
CALLS = Quota(
    what="calls of functions at once",
    value=1_000,
    elsewhere=1_000,
    code=("lambda", "L-B99A9384"),
    remedy="a new account has as few as 10",
    page="https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html",
    compared="2026-11",
)
RUN_SECONDS = Quota(
    what="seconds of one run of the auditor",
    value=900,
    elsewhere=900,
    remedy="cannot be raised; what is left over is looked at an hour later, and an alarm tells of it",
    page="https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html",
    compared="2026-11",
)
NEW_TABLE = Quota(
    what="write units a second of a new table",
    value=4_000,
    elsewhere=4_000,
    remedy="doubles by itself within half an hour; before a rush: "
    "`aws dynamodb update-table --table-name NAME --warm-throughput WriteUnitsPerSecond=N`",
    page=DYNAMODB + "warm-throughput-scenarios.html",
    compared="2026-11",
)
PARTITION = Quota(
    what="write units a second of the index's one value",
    value=1_000,
    elsewhere=1_000,
    remedy="cannot be raised; an app without the index does not have it, but an auditor that reads whole tables",
    page=DYNAMODB + "warm-throughput-scenarios.html",
    compared="2026-11",
)
PUT_EVENTS = Quota(
    what="calls of PutEvents a second",
    value=10_000,
    elsewhere=600,
    code=("events", "L-9B653E91"),
    page="https://docs.aws.amazon.com/general/latest/gr/ev.html",
    compared="2026-11",
)
PUT_LOGS = Quota(
    what="calls of PutLogEvents a second",
    value=5_000,
    elsewhere=5_000,
    code=("logs", "L-7E1FAE88"),
    page="https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html",
    compared="2026-11",
)
MAILS_A_DAY = Quota(
    what="mails a day, out of SES's sandbox",
    value=50_000,
    elsewhere=50_000,
    code=("ses", "L-804C8AE8"),
    remedy="in the sandbox it is 200, to verified addresses alone: `hourbank doctor` says where you are",
    page="https://docs.aws.amazon.com/ses/latest/dg/quotas.html",
    compared="2026-11",
)
MAILS_A_SECOND = Quota(
    what="mails a second, out of SES's sandbox",
    value=14,
    elsewhere=14,
    code=("ses", "L-CDEF9B6B"),
    remedy="what comes faster waits in the queue",
    page="https://docs.aws.amazon.com/ses/latest/dg/quotas.html",
    compared="2026-11",
)
ALL = (
    *(OPEN_EXECUTIONS, STATE_TRANSITIONS, STARTS, ANSWERS, CALLS, RUN_SECONDS),
    *(NEW_TABLE, PARTITION, PUT_EVENTS, PUT_LOGS, MAILS_A_DAY, MAILS_A_SECOND),
)
