"""The laws of the ledger as functions over a plain copy of the tables, so that they hold for any engine.

The auditor's own check, in `handlers/bank/faults.py`, is written apart: one must not hide the other's mistake.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Item = dict[str, Any]
LARGEST_HOURS = 1_000_000
BANK = "bank"
OPENING = "opening balance"
# longest texts and ids, fewest and most hours, decimals and seconds
_NUMBERS_OF_RULES = {
    Decimal(number) for number in (0, 1, 2, 30, 60, 100, 255, 256, 1024, 10**6, 30 * 24 * 3600, 384 * 1024)
}
WAITING = ("AWAITING_PROVIDER", "NEGOTIATING")
ENDS = ("COMPLETED", "REJECTED", "DECLINED", "CANCELLED", "TIMED_OUT", "FAILED")
# what is told of a status on the way, and to whom
TOLD = {
    "AWAITING_PROVIDER": ("ProviderAsked", ("provider",)),
    "NEGOTIATING": ("RequesterAsked", ("requester",)),
    "IN_PROGRESS": ("ServiceStarted", ("requester", "provider")),
}


@dataclass
class Ledger:
    """The four tables at one moment, each by key, as plain Python values (numbers are Decimals)."""

    requests: dict[str, Item] = field(default_factory=dict)
    escrows: dict[str, Item] = field(default_factory=dict)
    balances: dict[str, Item] = field(default_factory=dict)
    log: dict[str, Item] = field(default_factory=dict)

    def balance(self, user: str) -> Decimal:
        """Return the hours that `user` can spend, 0 without a row."""
        return self.balances.get(user, {}).get("availableBalance", Decimal(0))

    def held(self) -> dict[str, Decimal]:
        """Return the hours of each HELD escrow by its id."""
        return {key: escrow["hours"] for key, escrow in self.escrows.items() if escrow["status"] == "HELD"}

    def spendable(self) -> dict[str, Decimal]:
        """Return the hours that each user with a row can spend."""
        return {user: self.balance(user) for user in self.balances}

    def total_held(self) -> Decimal:
        """Return all hours that are held."""
        return sum(self.held().values(), Decimal(0))

    def total(self) -> Decimal:
        """Return all hours there are: what can be spent and what is held."""
        return sum(self.spendable().values(), self.total_held())

    def moved(self) -> dict[str, Decimal]:
        """Return what the entries say that each account has: an escrow, a user, and the bank below 0."""
        accounts: defaultdict[str, Decimal] = defaultdict(Decimal)
        for entry in self.log.values():
            accounts[entry["fromAccount"]] -= entry["hours"]
            accounts[entry["toAccount"]] += entry["hours"]
        return dict(accounts)

    def granted(self) -> Decimal:
        """Return all hours that the bank has granted, by its entries."""
        return -self.moved().get(BANK, Decimal(0))

    def unexplained(self) -> dict[str, Decimal]:
        """Return the hours of each user that no entry explains: what an app wrote into a balance beside the log."""
        said = self.moved()
        users = {*self.balances, *(account.removeprefix("user:") for account in said if account.startswith("user:"))}
        differences = {user: self.balance(user) - said.get(f"user:{user}", Decimal(0)) for user in users}
        return {user: hours for user, hours in differences.items() if hours}


def made_or_lost(before: Ledger, after: Ledger) -> list[str]:
    """Return what the first law says of two moments between which nobody was given hours beside the log."""
    beside = before.unexplained()
    return [*hours_lost(after, beside), *entries_that_do_not_add_up(after, beside)]


def hours_lost(ledger: Ledger, beside: Mapping[str, Decimal] = {}) -> list[str]:
    """First law: what can be spent plus what is held is what the bank has granted.

    `beside` are the hours that users were given beside the log.
    """
    expected = ledger.granted() + sum(beside.values(), Decimal(0))
    return [] if ledger.total() == expected else [f"{ledger.total()} hours in all, but {expected} were granted"]


def entries_that_do_not_add_up(ledger: Ledger, beside: Mapping[str, Decimal] = {}) -> list[str]:
    """Double entry: each account's entries, and what was given beside the log, are what its balance or escrow says."""
    accounts = defaultdict(Decimal, ledger.moved())
    accounts.pop(BANK, None)
    for user, hours in beside.items():
        accounts[f"user:{user}"] += hours
    actual: defaultdict[str, Decimal] = defaultdict(Decimal)
    for user in ledger.balances:
        actual[f"user:{user}"] = ledger.balance(user)
    for key, hours in ledger.held().items():
        actual[f"escrow:{key}"] = hours
    problems = [
        f"{account} has {actual[account]} hours, its entries say {accounts[account]}"
        for account in sorted({*accounts, *actual})
        if accounts[account] != actual[account]
    ]
    problems += [f"{account} is overdrawn" for account, hours in sorted(actual.items()) if hours < 0]
    return problems


def grants_out_of_place(ledger: Ledger) -> list[str]:
    """The bank grants to users, once for each reason, and nothing else takes hours from it.

    What was granted before there were entries for it, an opening balance, may be back to the bank, and be any number.
    """
    problems, seen = [], set()
    for key, entry in ledger.log.items():
        accounts = [entry["fromAccount"], entry["toAccount"]]
        if entry.get("type") != "GRANT" and BANK not in accounts:
            continue
        reason, opens = entry.get("reason"), str(entry.get("reason")).startswith(OPENING)
        users = [account for account in accounts if account.startswith("user:")]
        if entry.get("type") != "GRANT" or not key.endswith("#GRANT") or len(users) != 1 or BANK not in accounts:
            problems.append(f"{key} went from {accounts[0]} to {accounts[1]} as {entry.get('type')}")
        if not opens and (accounts[0] != BANK or not _is_legal(entry["hours"])):
            problems.append(f"{key} grants {entry['hours']} hours from {accounts[0]}")
        if (tuple(users), reason) in seen:
            problems.append(f"{', '.join(users)} was granted hours twice for: {reason}")
        seen.add((tuple(users), reason))
    return problems


def stray_entries(ledger: Ledger) -> list[str]:
    """Return the key of each entry that is nothing's: no request's or escrow's that is there, and no grant's."""
    kinds = ("ESCROW_HOLD", "ESCROW_ADJUST", "ESCROW_REFUND", "ESCROW_RELEASE")
    strays = []
    for key, entry in ledger.log.items():
        owner, _, kind = key.rpartition("#")
        is_there = owner in ledger.requests or owner in ledger.escrows
        if not (is_there if kind in kinds else kind == "GRANT" and _is_key_of(owner, entry)):
            strays.append(key)
    return strays


def _is_key_of(owner: str, grant: Item) -> bool:
    """Whether a grant's key stands for its user and its reason: each may be any text, and is once."""
    accounts = [str(grant.get(name)) for name in ("fromAccount", "toAccount")]
    users = [account.removeprefix("user:") for account in accounts if account.startswith("user:")]
    said = json.dumps([*users, grant.get("reason")]) if isinstance(grant.get("reason"), str) else ""
    return owner == f"grant#{hashlib.sha256(said.encode()).hexdigest()}"


def entries_of_nothing(ledger: Ledger) -> list[str]:
    """Each entry is about something that is there."""
    return [f"{key} is in the log, and nothing that it could be about is there" for key in stray_entries(ledger)]


def hours_of_others(ledger: Ledger) -> list[str]:
    """Nobody else's hours: an escrow's came from its requester, and went, once, where its status says they did.

    RELEASED: to its provider; REFUNDED: to its requester; HELD: nowhere yet.
    """
    problems = []
    for key, escrow in ledger.escrows.items():
        requester, provider, held = f"user:{escrow['requesterId']}", f"user:{escrow['providerId']}", f"escrow:{key}"
        allowed = {
            "ESCROW_HOLD": {(requester, held)},
            "ESCROW_ADJUST": {(requester, held), (held, requester)},
            "ESCROW_RELEASE": {(held, provider)},
            "ESCROW_REFUND": {(held, requester)},
        }
        entries = {kind: ledger.log[f"{key}#{kind}"] for kind in allowed if f"{key}#{kind}" in ledger.log}
        problems += [
            f"{kind} of escrow {key} went from {entry['fromAccount']} to {entry['toAccount']}"
            for kind, entry in entries.items()
            if (entry["fromAccount"], entry["toAccount"]) not in allowed[kind]
        ]
        end = {"RELEASED": {"ESCROW_RELEASE"}, "REFUNDED": {"ESCROW_REFUND"}}.get(escrow["status"], set())
        if entries.keys() - {"ESCROW_ADJUST"} != {"ESCROW_HOLD"} | end:
            problems.append(f"escrow {key} is {escrow['status']}, and its entries are {sorted(entries)}")
    return problems


def illegal_hours(ledger: Ledger) -> list[str]:
    """Return each escrow of hours that nobody may ask for: above 0, at most a million, at most 2 decimals."""
    return [
        f"escrow {key} is of {escrow['hours']} hours"
        for key, escrow in ledger.escrows.items()
        if not _is_legal(escrow["hours"])
    ]


def _is_legal(hours: Decimal) -> bool:
    return 0 < hours <= LARGEST_HOURS and hours == round(hours, 2)


def held_for_others(escrow: Item, request: Item) -> list[str]:
    """Return what is wrong with an escrow that was just made: it is for the people of its request."""
    return [
        f"hours are held for {escrow[person]} as {person}, but the request says {request.get(person)}"
        for person in ("requesterId", "providerId")
        if escrow[person] != request.get(person)
    ]


def hours_held_for_nobody(
    ledger: Ledger, ended: Mapping[str, str], deleted_in_progress: Collection[str] = ()
) -> list[str]:
    """Second law: an escrow whose execution has ended is HELD only in progress, or if that did not succeed.

    `ended` maps the ARN of each execution that has ended to its status, such as SUCCEEDED. Hours of a request that
    somebody deleted while the service was in progress wait for an operator.
    """
    return [
        f"escrow {key} is HELD although its execution SUCCEEDED and its request is {status}"
        for key in ledger.held()
        if ended.get(ledger.escrows[key]["executionArn"]) == "SUCCEEDED"
        and key not in deleted_in_progress
        and (status := ledger.requests.get(key, {}).get("status")) != "IN_PROGRESS"
    ]


def tokens_outside_a_wait(ledger: Ledger, ended: Mapping[str, str]) -> list[str]:
    """Return what holds a task token although it waits for nobody's answer.

    An execution that failed at giving the hours back has left all as it was.
    """
    return [
        f"request {key} has a task token in {request.get('status')}"
        for key, request in ledger.requests.items()
        if request.get("taskToken") is not None
        and (
            request.get("status") not in WAITING
            or ended.get(request.get("stepFunctionExecutionArn", "")) == "SUCCEEDED"
        )
    ]


def illegal_transition(old: str | None, new: str | None, legal: Mapping[str | None, Collection[str]]) -> list[str]:
    """Return what is wrong with a handler that changes a request's status from `old` to `new`."""
    return [] if old == new or new in legal.get(old, ()) else [f"status went from {old} to {new}"]


def decided_by_nobody(old: Item, new: Item, state: str | None = None) -> list[str]:
    """Return what is wrong with a write that ends a request, unless an operator ordered it.

    `old` and `new` are the record before and after a write of `state`; the answers that it rested on are still there.
    """
    before, after = old.get("status"), new.get("status")
    provider, requester = new.get("providerResponse"), new.get("requesterResponse")
    confirmed, withdrawn = requester == "COMPLETED", provider == "WITHDRAWN"
    if state == "TimeoutNegotiation":
        # before the wait has begun for the requester, there is nothing to answer
        answered = before == "NEGOTIATING" and requester in ("ACCEPTED", "REJECTED", "CANCELLED")
    else:
        answered = provider is not None or requester == "CANCELLED"
    if before == after:
        return []
    if after == "COMPLETED" and not confirmed:
        return [f"paid although requesterResponse is {requester}"]
    if before == "IN_PROGRESS" and after == "CANCELLED" and (confirmed or not withdrawn):
        return [f"given up although the answers are {provider} and {requester}"]
    if after == "TIMED_OUT" and answered:
        return [f"timed out although the answers are {provider} and {requester}"]
    return []


def balance_told(old: Item, new: Item, asked: Collection[Decimal]) -> list[str]:
    """Return what is wrong with a reason that both people read: it tells numbers that nobody asked for.

    `asked` are the numbers that were ever in a field of a request of this id.
    What a requester has, or lacks, is nobody else's business.
    """
    reason = new.get("failureReason")
    if reason == old.get("failureReason") or not isinstance(reason, str):
        return []
    # how much more an offer asks for than what is held
    known = {*asked, *(more - less for more in asked for less in asked), *_NUMBERS_OF_RULES}
    told = {Decimal(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d+)?", reason)}
    return [f"a reason that both read tells {sorted(told - known)}: {reason}"] if told - known else []


def told_too_early(
    ledger: Ledger, event: Item, owner: str | None, legal: Mapping[str | None, Collection[str]]
) -> list[str]:
    """Return what is wrong with an event of the execution `owner` that tells a status before it was written.

    The execution is the request's, or one of the release workflow that ends what the request's holds. Where somebody is
    asked before the token is stored, an answer finds nobody who waits for it.
    """
    detail = event["Detail"]
    request, escrow = ledger.requests.get(detail["requestId"], {}), ledger.escrows.get(detail["requestId"], {})
    told, status = detail["status"], request.get("status")
    mine = request.get("stepFunctionExecutionArn")
    if mine is None or mine not in (owner, escrow.get("executionArn")):
        return []
    if status == told or told not in reachable(status, legal):
        return []
    return [f"{event['DetailType']} says {told}, but the request is {status}"]


def told_to_others(event: Item, others: Collection[Item], seen: Collection[Any]) -> list[str]:
    """Return what is wrong with whom an event is for, beside those before it and the statuses that were seen.

    Each event is one person's, by an id that nothing else has, and says nothing but what everybody may know.
    """
    detail, kind = event["Detail"], event["DetailType"]
    event_id, role, status = detail["eventId"], detail["role"], detail["status"]
    what = f"{kind} of {status} to the {role}"
    problems = []
    if detail.keys() != {"requestId", "userId", "role", "status", "eventId"}:
        problems.append(f"{what} says {', '.join(detail)}")
    if event_id != f"{detail['requestId']}#{status}#{role}":
        problems.append(f"{what} has the id {event_id}")
    if any(one["DetailType"] != kind for one in others if one["Detail"]["eventId"] == event_id):
        problems.append(f"{what} has the id of another event")
    if kind == "RequestEnded" and role == "provider" and status != "COMPLETED" and not {*seen} & TOLD.keys():
        problems.append(f"{what}, who was never asked")
    return problems


def untold(written: Collection[str], told: Collection[Item], *, only_ends: bool = False) -> list[str]:
    """Return who was not told of the statuses that were written to a request."""
    was_asked = bool({*written} & TOLD.keys())
    missing = []
    for status in written:
        if status in ENDS:
            concerned = ("requester", "provider") if was_asked or status == "COMPLETED" else ("requester",)
            event = "RequestEnded"
        elif status in TOLD and not only_ends:
            event, concerned = TOLD[status]
        else:
            continue
        known = {
            one["Detail"]["role"] for one in told if (one["DetailType"], one["Detail"]["status"]) == (event, status)
        }
        missing += [f"nobody told the {role}: {event} ({status})" for role in concerned if role not in known]
    return missing


def reachable(status: str | None, legal: Mapping[str | None, Collection[str]]) -> set[str | None]:
    """Return a status and every one that a request may have after it."""
    found: set[str | None] = {status}
    fresh = [status]
    while fresh:
        after = set(legal.get(fresh.pop(), ())) - found
        found |= after
        fresh += after
    return found
