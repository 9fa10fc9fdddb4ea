"""The records of requests in what `hourbank up` left running."""

from __future__ import annotations

from typing import Any

from handlers.bank import requests
from handlers.bank.requests import OWNER
from hourbank.errors import HourBankError
from hourbank.local.deployment import Deployment
from hourbank.local.tables import plain, scan


def find(deployment: Deployment, beginning: str) -> str:
    """Return the one request id that begins so.

    Raises
    ------
    HourBankError
        If there is none, or more than one.
    """
    if not beginning.strip():
        raise HourBankError(
            "an empty id means no request: give an id, or how it begins, as `hourbank request` printed it"
        )
    found = scan(deployment.client("dynamodb"), deployment.tables["serviceRequest"])
    ids = [request["id"] for request in found if request["id"].startswith(beginning)]
    if beginning in ids:
        return beginning
    if len(ids) != 1:
        number = f"{len(ids)} requests begin" if ids else "no request begins"
        raise HourBankError(f"{number} with {beginning}: give more of its id, as `hourbank request` printed it")
    return str(ids[0])


def record_of(deployment: Deployment, request_id: str) -> dict[str, Any]:
    """Return a request's record as it is now; empty if it is gone."""
    answer = deployment.client("dynamodb").get_item(
        TableName=deployment.tables["serviceRequest"], Key={"id": {"S": request_id}}, ConsistentRead=True
    )
    return plain(answer.get("Item", {}))


def is_going_on(deployment: Deployment, request_id: str) -> bool:
    """Return whether the workflows have something to do with a request as it is now."""
    request = record_of(deployment, request_id)
    status = requests.status_of(request)
    if status in requests.WAITS and requests.answer_awaited(request) is not None:
        run = deployment.client("stepfunctions").describe_execution(executionArn=request[OWNER])
        return run["status"] == "RUNNING"
    begins = bool(request) and status in ("PENDING", "VALIDATING", "ESCROWED")
    return begins or requests.decision(request) != "NOTHING"
