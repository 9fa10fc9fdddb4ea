"""Entering a wait: token and status in one write, and only then the event that asks somebody."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Item, Plan
from handlers.bank import requests
from handlers.bank.errors import NotOwner
from handlers.bank.execution import Execution


def enter(
    run: Execution, task_token: str, status: str, entering: Callable[[Item], tuple[dict[str, Any], tuple[str, ...]]]
) -> Item:
    """Stores the token of this attempt.

    Coming from another status always replaces the token. Within the wait only a later attempt does: an earlier one
    that was given up for dead may still write.

    Parameters
    ----------
    entering
        ``entering(request)`` gives what the write from another status also sets, and which attributes it rests on or
        removes (where set to None).

    Returns
    -------
    The record as it was read before the write, or as it is where this attempt has written already.
    """

    def plan() -> Plan:
        request = requests.load(run.request_id)
        if not requests.is_owned(request, run.arn):
            raise NotOwner("The request was deleted or replaced")
        token = {"taskToken": task_token, "taskTokenAttempt": run.attempt}
        if requests.status_of(request) == status:
            attempt = request.get("taskTokenAttempt")
            is_later = not isinstance(attempt, Decimal) or run.attempt > attempt
            if request.get("taskToken") == task_token or not is_later:
                return Plan(request)
            return Plan(request, (requests.move(request, status, token, unchanged=tuple(token)),))
        attributes, rests_on = entering(request)
        dropped = tuple(name for name, value in attributes.items() if value is None)
        kept = {name: value for name, value in attributes.items() if value is not None}
        return Plan(request, (requests.move(request, status, token | kept, unchanged=rests_on, remove=dropped),))

    return dynamodb.commit(plan)[0]
