"""ValidateRequest: claims the stored record and checks it."""

from typing import Any

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Item, Plan
from handlers.aws.telemetry import logged
from handlers.bank import ledger, requests
from handlers.bank.endings import ID_USED_BEFORE
from handlers.bank.errors import InsufficientBalance, NotOwner, ValidationFailed
from handlers.bank.execution import Execution
from handlers.bank.requests import OWNER


@logged
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """The seconds that the provider has to answer, for the wait's TimeoutSecondsPath."""
    run = Execution.of(event)
    request = claim(run)
    requests.validate(request, run)
    timeout_seconds = requests.response_timeout_seconds(request)
    # Also where it carries this execution's ARN: names are free again after 90 days, or with a machine made anew.
    if dynamodb.read("Escrow", run.request_id):
        raise ValidationFailed(ID_USED_BEFORE.words)
    ledger.require(ledger.balance_of(request), request["estimatedHours"], InsufficientBalance)
    return {"providerResponseTimeoutSeconds": timeout_seconds}


def claim(run: Execution) -> Item:
    """The record, owned by this execution from here on.

    Raises
    ------
    NotOwner
        the execution's name is not the request's, or another execution has the record, or there is none.
    ValidationFailed
        the record is so large that not even the claim fits.
    """
    if not run.is_named_after_request():
        raise NotOwner("The execution's name or input does not fit the request")

    def plan() -> Plan:
        request = requests.load(run.request_id)
        if requests.is_claimable(request, run):
            return Plan(request, (requests.move(request, "VALIDATING", {OWNER: run.arn}),), otherwise=Plan(None))
        if not requests.is_begun_at_most(request, run):
            raise NotOwner("The request belongs to another execution, or is gone")
        return Plan(request)

    request, _ = dynamodb.commit(plan)
    if request is None:
        raise ValidationFailed(requests.TOO_LARGE)
    return request
