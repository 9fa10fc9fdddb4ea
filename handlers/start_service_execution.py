"""StartServiceExecution: the service is in progress."""

from functools import partial
from typing import Any

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Plan
from handlers.aws.telemetry import logged
from handlers.bank import events, requests
from handlers.bank.errors import NotOwner
from handlers.bank.execution import Execution


@logged
def handler(event: dict[str, Any], context: Any) -> str:
    """The request's status, IN_PROGRESS."""
    run = Execution.of(event)

    def plan() -> Plan:
        request = requests.load(run.request_id)
        if not requests.is_owned(request, run.arn):
            raise NotOwner("The request was deleted or replaced")
        # Run again: what was in progress has no token, and may have been confirmed or given up since.
        has_ended = requests.status_of(request) in ("COMPLETED", "CANCELLED") and request.get("taskToken") is None
        if requests.status_of(request) == "IN_PROGRESS" or (has_ended and run.attempt):
            return Plan(request)
        # A service that has not begun cannot have been received.
        early = ("requesterResponse",) if request.get("requesterResponse") == "COMPLETED" else ()
        others: requests.NoneOf = () if early else (("requesterResponse", "COMPLETED"),)
        start = partial(requests.move, request, "IN_PROGRESS", unchanged=early, none_of=others, remove=early)
        # without the time, for a record that is full
        started, shorter = start({requests.STARTED: dynamodb.now()}), start()
        return Plan(request, (started,), Plan(request, (shorter,)))

    request, _ = dynamodb.commit(plan)
    events.publish("ServiceStarted", request)
    return "IN_PROGRESS"
