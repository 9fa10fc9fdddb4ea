"""What is wrong: with a request and all there is about it, with one entry of the log, with one balance.

A row is whatever somebody wrote: one that makes no sense is a fault, in words, and never an error.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from handlers.aws.dynamodb import Item
from handlers.bank import hours, ledger, requests
from handlers.bank.case import ENDED_BY, ENTRIES, Case, age, execution_status
from handlers.bank.requests import OWNER

# What a request's status may be beside an escrow of its own in each status, or beside none.
STATUSES = {
    None: {"PENDING", "VALIDATING", "REJECTED", "FAILED"},
    "HELD": {"ESCROWED", "AWAITING_PROVIDER", "NEGOTIATING", "IN_PROGRESS"},
    # REJECTED: an id that was used before, whose older execution had the same name
    "RELEASED": {"COMPLETED", "REJECTED"},
    "REFUNDED": {"REJECTED", "DECLINED", "CANCELLED", "TIMED_OUT", "FAILED"},
}
NEEDS_OWNER = {"VALIDATING", "ESCROWED", "AWAITING_PROVIDER", "NEGOTIATING"}
# of the provider, and then of the requester
LONGEST_WAITS = timedelta(seconds=2 * requests.LONGEST_RESPONSE_TIMEOUT_SECONDS)


def mismatch(case: Case, status_of: Callable[[Any], str] | None = None) -> str | None:
    """What does not fit about status, escrow, log and owner, in words; ``status_of`` an execution, else as AWS says."""
    request = case.request or {}
    is_older = OWNER not in request and case.escrow is None and requests.was_there_before(request)
    if not is_older and (problem := check_status(case)):
        return problem
    # an escrow of another execution is in no request's case
    if (case.escrow is None or case.is_owner) and (problem := check_people(case) or check_log(case)):
        return problem
    status = requests.status_of(request)
    if not is_older and status in NEEDS_OWNER:
        execution = (status_of or execution_status)(request.get(OWNER))
        if execution != "RUNNING":
            return f"The request is {status}, but its execution is {execution}"
    return None


def check_status(case: Case) -> str | None:
    request = case.request or {}
    if case.is_owner and (problem := check_escrow(case)):
        return problem
    status = requests.status_of(request)
    escrow_status = (case.escrow or {}).get("status") if case.is_owner else None
    if status not in STATUSES[escrow_status]:
        beside = f"its escrow is {escrow_status}" if escrow_status else "it has no escrow"
        return f"The request is {status}, but {beside}"
    if status == "PENDING" and OWNER in request:
        return "The request is PENDING, but has an execution: none can begin with it"
    return None


def check_escrow(case: Case) -> str | None:
    """What makes no sense about the escrow by itself."""
    escrow = case.escrow or {}
    if not isinstance(escrow.get("status"), str) or escrow["status"] not in ENDED_BY:
        return "The escrow is neither HELD nor RELEASED nor REFUNDED"
    if not hours.is_amount(escrow.get("hours")):
        return "The escrow does not say how many hours it is for"
    for attribute in ("executionArn", "requesterId", "providerId"):
        if not isinstance(escrow.get(attribute), str) or not escrow[attribute]:
            return f"The escrow has no {attribute}"
    return None


def check_people(case: Case) -> str | None:
    request, escrow = case.request or {}, case.escrow or {}
    if not case.held:
        return None  # settled: nobody can be paid wrongly any more
    same = all(request.get(person) == escrow.get(person) for person in ("requesterId", "providerId"))
    return None if same else "The request names other people than its escrow"


def check_log(case: Case) -> str | None:
    """What does not fit about the entries: what they add up to, between whom they are, and how the escrow ended."""
    for entry in case.entries:
        if not hours.is_amount(entry.get("hours")):
            return f"The entry {kind_of(case, entry)} does not say how many hours it is about"
    account = f"escrow:{case.request_id}"
    into = (entry["hours"] for entry in case.entries if entry.get("toAccount") == account)
    out = (entry["hours"].copy_negate() for entry in case.entries if entry.get("fromAccount") == account)
    total = hours.total([*into, *out])
    if total != case.held:
        return f"{hours.in_words(case.held)} hours are held, but the log says {hours.in_words(total)}"
    if case.escrow is None:
        return None
    allowed = accounts(case.escrow, account)
    kinds = set()
    for entry in case.entries:
        kinds.add(kind := kind_of(case, entry))
        if (entry.get("fromAccount"), entry.get("toAccount")) not in allowed.get(kind, ()):
            return f"The entry {kind} is not between the people of the escrow"
    if kinds - {"ESCROW_ADJUST"} != {"ESCROW_HOLD"} | ENDED_BY.get(str(case.escrow.get("status")), set()):
        return (
            f"The escrow is {case.escrow.get('status')}, but its entries are {', '.join(sorted(kinds)) or 'not there'}"
        )
    return None


def kind_of(case: Case, entry: Item) -> str:
    """What an entry is by its key, which nothing can change."""
    return str(entry["id"]).removeprefix(f"{case.request_id}#")


def accounts(escrow: Item, held: str) -> dict[str, set[tuple[str, str]]]:
    """From where to where each entry of an escrow may go; the requester's own hours, and never another's."""
    requester, provider = f"user:{escrow.get('requesterId')}", f"user:{escrow.get('providerId')}"
    return {
        "ESCROW_HOLD": {(requester, held)},
        "ESCROW_ADJUST": {(requester, held), (held, requester)},
        "ESCROW_REFUND": {(held, requester)},
        "ESCROW_RELEASE": {(held, provider)},
    }


def of_nothing(case: Case) -> str | None:
    """What is wrong with entries beside neither a request nor an escrow: nobody has held, moved or given these hours.

    Not with those from before the workflows were there.
    """
    if case.request is not None or case.escrow is not None:
        return None
    if all(requests.was_there_before(entry) for entry in case.entries):
        return None
    kinds = ", ".join(sorted(kind_of(case, entry) for entry in case.entries))
    return f"The log has {kinds} of a request of which there is neither a record nor an escrow"


def request_of(entry: Item) -> str | None:
    """The request to whose case an entry belongs by its key; None where it can be no request's."""
    request_id, _, kind = str(entry["id"]).rpartition("#")
    return request_id if kind in ENTRIES and request_id and requests.is_short(request_id) else None


def is_as_it_must_be(entry: Item, escrow: Item | None) -> bool:
    """Whether a request's entry is one that its escrow has: of its people, and of its end.

    Whether all are there, and add up, is seen from the request's side, which asks for these alone.
    """
    if escrow is None:
        return False
    request_id, _, kind = str(entry["id"]).rpartition("#")
    ended = ENDED_BY.get(str(escrow.get("status")))
    if ended is None or kind not in {"ESCROW_HOLD", "ESCROW_ADJUST"} | ended or not hours.is_amount(entry.get("hours")):
        return False
    between = entry.get("fromAccount"), entry.get("toAccount")
    return any(between == allowed for allowed in accounts(escrow, f"escrow:{request_id}")[kind])


def is_adjustment(entry: Item) -> bool:
    """Whether an entry is one that a request need not have."""
    return str(entry["id"]).endswith("#ESCROW_ADJUST")


def adds_up(entry: Item, hold: Item | None, escrow: Item | None) -> bool:
    """Whether an adjustment that is as it must be makes of what was held first what the escrow is for."""
    first, moved = (hold or {}).get("hours"), entry["hours"]
    if not hours.is_amount(first):
        return False
    more = moved if str(entry.get("toAccount")).startswith("escrow:") else moved.copy_negate()
    return hours.total([first, more]) == (escrow or {}).get("hours")


def check_entry(entry: Item) -> str | None:
    """What is wrong with an entry that is no request's: a grant of the bank's, or none that anything of ours writes."""
    request_id, _, kind = str(entry["id"]).rpartition("#")
    if kind != ledger.GRANT:
        if requests.was_there_before(entry):
            return None
        return "The entry is none that the workflows or the bank write"
    source, target, reason = entry.get("fromAccount"), entry.get("toAccount"), entry.get("reason")
    user = target if source == ledger.BANK else source
    if ledger.BANK not in (source, target) or not isinstance(user, str) or not user.startswith("user:"):
        return "The grant is not between the bank and a user"
    if not isinstance(reason, str) or request_id != ledger.grant_id(user.removeprefix("user:"), reason):
        return "The grant is not of the user and the reason that its key stands for"
    if reason.startswith(ledger.OPENING):
        return None if hours.is_amount(entry.get("hours")) else "The grant does not say how many hours it is of"
    if source != ledger.BANK or not hours.is_legal(entry.get("hours")):
        return f"The grant is not from the bank, or its hours are not {hours.LEGAL}"
    return None


def check_balance(row: Item) -> str | None:
    """What is wrong with a balance by itself."""
    balance = row.get("availableBalance", Decimal(0))
    if not hours.adds_up(balance, Decimal(0)):
        return "The balance is no number that hours can be given to"
    if balance < 0:
        return f"The balance is {hours.in_words(balance)}: no move takes more than there is"
    return None


def in_progress_for(case: Case, now: datetime) -> timedelta:
    """For how long a service has been in progress, by a time that neither people nor a touch can move; else 0."""
    request = case.request or {}
    if requests.status_of(request) != "IN_PROGRESS":
        return timedelta(0)
    if started := requests.moment(request, requests.STARTED):
        return now - started
    # Begun by an older version, or in a record that was full: the hold is older than the service, by both waits at
    # most, and the record's last change may be newer.
    held = age(now, case.escrow)
    return max(min(held, age(now, request)), held - LONGEST_WAITS)
