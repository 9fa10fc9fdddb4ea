"""Moving hours: hold, adjust, refund, release, grant. Nothing else writes Escrow, UserBalance or TransactionLog.

Each is one transaction over balance, log and, where there is a request, escrow and request. The log is double entry:
hours go from an account to an account, ``user:<userId>``, ``escrow:<requestId>`` or ``bank``, from which all hours
come. All five stand in one file: who reads one reads what it shares with the others, and nothing else may write those
tables.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, NamedTuple, TypeGuard

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Change, Item, Plan, Write
from handlers.aws.telemetry import count, measure
from handlers.bank import hours, requests
from handlers.bank.endings import ID_USED_BEFORE, PROVIDER_WITHDREW, Reason, by_operator
from handlers.bank.errors import (
    GrantRefused,
    InsufficientBalance,
    NotOwner,
    OfferNotAffordable,
    Refusal,
    ReleaseRefused,
    ValidationFailed,
)
from handlers.bank.execution import Execution
from handlers.bank.requests import OWNER, NoneOf, Silence

NOT_OWNER = "NOT_OWNER"
NOTHING_TO_DO = "NOTHING_TO_DO"
BANK = "bank"
GRANT = "GRANT"
# How the reason begins of what an operator enters that was granted before.
OPENING = "opening balance"
LONGEST_REASON_BYTES = 256


class Ended(NamedTuple):
    """What an ending found or did.

    ``outcome`` is the request's status, NOT_OWNER or NOTHING_TO_DO; ``requester_id`` and ``provider_id`` whom to tell,
    the provider only where asked or paid; ``hours`` what moved; ``answer`` what a time-out found instead of silence.
    """

    outcome: str
    requester_id: Any = None
    provider_id: Any = None
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
        if escrow:
            # Read again: a request that such a run took further is VALIDATING no more once its escrow is seen.
            if escrow.get("executionArn") != run.arn or requests.is_begun_at_most(requests.load(run.request_id), run):
                raise ValidationFailed(ID_USED_BEFORE.words)
            return Plan(_amount(escrow))
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
        if not escrow or escrow.get("executionArn") != run.arn or not requests.is_owned(request, run.arn):
            raise NotOwner("The request was deleted or replaced")
        held, offered, requester = _amount(escrow), request.get("offeredHours"), escrow.get("requesterId")
        if requester != request.get("requesterId") or not dynamodb.is_key(requester):
            raise NotOwner("The request names another requester than the hours that are held")
        if held == offered:
            return Plan(held)
        if not is_held(escrow) or requests.status_of(request) != "NEGOTIATING" or not hours.is_legal(offered):
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


def refund(
    run: Execution,
    status: str,
    reason: Reason,
    *,
    unless: Callable[[Item], Silence] | None = None,
    never_held: bool = False,
) -> Ended:
    """Gives back what this execution holds, if anything, and ends the request in the same transaction.

    A request that was deleted or replaced meanwhile still gets its hours back. One that is in progress is left alone,
    and so is one for which ``unless(request)`` finds an answer. Where this execution has ``never_held`` anything, an
    escrow of its ARN is from before its name was free again, and is left alone.

    Raises
    ------
    ReleaseRefused
        escrow or balance are malformed, so that the hours cannot be given exactly; they stay held.
    """
    if not run.is_named_after_request():
        return Ended(NOT_OWNER)

    def plan() -> Plan:
        request = requests.load(run.request_id)
        escrow = dynamodb.read("Escrow", run.request_id)
        mine = escrow if escrow and escrow.get("executionArn") == run.arn else None
        is_old = never_held or (requests.is_validating(request) and requests.is_owned(request, run.arn))
        if requests.is_begun_at_most(request, run) and (is_old or not mine):
            return _end_before_the_hold(run, request, mine, status, reason)
        if mine and not is_old and is_held(mine):
            return _give_back(run, request, mine, status, reason, unless)
        return _as_it_ended(run, None if is_old else mine, status)

    return _count("HoursRefunded", *dynamodb.commit(plan))


def _end_before_the_hold(run: Execution, request: Item, escrow: Item | None, status: str, reason: Reason) -> Plan:
    """Ends a request for which this execution holds nothing; beside an escrow of its name, its id was used before."""
    if escrow:
        status, reason = "REJECTED", ID_USED_BEFORE
        guard = Change("Escrow", run.request_id).exists().check()
    else:
        guard = Change("Escrow", run.request_id).differs("executionArn", run.arn).check()
    ended = Ended(status, request.get("requesterId"))
    full = requests.move(request, status, {**reason.attributes(), OWNER: run.arn})
    # A record that takes not even the shorter write was not claimed either.
    shorter = Plan(ended, (requests.move(request, status), guard), Plan(Ended(NOT_OWNER)))
    return Plan(ended, (full, guard), shorter)


def _give_back(
    run: Execution,
    request: Item | None,
    escrow: Item,
    status: str,
    reason: Reason,
    unless: Callable[[Item], Silence] | None,
) -> Plan:
    """Gives this execution's hours back; the request decides whether, and is ended, if it is still the owner's."""
    requester = escrow.get("requesterId")
    if not requests.is_owned(request, run.arn):
        not_owned = Change("ServiceRequest", run.request_id).differs(OWNER, run.arn).check()
        # Whether the provider was asked has gone with the record.
        return Plan(Ended(status, requester, hours=_amount(escrow)), (*_close(escrow, "REFUNDED"), not_owned))
    answer, unchanged, none_of = unless(request) if unless else Silence(None, (), ())
    current = requests.status_of(request)
    if answer or current == "IN_PROGRESS":
        return Plan(Ended(current, requester, answer=answer))
    as_it_is = Change("ServiceRequest", run.request_id).unchanged(request, "status", OWNER, *unchanged)
    as_it_is = as_it_is.none_of(none_of).check()
    provider = escrow.get("providerId") if requests.was_asked(request) else None
    ended, closed = Ended(status, requester, provider, _amount(escrow)), _close(escrow, "REFUNDED")
    # Nobody is told of an end that is not in the record.
    without = Plan(ended._replace(outcome=_known(current)), (*closed, as_it_is))
    return _with_status(ended, closed, request, status, reason, without, unchanged, none_of)


def _as_it_ended(run: Execution, escrow: Item | None, status: str) -> Plan:
    """What another run of this ending, or an operator, did before."""
    # Read again: a run that was given up for dead may have ended it between the two reads.
    request = requests.load(run.request_id)
    if requests.is_owned(request, run.arn):
        provider = request.get("providerId") if requests.was_asked(request) else None
        return Plan(Ended(requests.status_of(request), request.get("requesterId"), provider))
    return Plan(Ended(status, escrow.get("requesterId")) if escrow else Ended(NOT_OWNER))


def _known(status: str) -> str:
    return status if status in requests.TRANSITIONS else "UNKNOWN"


def _with_status(
    ended: Ended,
    closed: tuple[Write, ...],
    request: Item,
    status: str,
    reason: Reason | None,
    without: Plan,
    unchanged: tuple[str, ...] = (),
    none_of: NoneOf = (),
) -> Plan:
    """Closes the escrow and says so in the request: with the reason, else the status alone, else ``without`` it.

    Giving hours back must not depend on a record that is full, or whose status is none that may end like this.
    """
    if status not in requests.TRANSITIONS.get(requests.status_of(request), ()):
        return without
    shorter = Plan(ended, (*closed, requests.move(request, status, unchanged=unchanged, none_of=none_of)), without)
    if reason is None:
        return shorter
    full = requests.move(request, status, reason.attributes(), unchanged=unchanged, none_of=none_of)
    return Plan(ended, (*closed, full), shorter)


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
    return _finish(request_id, "RELEASE", "RELEASED", "COMPLETED", "HoursReleased", None)


def withdraw(request_id: str) -> Ended:
    """Refunds a service in progress while the provider's withdrawal stands: CANCELLED, else as ``release``."""
    return _finish(request_id, "REFUND", "REFUNDED", "CANCELLED", "HoursRefunded", PROVIDER_WITHDREW)


def _finish(request_id: str, wanted: str, settled: str, status: str, metric: str, reason: Reason | None) -> Ended:
    def plan() -> Plan:
        request = requests.load(request_id)
        escrow = dynamodb.read("Escrow", request_id)
        if escrow and not is_held(escrow):
            ended = Ended(status, escrow.get("requesterId"), escrow.get("providerId"))
            return Plan(ended if escrow["status"] == settled else Ended(NOTHING_TO_DO))
        request, escrow = matched(request, escrow)
        if requests.decision(request) != wanted:
            return Plan(Ended(NOTHING_TO_DO))
        decided_on, none_of = requests.DECIDED_ON[wanted]
        unchanged = ("requesterId", "providerId", *decided_on)
        ended = Ended(status, escrow["requesterId"], escrow["providerId"], _amount(escrow))
        closed = _close(escrow, settled)
        attributes = reason.attributes() if reason else None
        full = requests.move(request, status, attributes, unchanged=unchanged, none_of=none_of)
        # Both ends are shorter than IN_PROGRESS, so a record that is full takes them without the reason.
        shorter = requests.move(request, status, unchanged=unchanged, none_of=none_of)
        return Plan(ended, (*closed, full), Plan(ended, (*closed, shorter)))

    return _count(metric, *dynamodb.commit(plan))


def settle(request_id: str, decision: str, reason: str) -> Ended:
    """Ends, on an operator's word, what the workflows could not end: RELEASE pays the provider, REFUND the requester.

    It rests on the escrow being HELD and on nothing else, so it works without the request. The request's status is
    written where it is the escrow's own and may go there. A request that was left VALIDATING, which holds nothing, is
    ended by REFUND.

    Returns
    -------
    COMPLETED, CANCELLED (of a service in progress) or FAILED; NOTHING_TO_DO where the hours have gone elsewhere.

    Raises
    ------
    ReleaseRefused
        there is nothing to give to anybody, or it cannot be given exactly, and nothing moved.
    """
    settled = "RELEASED" if decision == "RELEASE" else "REFUNDED"

    def plan() -> Plan:
        # The request is read last: once the escrow is settled, its status is final.
        escrow = dynamodb.read("Escrow", request_id)
        request = requests.load_if_readable(request_id)
        if escrow is None or (not is_held(escrow) and requests.is_validating(request)):
            return _give_up(request_id, request, escrow, decision, reason)
        # One that is VALIDATING beside an escrow is another request of the same id.
        is_own = requests.is_owned(request, escrow.get("executionArn")) and not requests.is_validating(request)
        own = request if is_own else None
        current = requests.status_of(own) if own else None
        undone = "CANCELLED" if current == "IN_PROGRESS" else "FAILED"
        status = "COMPLETED" if decision == "RELEASE" else undone
        is_concerned = decision == "RELEASE" or (own is not None and requests.was_asked(own))
        people = escrow.get("requesterId"), escrow.get("providerId") if is_concerned else None
        if not is_held(escrow):
            return Plan(Ended(current or status if escrow["status"] == settled else NOTHING_TO_DO, *people))
        ended, closed = Ended(status, *people, _amount(escrow)), _close(escrow, settled)
        if own is None:
            return Plan(ended, closed)
        without = Plan(ended._replace(outcome=_known(requests.status_of(own))), closed)
        why = None if status == "COMPLETED" else by_operator(reason)
        return _with_status(ended, closed, own, status, why, without)

    return _count("HoursReleased" if decision == "RELEASE" else "HoursRefunded", *dynamodb.commit(plan))


def _give_up(request_id: str, request: Item | None, escrow: Item | None, decision: str, reason: str) -> Plan:
    """Ends a request that its execution left VALIDATING; it holds nothing, so nobody can be paid."""
    status = requests.status_of(request or {})
    if request is None or request.get(OWNER) is None or (decision, status) == ("RELEASE", "VALIDATING"):
        raise ReleaseRefused("No hours are held for this request")
    requester = request.get("requesterId")
    if status != "VALIDATING":
        # What ended it was this order, run before; or its execution went on meanwhile.
        return Plan(Ended(status if status == "FAILED" else NOTHING_TO_DO, requester))
    no_hold = Change("Escrow", request_id).unchanged(escrow, "executionArn", "status").check()
    ended, full = Ended("FAILED", requester), requests.move(request, "FAILED", by_operator(reason).attributes())
    return Plan(ended, (full, no_hold), Plan(ended, (requests.move(request, "FAILED"), no_hold)))


def grant(user_id: Any, amount: Any, reason: Any) -> Decimal:
    """Gives a user hours of the bank, once for each reason, however often it is asked for; the hours.

    The balance is created if there is none. What is given is anybody's, and checked here.

    Raises
    ------
    GrantRefused
        the user, the hours or the reason are not legal, or this reason gave the user other hours before.
    ReleaseRefused
        the balance is malformed. In each case nothing moved.
    """
    if not dynamodb.is_key(user_id) or not user_id.strip():
        raise GrantRefused("`userId` is not one that a balance can have")
    if not hours.is_legal(amount):
        raise GrantRefused(f"`hours` is not {hours.LEGAL}")
    if not is_reason(reason):
        raise GrantRefused(f"`reason` is not a text of 1 to {LONGEST_REASON_BYTES} bytes")

    def plan() -> Plan:
        if was_entered(user_id, amount, reason):
            return Plan(amount)
        return Plan(amount, (_credit(user_id, amount), _log_grant(user_id, amount, reason)))

    granted, wrote = dynamodb.commit(plan)
    if wrote:
        measure("HoursGranted", granted)
    return granted


def explain(user_id: str, balance: Item | None, difference: Decimal, reason: str) -> None:
    """Enters what a balance has beside its entries, as from the bank (below 0: as back to it); moves no hours.

    Parameters
    ----------
    balance
        The row, None where there is none, as it was read before the entries were: it must still be so.
    difference
        What it has more than the user's entries say.

    Raises
    ------
    GrantRefused
        the balance was written meanwhile; nothing was entered.
    """

    def plan() -> Plan:
        if was_entered(user_id, difference, reason):
            return Plan(None)
        now = dynamodb.read("UserBalance", user_id) or {}
        if any(now.get(name) != (balance or {}).get(name) for name in ("availableBalance", "updatedAt")):
            raise GrantRefused(f"The balance of {user_id} was written meanwhile")
        as_it_was = Change("UserBalance", user_id).unchanged(balance, "availableBalance", "updatedAt").check()
        return Plan(None, (as_it_was, _log_grant(user_id, difference, reason)))

    dynamodb.commit(plan)


def is_reason(reason: Any) -> TypeGuard[str]:
    """Whether a grant can have this reason: a text that says something, and is short."""
    return dynamodb.is_key(reason) and bool(reason.strip()) and len(reason.encode()) <= LONGEST_REASON_BYTES


def was_entered(user_id: str, amount: Decimal, reason: str) -> bool:
    """Whether this reason gave a user these hours; raises GrantRefused where it gave other hours."""
    entry = dynamodb.read("TransactionLog", f"{grant_id(user_id, reason)}#{GRANT}")
    if entry is None:
        return False
    if tuple(entry.get(name) for name in ("hours", "fromAccount", "toAccount")) != _granted(user_id, amount):
        given = entry.get("hours")
        words = hours.in_words(given) if hours.is_amount(given) else "other"
        raise GrantRefused(f"{user_id} was granted {words} h for this reason before: nothing was granted now")
    return True


def grant_id(user_id: str, reason: str) -> str:
    """What stands for a request's id in a grant's entry: a hash, so that user and reason may be any texts.

    No request's entries have the key of a grant's, whatever ids clients choose: these end in another word.
    """
    return f"grant#{hashlib.sha256(json.dumps([user_id, reason]).encode()).hexdigest()}"


def balance_by(user_id: str, entries: Iterable[Item]) -> Decimal:
    """What a user's balance must be by these entries, which are all that name the user.

    Raises
    ------
    ReleaseRefused
        an entry does not say how many hours it is about.
    """
    account = _user(user_id)
    moved = []
    for entry in entries:
        amount = entry.get("hours")
        if not hours.is_amount(amount):
            raise ReleaseRefused(f"The entry {entry.get('id')} does not say how many hours it is about")
        moved += [amount] * (entry.get("toAccount") == account)
        moved += [amount.copy_negate()] * (entry.get("fromAccount") == account)
    return hours.total(moved)


def is_unfinished(request: Item | None, escrow: Item | None) -> bool:
    """Whether there is work that `settle` may end: hours are held, or the request was left VALIDATING."""
    return bool(escrow and escrow.get("status") == "HELD") or requests.is_validating(request)


def is_held(escrow: Item) -> bool:
    """Whether hours are in this escrow; raises ReleaseRefused where it does not say."""
    status = escrow.get("status")
    if status in ("RELEASED", "REFUNDED"):
        return False
    if status != "HELD":
        raise ReleaseRefused("The escrow has none of the statuses HELD, RELEASED and REFUNDED")
    return True


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
    if not requests.is_owned(request, escrow.get("executionArn")):
        raise ReleaseRefused("The request belongs to another execution than the hours that are held")
    people = ("requesterId", "providerId")
    if any(request.get(person) != escrow.get(person) or not dynamodb.is_key(escrow.get(person)) for person in people):
        raise ReleaseRefused("The request names other people than the hours that are held")
    return request, escrow


def balance_of(request: Item | None) -> Any:
    """What the requester can spend, of any type; None for nobody, and for somebody without a balance."""
    requester = (request or {}).get("requesterId")
    balance = dynamodb.read("UserBalance", requester) if dynamodb.is_key(requester) else None
    return (balance or {}).get("availableBalance")


def require(available: Any, needed: Decimal, refusal: type[Refusal], words: str = "needed") -> None:
    """Raises the refusal unless there are enough hours, in words that tell no balance: both people read them."""
    if available is not None and not hours.adds_up(available, needed.copy_negate()):
        raise refusal("The requester's balance is not one that hours can be taken from")
    if available is None or available < needed:
        raise refusal(f"Not enough hours: {hours.in_words(needed)} {words}")


def _amount(escrow: Item) -> Decimal:
    """The hours of an escrow, also such as were legal when they were held."""
    amount = escrow.get("hours")
    if not hours.is_amount(amount):
        raise ReleaseRefused("The escrow does not say how many hours it holds")
    return amount


def _close(escrow: Item, status: str) -> tuple[Write, ...]:
    """The hours leave the escrow: RELEASED to the provider, REFUNDED to the requester."""
    entry, person = ("ESCROW_RELEASE", "providerId") if status == "RELEASED" else ("ESCROW_REFUND", "requesterId")
    user_id, amount = escrow.get(person), _amount(escrow)
    if not dynamodb.is_key(user_id):
        raise ReleaseRefused(f"The escrow has no {person}, so nobody can get its hours")
    return (
        _credit(user_id, amount),
        _still_held(escrow).set(status=status).write(),
        _log(escrow["id"], entry, amount, _escrow(escrow["id"]), _user(user_id)),
    )


def _still_held(escrow: Item) -> Change:
    return Change("Escrow", escrow["id"]).unchanged(escrow, "status", "executionArn", "hours")


def _debit(user_id: str, amount: Decimal) -> Write:
    balance = Change("UserBalance", user_id).at_least("availableBalance", amount)
    return balance.add("availableBalance", amount.copy_negate()).write()


def _credit(user_id: str, amount: Decimal) -> Write:
    row = dynamodb.read("UserBalance", user_id) or {}
    if "availableBalance" in row and not hours.adds_up(row["availableBalance"], amount):
        raise ReleaseRefused(f"The balance of {user_id} is no number, or one that cannot take these hours exactly")
    needed = {"__typename": "UserBalance", "createdAt": dynamodb.now()}
    balance = Change("UserBalance", user_id).set(**{name: needed[name] for name in needed if name not in row})
    if "availableBalance" in row:
        return balance.exists().add("availableBalance", amount).write()
    return balance.unchanged(None, "availableBalance").set(availableBalance=amount).write()


def _log(
    request_id: str, entry: str, amount: Decimal, from_account: str, to_account: str, reason: str | None = None
) -> Write:
    return dynamodb.put(
        "TransactionLog",
        {
            "id": f"{request_id}#{entry}",
            "requestId": request_id,
            "type": entry,
            "hours": amount,
            "fromAccount": from_account,
            "toAccount": to_account,
            "reason": reason,
        },
    )


def _granted(user_id: str, amount: Decimal) -> tuple[Decimal, str, str]:
    """Hours, from where and to where: from the bank, and below 0 back to it."""
    if amount < 0:
        return amount.copy_negate(), _user(user_id), BANK
    return amount, BANK, _user(user_id)


def _log_grant(user_id: str, amount: Decimal, reason: str) -> Write:
    return _log(grant_id(user_id, reason), GRANT, *_granted(user_id, amount), reason=reason)


def _user(user_id: str) -> str:
    return f"user:{user_id}"


def _escrow(request_id: str) -> str:
    return f"escrow:{request_id}"
