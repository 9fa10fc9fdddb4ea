"""auditLedger: on a schedule, holds requests, escrows and the log against each other, and moves no hours.

Each finding is a line of the log and counts in a metric with an alarm. A run that is out of time says so.
"""

from collections import Counter
from typing import Any

from handlers.aws.telemetry import count, gauge, logger, measure
from handlers.bank.audit import Audit


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What a run found, in numbers."""
    audit = Audit(touch=True, is_time_up=lambda: context.get_remaining_time_in_millis() < 30_000)
    kinds: Counter[str] = Counter()
    try:
        for finding in audit.findings():
            kinds[finding.kind] += 1
            logger.set_correlation_id(finding.request_id)
            logger.error(finding.problem, kind=finding.kind, hours=str(finding.hours), remedy=finding.remedy)
    finally:  # what was found before a table could not be read is told all the same
        numbers = told(audit, kinds)
    if audit.is_complete:  # else it is the sum of some
        measure("HoursInEscrow", audit.held)
    count("AuditCompleted" if audit.is_complete else "AuditIncomplete")
    return numbers | {"complete": audit.is_complete}


def told(audit: Audit, kinds: Counter[str]) -> dict[str, int]:
    """What was found, by metric; each is a gauge by then."""
    numbers = {
        "AuditMismatches": kinds["MISMATCH"],
        "UnconfirmedServices": kinds["UNCONFIRMED"],
        "RequestsMissed": kinds["MISSED"],
        "RecordsTouched": audit.touched,
        "OldestWaitSeconds": int(audit.oldest_wait.total_seconds()),
        "RequestsAudited": audit.requests,
    }
    for metric, value in numbers.items():
        gauge(metric, value)
    return numbers
