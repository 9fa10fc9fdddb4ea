"""auditLedger: on a schedule, holds requests, escrows and the log against each other, and moves no hours.

Each finding is a line of the log and counts in a metric with an alarm. A run that is out of time says so, and how far
behind it is; the next one goes on there.
"""

from collections import Counter
from typing import Any

from handlers.aws import environment
from handlers.aws.telemetry import count, gauge, logger, measure
from handlers.bank import cursor
from handlers.bank.audit import Audit

# What is left for saving the place and telling what was found.
RESERVE_MILLISECONDS = 30_000


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What a run found, in numbers."""
    audit = Audit(
        touch=True,
        machine=environment.request_workflow(),
        is_time_up=lambda: context.get_remaining_time_in_millis() < RESERVE_MILLISECONDS,
    )
    audit.cursor = cursor.load(audit.hour)
    kinds: Counter[str] = Counter()
    try:
        for finding in audit.scheduled(audit.cursor):
            kinds[finding.kind] += 1
            logger.set_correlation_id(finding.key)
            told = {"kind": finding.kind, "hours": str(finding.hours), "remedy": finding.remedy}
            logger.error(finding.problem, **told, table=finding.model)
    finally:  # what was found before a table could not be read is told all the same
        logger.set_correlation_id(None)
        numbers = gauges(audit, kinds)
        cursor.save(audit.cursor)
    if audit.has_sum:  # else it is the sum of some
        measure("HoursInEscrow", audit.held)
    count("AuditCompleted" if audit.is_complete else "AuditIncomplete")
    return numbers | {"complete": audit.is_complete}


def gauges(audit: Audit, kinds: Counter[str]) -> dict[str, int]:
    """What was found, by metric; each is a gauge by then."""
    numbers = {
        "AuditMismatches": kinds["MISMATCH"],
        "UnconfirmedServices": kinds["UNCONFIRMED"],
        "RequestsMissed": kinds["MISSED"],
        "RecordsTouched": audit.touched,
        "OldestWaitSeconds": int(audit.oldest_wait.total_seconds()),
        "RequestsAudited": audit.requests,
        "AuditHoursBehind": audit.cursor.behind(audit.hour),
    }
    if audit.is_compared:
        # of the runs whose turn it is alone: the alarm keeps what it says in between
        numbers["UnexplainedBalances"] = kinds["UNEXPLAINED"]
    if audit.is_compared is False:
        logger.warning("There are too many balances and entries to compare here: `hourbank audit` does")
    if audit.unexplained:
        logger.warning(
            f"{audit.unexplained} balances have hours that no entry explains, and the bank has granted none: "
            "the app writes them itself (docs/app/first-hours.md)"
        )
    if audit.unindexed:
        logger.warning(f"Read whole, for want of an index (docs/app/schema.md): {', '.join(audit.unindexed)}")
    if behind := numbers["AuditHoursBehind"]:
        logger.warning(f"Time ran out: the look at the past is {behind} hours behind")
    for metric, value in numbers.items():
        gauge(metric, value)
    return numbers
