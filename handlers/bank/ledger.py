"""Moving hours: hold, adjust, refund, release. Nothing else writes Escrow, UserBalance or TransactionLog.

Each is one transaction over balance, escrow, log and request. The log is double entry: hours go from an account to an
account, ``user:<userId>`` or ``escrow:<requestId>``.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Change, Item, Plan, Write
from handlers.aws.telemetry import count, measure
from handlers.bank import hours, requests
from handlers.bank.errors import (
    InsufficientBalance,
    NotOwner,
    OfferNotAffordable,
    Refusal,
    ReleaseRefused,
    ValidationFailed,
)
from handlers.bank.execution import Execution
from handlers.bank.requests import OWNER

NOT_OWNER = "NOT_OWNER"
NOTHING_TO_DO = "NOTHING_TO_DO"
ID_USED_BEFORE = "The id of this request was used before"


class Ended(NamedTuple):
    """What an ending found or did.

    ``outcome`` is the request's status, NOT_OWNER or NOTHING_TO_DO; ``requester_id`` whom to tell; ``hours`` what
    moved; ``answer`` what a time-out found instead of silence.
    """

    outcome: str
    requester_id: Any = None
    hours: Decimal | None = None
    answer: str | None = None


def hold(run: Execution) -> Decimal:
    """Moves the estimated hours from the requester's balance into escrow; the request becomes ESCROWED.

    Raises
    ------
    NotOwner, ValidationFailed, InsufficientBalance
        nothing moved, and nothing is held by this execution.
    """

    def plan() -> Plan:
        # The escrow is read last: a run of this step that was given up for dead may commit at any moment, and must not
        # be taken for a refusal.
        request = requests.load(run.request_id)
        available = balance_of(request)
        escrow = dynamodb.read("Escrow", run.request_id)
        if escrow and escrow["executionArn"] == run.arn:
            return Plan(escrow["hours"])
        if escrow:
            raise ValidationFailed(ID_USED_BEFORE)
        if not requests.is_owned(request, run.arn) or requests.status_of(request) != "VALIDATING":
            raise NotOwner("The request was deleted, replaced or ended")
        requests.validate(request, run)
        amount, requester, provider = request["estimatedHours"], request["requesterId"], request["providerId"]
        require(available, amount, InsufficientBalance)
        return Plan(
            amount,
            (
                _debit(requester, amount),
                dynamodb.put(
                    "Escrow",
                    {
                        "id": run.request_id,
                        "requestId": run.request_id,
                        "requesterId": requester,
                        "providerId": provider,
                        "hours": amount,
                        "executionArn": run.arn,
                        "status": "HELD",
                    },
                ),
                _log(run.request_id, "ESCROW_HOLD", amount, _user(requester), _escrow(run.request_id)),
                requests.move(request, "ESCROWED", unchanged=("requesterId", "providerId", "estimatedHours")),
            ),
        )

    amount, wrote = dynamodb.commit(plan)
    if wrote:
        measure("HoursHeld", amount)
    return amount


def adjust(run: Execution) -> Decimal:
    """The hold becomes ``offeredHours``, the offer that the requester was shown.

    Raises
    ------
    NotOwner, OfferNotAffordable
        nothing moved, the old hold stands.
    """

    def plan() -> Plan:
        # In the order of hold, and for the same reason.
        request = requests.load(run.request_id)
        available = balance_of(request)
        escrow = dynamodb.read("Escrow", run.request_id)
        if not escrow or escrow["executionArn"] != run.arn or not requests.is_owned(request, run.arn):
            raise NotOwner("The request was deleted or replaced")
        held, offered, requester = escrow["hours"], request.get("offeredHours"), escrow["requesterId"]
        if requester != request.get("requesterId"):
            raise NotOwner("The request names another requester than the hours that are held")
        if held == offered:
            return Plan(held)
        if escrow["status"] != "HELD" or requests.status_of(request) != "NEGOTIATING" or not hours.is_legal(offered):
            raise NotOwner("The request is not negotiated any more")
        accounts = (_user(requester), _escrow(run.request_id))
        if offered > held:
            moved = hours.difference(offered, held)
            require(available, moved, OfferNotAffordable, "more needed")
            writes = (_debit(requester, moved), _log(run.request_id, "ESCROW_ADJUST", moved, *accounts))
        else:
            moved = hours.difference(held, offered)
            writes = (_credit(requester, moved), _log(run.request_id, "ESCROW_ADJUST", moved, *reversed(accounts)))
        still_negotiated = Change("ServiceRequest", run.request_id).exists()
        still_negotiated.unchanged(request, "status", OWNER, "offeredHours")
        return Plan(offered, (*writes, _still_held(escrow).set(hours=offered).write(), still_negotiated.check()))

    return dynamodb.commit(plan)[0]


def refund(run: Execution, status: str, reason: str, *, unless: Callable[[Item], str | None] | None = None) -> Ended:
    """Gives back what this execution holds, if anything, and ends the request in the same transaction.

    A request that was deleted or replaced meanwhile still gets its hours back. One that is in progress is left alone,
    and so is one for which ``unless(request)`` finds an answer.
    """
    if not run.is_named_after_request():
        return Ended(NOT_OWNER)
    decided_on = ("providerResponse", "requesterResponse") if unless else ()

    def plan() -> Plan:
        request = requests.load(run.request_id)
        escrow = dynamodb.read("Escrow", run.request_id)
        mine = escrow if escrow and escrow["executionArn"] == run.arn else None
        if mine and mine["status"] == "HELD":
            ended = Ended(status, mine["requesterId"], mine["hours"])
            if not requests.is_owned(request, run.arn):
                not_owned = Change("ServiceRequest", run.request_id).differs(OWNER, run.arn).check()
                return Plan(ended, (*_close(mine, "REFUNDED"), not_owned))
            current = requests.status_of(request)
            answer = unless(request) if unless else None
            if answer or current == "IN_PROGRESS":
                return Plan(Ended(current, mine["requesterId"], answer=answer))
            end = requests.move(request, status, {"failureReason": reason}, unchanged=decided_on)
            return Plan(ended, (*_close(mine, "REFUNDED"), end))
        if not mine and requests.is_begun_at_most(request, run):
            no_hold = Change("Escrow", run.request_id).differs("executionArn", run.arn).check()
            end = requests.move(request, status, {"failureReason": reason, OWNER: run.arn})
            return Plan(Ended(status, request.get("requesterId")), (end, no_hold))
        if requests.is_owned(request, run.arn):
            # Read again: a run of this step that was given up for dead may have ended it between the two reads.
            request = requests.load(run.request_id)
        if requests.is_owned(request, run.arn):
            return Plan(Ended(requests.status_of(request), request.get("requesterId")))
        return Plan(Ended(status, mine["requesterId"]) if mine else Ended(NOT_OWNER))

    return _count("HoursRefunded", *dynamodb.commit(plan))


def release(request_id: str) -> Ended:
    """Pays the provider while the requester's confirmation stands; the request becomes COMPLETED.

    Returns
    -------
    COMPLETED, or NOTHING_TO_DO where the decision is another one by now.

    Raises
    ------
    ReleaseRefused
        request and escrow do not belong together; nothing moved.
    """
    return _finish(request_id, "RELEASE", "RELEASED", "COMPLETED", "HoursReleased", {})


def withdraw(request_id: str) -> Ended:
    """Refunds a service in progress while the provider's withdrawal stands: CANCELLED, else as ``release``."""
    reason = {"failureReason": "The provider withdrew"}
    return _finish(request_id, "REFUND", "REFUNDED", "CANCELLED", "HoursRefunded", reason)


def _finish(request_id: str, wanted: str, settled: str, status: str, metric: str, attributes: dict[str, str]) -> Ended:
    def plan() -> Plan:
        request = requests.load(request_id)
        escrow = dynamodb.read("Escrow", request_id)
        if escrow and escrow["status"] == settled:
            return Plan(Ended(status, escrow["requesterId"]))
        if escrow and escrow["status"] != "HELD":
            return Plan(Ended(NOTHING_TO_DO))
        request, escrow = matched(request, escrow)
        if requests.decision(request) != wanted:
            return Plan(Ended(NOTHING_TO_DO))
        decided_on = ("requesterId", "providerId", "requesterResponse", "providerResponse")
        ended = requests.move(request, status, attributes, unchanged=decided_on)
        answer = Ended(status, escrow["requesterId"], escrow["hours"])
        return Plan(answer, (*_close(escrow, settled), ended))

    return _count(metric, *dynamodb.commit(plan))


def settle(request_id: str, decision: str, reason: str) -> Ended:
    """Ends, on an operator's word, what the workflows could not end: RELEASE pays the provider, REFUND the requester.

    It rests on the escrow being HELD and on nothing else, so it works without the request. The request's status is
    written where it is the escrow's own and may go there. A request that was left VALIDATING before there was an escrow
    is ended by REFUND.

    Returns
    -------
    COMPLETED, CANCELLED (of a service in progress) or FAILED; NOTHING_TO_DO where the hours have gone elsewhere.

    Raises
    ------
    ReleaseRefused
        there is nothing to give to anybody, and nothing moved.
    """
    settled = "RELEASED" if decision == "RELEASE" else "REFUNDED"

    def plan() -> Plan:
        # The request is read last: once the escrow is settled, its status is final.
        escrow = dynamodb.read("Escrow", request_id)
        request = requests.load(request_id)
        if escrow is None:
            return _give_up(request, decision, reason)
        current = requests.status_of(request) if requests.is_owned(request, escrow["executionArn"]) else None
        undone = "CANCELLED" if current == "IN_PROGRESS" else "FAILED"
        status = "COMPLETED" if decision == "RELEASE" else undone
        if escrow["status"] != "HELD":
            done = escrow["status"] == settled
            return Plan(Ended(current or status if done else NOTHING_TO_DO, escrow["requesterId"]))
        writes = _close(escrow, settled)
        if request and current and status in requests.TRANSITIONS.get(current, ()):
            writes += (requests.move(request, status, {"failureReason": reason} if status != "COMPLETED" else None),)
        return Plan(Ended(status, escrow["requesterId"], escrow["hours"]), writes)

    return _count("HoursReleased" if decision == "RELEASE" else "HoursRefunded", *dynamodb.commit(plan))


def _give_up(request: Item | None, decision: str, reason: str) -> Plan:
    """Ends a request that its execution left VALIDATING; there is no escrow, so nobody can be paid."""
    status = requests.status_of(request or {})
    if request is None or OWNER not in request or (decision, status) == ("RELEASE", "VALIDATING"):
        raise ReleaseRefused("No hours are held for this request")
    if status != "VALIDATING":
        # What ended it was this order, run before; or its execution went on meanwhile.
        return Plan(Ended(status if status == "FAILED" else NOTHING_TO_DO, request.get("requesterId")))
    no_hold = Change("Escrow", request["id"]).unchanged(None, "executionArn").check()
    end = requests.move(request, "FAILED", {"failureReason": reason})
    return Plan(Ended("FAILED", request.get("requesterId")), (end, no_hold))


def unfinished(request: Item | None, escrow: Item | None) -> str | None:
    """The execution whose work `settle` may end: it holds hours, or has left its request VALIDATING before it could."""
    if escrow:
        return escrow["executionArn"] if escrow["status"] == "HELD" else None
    return request.get(OWNER) if request and requests.status_of(request) == "VALIDATING" else None


def _count(metric: str, ended: Ended, wrote: bool) -> Ended:
    if wrote:
        count("RequestEnded", outcome=ended.outcome)
        if ended.hours is not None:
            measure(metric, ended.hours)
    return ended


def matched(request: Item | None, escrow: Item | None) -> tuple[Item, Item]:
    """Both; raises ReleaseRefused unless the request carries the escrow's execution and names the escrow's people."""
    if escrow is None:
        raise ReleaseRefused("No hours are held for this request")
    if request is None:
        raise ReleaseRefused("The request is gone; its hours are still held")
    if request.get(OWNER) != escrow["executionArn"]:
        raise ReleaseRefused("The request belongs to another execution than the hours that are held")
    if any(request.get(person) != escrow[person] for person in ("requesterId", "providerId")):
        raise ReleaseRefused("The request names other people than the hours that are held")
    return request, escrow


def balance_of(request: Item | None) -> Decimal:
    """The hours that the requester can spend; 0 for nobody, and for a balance that is not a number."""
    requester = (request or {}).get("requesterId")
    balance = dynamodb.read("UserBalance", requester) if requester and isinstance(requester, str) else None
    available = (balance or {}).get("availableBalance")
    return available if isinstance(available, Decimal) else Decimal(0)


def require(available: Decimal, needed: Decimal, refusal: type[Refusal], words: str = "needed") -> None:
    """Raises the refusal, in words, unless there are enough hours."""
    if available < needed:
        raise refusal(f"Not enough hours: {hours.in_words(needed)} {words}, {hours.in_words(available)} available")


def _close(escrow: Item, status: str) -> tuple[Write, ...]:
    """The hours leave the escrow: RELEASED to the provider, REFUNDED to the requester."""
    entry, user_id = (
        ("ESCROW_RELEASE", escrow["providerId"]) if status == "RELEASED" else ("ESCROW_REFUND", escrow["requesterId"])
    )
    return (
        _credit(user_id, escrow["hours"]),
        _still_held(escrow).set(status=status).write(),
        _log(escrow["id"], entry, escrow["hours"], _escrow(escrow["id"]), _user(user_id)),
    )


def _still_held(escrow: Item) -> Change:
    return Change("Escrow", escrow["id"]).unchanged(escrow, "status", "executionArn", "hours")


def _debit(user_id: str, amount: Decimal) -> Write:
    balance = Change("UserBalance", user_id).at_least("availableBalance", amount)
    return balance.add("availableBalance", amount.copy_negate()).write()


def _credit(user_id: str, amount: Decimal) -> Write:
    row = dynamodb.read("UserBalance", user_id) or {}
    needed = {"__typename": "UserBalance", "createdAt": dynamodb.now()}
    balance = Change("UserBalance", user_id).set(**{name: needed[name] for name in needed if name not in row})
    if "availableBalance" in row:
        return balance.exists().add("availableBalance", amount).write()
    return balance.unchanged(None, "availableBalance").set(availableBalance=amount).write()


def _log(request_id: str, entry: str, amount: Decimal, from_account: str, to_account: str) -> Write:
    return dynamodb.put(
        "TransactionLog",
        {
            "id": f"{request_id}#{entry}",
            "requestId": request_id,
            "type": entry,
            "hours": amount,
            "fromAccount": from_account,
            "toAccount": to_account,
        },
    )


def _user(user_id: str) -> str:
    return f"user:{user_id}"


def _escrow(request_id: str) -> str:
    return f"escrow:{request_id}"
