"""What the audit says about a case: exactly what the laws say, and about rows of any kind, in words.

Write one here when there is something else that an audit has to see.
"""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.bank import audit, requests
from handlers.bank.audit import Case
from hourbank.laws import Ledger, entries_that_do_not_add_up, hours_of_others

OWN, OTHER = "arn:own", "arn:other"
HELD = "escrow:r1"
STATUSES = (None, "whatever", *requests.TRANSITIONS)
EXECUTIONS = ("RUNNING", "SUCCEEDED", "FAILED", "unknown")
# Each entry with where it goes; `mallory` is nobody's.
ENTRIES = {
    "ESCROW_HOLD": ((3, "ana", HELD), (3, "mallory", HELD)),
    "ESCROW_ADJUST": ((1, HELD, "ana"), (1, HELD, "mallory")),
    "ESCROW_REFUND": ((None, HELD, "ana"), (None, HELD, "ben")),
    "ESCROW_RELEASE": ((None, HELD, "ben"), (None, HELD, "ana")),
}


def entry(kind: str, amount: int | None, source: str, target: str, hours: int) -> dict[str, Any]:
    source, target = (account if account == HELD else f"user:{account}" for account in (source, target))
    return {
        "id": f"r1#{kind}", "type": kind, "hours": Decimal(amount or hours), "fromAccount": source, "toAccount": target,
    }  # fmt: skip


def logs() -> Iterator[list[dict[str, Any]]]:
    """Every set of entries, each as it must be or with a wrong person."""
    for chosen in itertools.product(*((None, *ways) for ways in ENTRIES.values())):
        hours = 2 if chosen[1] else 3
        yield [entry(kind, *way, hours) for kind, way in zip(ENTRIES, chosen, strict=True) if way]


def escrows(log: list[dict[str, Any]]) -> Iterator[dict[str, Any] | None]:
    hours = Decimal(2 if any(entry["type"] == "ESCROW_ADJUST" for entry in log) else 3)
    people = {"id": "r1", "requesterId": "ana", "providerId": "ben", "hours": hours}
    yield None
    for status, arn in itertools.product(("HELD", "RELEASED", "REFUNDED"), (OWN, OTHER)):
        yield people | {"status": status, "executionArn": arn}


def is_wrong(status: str | None, escrow: dict[str, Any] | None, log: list[dict[str, Any]], execution: str) -> bool:
    """What the contract says of a request of execution OWN, apart from how the audit finds it."""
    own = escrow if escrow and escrow["executionArn"] == OWN else None
    if escrow is None or own:
        balances: dict[str, Any] = {}
        for one in log:
            for account, sign in ((one["fromAccount"], -1), (one["toAccount"], 1)):
                if account != HELD:
                    row = balances.setdefault(account.removeprefix("user:"), {"availableBalance": Decimal(100)})
                    row["availableBalance"] += sign * one["hours"]
        ledger = Ledger({}, {"r1": own} if own else {}, balances, {one["id"]: one for one in log})
        granted = dict.fromkeys(balances, Decimal(100))
        if entries_that_do_not_add_up(ledger, granted) or hours_of_others(ledger):
            return True
    if status in (None, "PENDING"):
        return True  # it has an execution: none can begin with it
    ends = {"COMPLETED": "RELEASED", "DECLINED": "REFUNDED", "CANCELLED": "REFUNDED", "TIMED_OUT": "REFUNDED"}
    busy = {"ESCROWED": "HELD", "AWAITING_PROVIDER": "HELD", "NEGOTIATING": "HELD", "IN_PROGRESS": "HELD"}
    beside = own["status"] if own else None
    fits = {
        **{name: {needed} for name, needed in (ends | busy).items()},
        "VALIDATING": {None},
        "REJECTED": {None, "REFUNDED", "RELEASED"},
        "FAILED": {None, "REFUNDED"},
    }
    if status not in fits or beside not in fits[status]:
        return True
    return status in ("VALIDATING", "ESCROWED", "AWAITING_PROVIDER", "NEGOTIATING") and execution != "RUNNING"


def test_every_combination_is_judged_as_the_laws_judge_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("START_REQUESTS_FROM", "2026-01-01T00:00:00Z")
    judged = 0
    for execution in EXECUTIONS:
        monkeypatch.setattr(audit, "execution_status", lambda _, said=execution: said)
        for log in logs():
            for escrow, status in itertools.product(escrows(log), STATUSES):
                request = {"id": "r1", "requesterId": "ana", "providerId": "ben", requests.OWNER: OWN}
                request |= {"createdAt": "2026-05-05T00:00:00Z"} | ({"status": status} if status else {})
                problem = audit.mismatch(Case("r1", request, escrow, log))
                expected = is_wrong(status, escrow, log, execution)
                assert bool(problem) == expected, (status, escrow, log, execution, problem)
                judged += 1
    assert judged == len(EXECUTIONS) * 3**4 * 7 * len(STATUSES)


def escrow_of(status: str) -> dict[str, Any]:
    people = {"requesterId": "ana", "providerId": "ben"}
    return {"id": "r1", "hours": Decimal(3), "status": status, "executionArn": OWN} | people


def log_of(*kinds: str) -> list[dict[str, Any]]:
    return [entry(kind, *ENTRIES[kind][0], 3) for kind in kinds]


# What is silent though somebody might call it wrong, and why that is by design.
SILENT = {
    "ended, and its execution still runs: it is about to end": (
        "COMPLETED", escrow_of("RELEASED"), log_of("ESCROW_HOLD", "ESCROW_RELEASE"), "RUNNING",
    ),
    "in progress, and its execution failed: its people end a service": (
        "IN_PROGRESS", escrow_of("HELD"), log_of("ESCROW_HOLD"), "FAILED",
    ),
    "rejected, and paid: an older request had the id, and its execution the same name": (
        "REJECTED", escrow_of("RELEASED"), log_of("ESCROW_HOLD", "ESCROW_RELEASE"), "SUCCEEDED",
    ),
    "rejected, and entries that cancel out: an administrator removed the escrow afterwards": (
        "REJECTED", None, log_of("ESCROW_HOLD", "ESCROW_REFUND"), "SUCCEEDED",
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", SILENT)
def test_what_is_silent_by_design(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("START_REQUESTS_FROM", "2026-01-01T00:00:00Z")
    status, escrow, log, execution = SILENT[why]
    monkeypatch.setattr(audit, "execution_status", lambda _: execution)
    request = {"id": "r1", "status": status, "requesterId": "ana", "providerId": "ben", requests.OWNER: OWN}
    assert audit.mismatch(Case("r1", request, escrow, log)) is None


@pytest.mark.parametrize("status", ["HELD", "RELEASED", "REFUNDED"])
def test_an_escrow_without_its_request_is_judged_by_itself(status: str) -> None:
    run = audit.Audit(touch=False)
    for log in logs():
        for escrow in filter(lambda one: one and one["status"] == status, escrows(log)):
            said = list(run._about_orphan(Case("r1", None, escrow, log)))
            if status == "HELD":
                assert "Hours are held for a request that is gone" in said[0].problem
            else:
                names = {entry["type"] for entry in log} - {"ESCROW_ADJUST"}
                right_people = all(
                    (one["fromAccount"], one["toAccount"])
                    in {("user:ana", HELD), (HELD, "user:ana" if one["type"] != "ESCROW_RELEASE" else "user:ben")}
                    for one in log
                )
                ended = "ESCROW_RELEASE" if status == "RELEASED" else "ESCROW_REFUND"
                assert bool(said) == (names != {"ESCROW_HOLD", ended} or not right_people)


# --- rows of any kind -------------------------------------------------------------------------------------------------

numbers = st.decimals(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [Decimal("1e50"), Decimal("-1e125"), Decimal("1e-130"), Decimal("9" * 38), Decimal("0.001"), Decimal(0)]
)
values = st.recursive(
    st.none() | st.booleans() | st.text(max_size=12) | numbers | st.binary(max_size=5)
    | st.sampled_from(
        [*requests.TRANSITIONS, "HELD", "RELEASED", "REFUNDED", OWN, HELD, "user:ana", "ana", "2026-11-20T00:00:00Z"]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)  # fmt: skip


def rows(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Items with any of these attributes, of any type; NULL is absent."""
    some = st.dictionaries(st.sampled_from(names), values, max_size=len(names))
    return some.map(lambda row: {name: value for name, value in row.items() if value is not None} | {"id": "r1"})


def of_kind(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    return row | {"id": f"r1#{kind}"}


REQUESTS = rows(
    "status", "requesterId", "providerId", "createdAt", "updatedAt", "touchedAt", "startedAt", "taskToken",
    "providerResponse", "requesterResponse", "estimatedHours", requests.OWNER,
)  # fmt: skip
ESCROWS = rows("status", "hours", "requesterId", "providerId", "executionArn", "updatedAt")
LOGS = st.lists(st.sampled_from(list(ENTRIES)), unique=True).flatmap(
    lambda kinds: st.tuples(*(rows("hours", "fromAccount", "toAccount").map(partial(of_kind, kind)) for kind in kinds))
)


@settings(deadline=None)
@given(st.none() | REQUESTS, st.none() | ESCROWS, LOGS, st.sampled_from(EXECUTIONS))
def test_no_row_ends_an_audit(request_: Any, escrow: Any, log: Any, execution: str) -> None:
    case, now = Case("r1", request_, escrow, list(log)), datetime(2026, 11, 20, tzinfo=UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("START_REQUESTS_FROM", "2026-01-01T00:00:00Z")
        patch.setenv("CONFIRMATION_DAYS", "14")
        patch.setattr(audit, "execution_status", lambda _: execution)
        patch.setattr(audit, "load", lambda _: case)
        run = audit.Audit(touch=False, now=now)
        said = [*(run._about(case) if request_ else ()), *run._about_orphan(case)]
    for finding in said:
        assert finding.problem and finding.remedy and finding.hours >= 0
        assert len(finding.problem) < 300
    if case.held and not case.is_owner:
        assert said, "hours that nobody looks after"
