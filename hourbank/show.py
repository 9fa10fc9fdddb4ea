"""`hourbank show`: everything about one request of a local deployment."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from hourbank import ledger_view
from hourbank.deployment import Deployment
from hourbank.emulator import LocalRunError

SECRET = ("taskToken", "taskTokenAttempt")


def find(deployment: Deployment, beginning: str) -> str:
    """Return the one request id that begins so.

    Raises
    ------
    LocalRunError
        If there is none, or more than one.
    """
    if not beginning.strip():
        raise LocalRunError(
            "an empty id means no request: give an id, or how it begins, as `hourbank request` printed it"
        )
    requests = ledger_view.scan(deployment.client("dynamodb"), deployment.tables["serviceRequest"])
    ids = [request["id"] for request in requests if request["id"].startswith(beginning)]
    if beginning in ids:
        return beginning
    if len(ids) != 1:
        found = f"{len(ids)} requests begin" if ids else "no request begins"
        raise LocalRunError(f"{found} with {beginning}: give more of its id, as `hourbank request` printed it")
    return str(ids[0])


def record_of(deployment: Deployment, request_id: str) -> dict[str, Any]:
    """Return a request's record as it is now; empty if it is gone."""
    answer = deployment.client("dynamodb").get_item(
        TableName=deployment.tables["serviceRequest"], Key={"id": {"S": request_id}}, ConsistentRead=True
    )
    return ledger_view.plain(answer.get("Item", {}))


def show(console: Console, deployment: Deployment, request_id: str) -> None:
    """Print the record (without its token), escrow, log, balances, and the path of each execution."""
    ledger = ledger_view.read(deployment.client("dynamodb"), deployment.tables)
    request, escrow = ledger.requests[request_id], ledger.escrows.get(request_id)
    for name in sorted(request, key=lambda name: (name != "id", name != "status", name)):
        if name not in SECRET and request[name] is not None:
            _print(console, name, request[name])
    _print(console, "escrow", f"{escrow['status']}, {escrow['hours']} h" if escrow else "none")
    for entry in sorted(ledger.entries, key=lambda entry: str(entry["createdAt"])):
        if entry["requestId"] == request_id:
            accounts = f"{entry['fromAccount']} → {entry['toAccount']}".replace(f"escrow:{request_id}", "escrow")
            _print(console, "log", f"{entry['type']}: {entry['hours']} h, {accounts}")
    for person in (request.get("requesterId"), request.get("providerId")):
        if isinstance(person, str):
            _print(console, f"{person} has", f"{ledger.balances.get(person, 0)} h")
    for execution in deployment.executions(request_id):
        _print(console, execution["machine"].rpartition("-")[0], execution["status"])
        _print(console, "", " → ".join(deployment.path(execution["executionArn"])))
        if execution["status"] == "FAILED":
            _print(console, "", f"{execution.get('error')}: {execution.get('cause')}")


def _print(console: Console, name: str, value: object) -> None:
    # whole lines, for a terminal to wrap and for grep to find
    console.print(Text.assemble((f"{name:<26}", "dim"), str(value)), soft_wrap=True)
