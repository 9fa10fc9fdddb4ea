"""What the audit says about a case: exactly what the laws say, and about rows of any kind, in words.

Write one here when there is something else that an audit has to see.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from components.models import MODELS
from handlers.aws import dynamodb
from handlers.bank import audit, faults, look, requests
from handlers.bank.case import Case
from handlers.bank.ledger import grant_id
from hourbank.laws import Ledger, entries_that_do_not_add_up, hours_of_others, stray_entries
from hourbank.simulate.tables import Tables, answering

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
        monkeypatch.setattr(faults, "execution_status", lambda _, said=execution: said)
        for log in logs():
            for escrow, status in itertools.product(escrows(log), STATUSES):
                request = {"id": "r1", "requesterId": "ana", "providerId": "ben", requests.OWNER: OWN}
                request |= {"createdAt": "2026-05-05T00:00:00Z"} | ({"status": status} if status else {})
                problem = faults.mismatch(Case("r1", request, escrow, log))
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
    monkeypatch.setattr(faults, "execution_status", lambda _: execution)
    request = {"id": "r1", "status": status, "requesterId": "ana", "providerId": "ben", requests.OWNER: OWN}
    assert faults.mismatch(Case("r1", request, escrow, log)) is None


@pytest.mark.parametrize("status", ["HELD", "RELEASED", "REFUNDED"])
def test_an_escrow_without_its_request_is_judged_by_itself(status: str) -> None:
    run = audit.Audit(touch=False)
    for log in logs():
        for escrow in filter(lambda one: one and one["status"] == status, escrows(log)):
            said = list(run.about_orphan(Case("r1", None, escrow, log)))
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
        patch.setattr(look, "execution_status", lambda _: execution)
        patch.setattr(look, "load", lambda _: case)
        run = audit.Audit(touch=False, now=now)
        said = [*(run.about(case) if request_ else ()), *run.about_orphan(case)]
    for finding in said:
        assert finding.problem and finding.remedy and finding.hours >= 0
        assert len(finding.problem) < 300
    if case.held and not case.is_owner:
        assert said, "hours that nobody looks after"


# --- whole tables -----------------------------------------------------------------------------------------------------

USERS, IDS = ("ana", "ben", "eve"), ("r1", "r2", "r3")
MOMENT = "2026-11-19T00:00:00.000Z"
KEYS = [f"{owner}#{kind}" for owner in (*IDS, "") for kind in (*ENTRIES, "GRANT", "BONUS")]
WELCOMES = [f"{grant_id(user, 'welcome')}#GRANT" for user in USERS]


@contextmanager
def tables_of(ledger: Ledger) -> Iterator[None]:
    """What the auditor reads, and no execution that runs."""
    with pytest.MonkeyPatch.context() as patch:
        for model in MODELS.values():
            patch.setenv(model.variable, model.name)
        patch.setenv("START_REQUESTS_FROM", "2026-01-01T00:00:00Z")
        patch.setenv("CONFIRMATION_DAYS", "14")
        for module in (look, faults):
            patch.setattr(module, "execution_status", lambda _: "RUNNING")
        with answering(Tables({model.name: model.hash_key for model in MODELS.values()})):
            client = boto3.client("dynamodb")
            for model, table in zip(MODELS.values(), vars(ledger).values(), strict=True):
                for row in table.values():
                    item = {name: dynamodb.typed(value) for name, value in row.items()}
                    with suppress(ClientError):  # what DynamoDB does not take nobody can have written
                        client.put_item(TableName=model.name, Item=item)
            yield


def audited(now: datetime = datetime(2026, 11, 20, tzinfo=UTC)) -> tuple[list[look.Finding], audit.Audit]:
    run = audit.Audit(touch=False, now=now)
    return list(run.findings()), run


@st.composite
def books(draw: st.DrawFn) -> Ledger:
    """Tables as the bank leaves them, of which somebody then took, added or changed some rows."""
    ledger = Ledger()
    for user in draw(st.sets(st.sampled_from(USERS))):
        enter(ledger, f"{grant_id(user, 'welcome')}#GRANT", 10, "bank", f"user:{user}", reason="welcome")
    for request_id in draw(st.sets(st.sampled_from(IDS))):
        people = draw(st.permutations(USERS))[:2]
        serve(ledger, request_id, *people, *draw(st.sampled_from(ENDED)), draw(st.sampled_from([0, 1, -1])))
    for user in USERS:
        if (has := ledger.moved().get(f"user:{user}")) is not None:
            ledger.balances[user] = {"userId": user, "availableBalance": has, "updatedAt": MOMENT}
    rows_of_tables = [(name, key) for name in sorted(vars(ledger)) for key in (*KEYS, *WELCOMES, *IDS, *USERS)]
    for name, key in draw(st.lists(st.sampled_from(rows_of_tables), max_size=3)):
        getattr(ledger, name).pop(key, None)
    for key, user in draw(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(USERS), max_size=2)).items():
        if key not in ledger.log:
            enter(ledger, key, 1, f"user:{user}", f"escrow:{key.partition('#')[0]}")
    for user, more in draw(st.dictionaries(st.sampled_from(USERS), st.sampled_from([1, -1, Decimal("0.01")]))).items():
        row = ledger.balances.setdefault(user, {"userId": user, "availableBalance": Decimal(0), "updatedAt": MOMENT})
        row["availableBalance"] += more
    return ledger


def serve(
    ledger: Ledger, id_: str, requester: str, provider: str, status: str, ended: str, kind: str, more: int
) -> None:
    """A request of 2 hours at last, of which the provider's offer were some more."""
    people = {"id": id_, "requesterId": requester, "providerId": provider}
    dated = {"createdAt": MOMENT, "updatedAt": MOMENT}
    ledger.requests[id_] = people | dated | {"status": status, requests.OWNER: OWN}
    ledger.escrows[id_] = people | {"status": ended, "hours": Decimal(2), "executionArn": OWN}
    mine, held = f"user:{requester}", f"escrow:{id_}"
    enter(ledger, f"{id_}#ESCROW_HOLD", 2 - more, mine, held)
    if more:
        enter(ledger, f"{id_}#ESCROW_ADJUST", 1, *((mine, held) if more > 0 else (held, mine)))
    if kind:
        enter(ledger, f"{id_}#{kind}", 2, held, f"user:{provider}" if ended == "RELEASED" else mine)


ENDED = (
    ("COMPLETED", "RELEASED", "ESCROW_RELEASE"),
    ("DECLINED", "REFUNDED", "ESCROW_REFUND"),
    ("IN_PROGRESS", "HELD", ""),
    ("AWAITING_PROVIDER", "HELD", ""),
)


def enter(ledger: Ledger, key: str, hours: int, source: str, target: str, **more: Any) -> None:
    kind = key.rpartition("#")[2]
    accounts = {"fromAccount": source, "toAccount": target, "createdAt": MOMENT}
    ledger.log[key] = {"id": key, "type": kind, "hours": Decimal(hours)} | accounts | more


def is_lawful(ledger: Ledger, key: str) -> bool:
    """What the laws say of a request with all that there is about it, and of nothing else."""
    mine = {name: row for name, row in ledger.log.items() if name.rpartition("#")[0] == key and "ESCROW" in name}
    alone = Ledger({}, {key: ledger.escrows[key]} if key in ledger.escrows else {}, {}, mine)
    before = {user: Decimal(1000) for user in USERS}
    alone.balances = {
        user: {"availableBalance": has + alone.moved().get(f"user:{user}", Decimal(0))} for user, has in before.items()
    }
    return not (entries_that_do_not_add_up(alone, before) or hours_of_others(alone))


@settings(deadline=None, max_examples=60)
@given(books())
def test_whole_tables_are_judged_as_the_laws_judge_them(ledger: Ledger) -> None:
    with tables_of(ledger):
        findings, run = audited()
    listed = {(finding.kind, finding.model, finding.key) for finding in findings}
    owners = {*ledger.requests, *ledger.escrows, *(key.rpartition("#")[0] for key in ledger.log)} & {*IDS}
    strays = stray_entries(ledger)
    for key in owners:
        request, escrow = ledger.requests.get(key), ledger.escrows.get(key)
        status, held = (request or {}).get("status"), (escrow or {}).get("status")
        is_wrong = any(f"{key}#{kind}" in strays for kind in ENTRIES) or not is_lawful(ledger, key)
        is_wrong |= request is None and held == "HELD"
        is_wrong |= request is not None and (status, held) not in {(status, held) for status, held, _ in ENDED}
        assert (("MISMATCH", "ServiceRequest", key) in listed) == is_wrong, (key, findings)
    others = {
        key for key in strays if key.rpartition("#")[0] not in owners or not key.rpartition("#")[2].startswith("ESCROW")
    }
    assert {key for _, model, key in listed if model == "TransactionLog"} == others
    unexplained = {key for kind, _, key in listed if kind == "UNEXPLAINED"}
    if any(entry["type"] == "GRANT" for entry in ledger.log.values()):
        assert unexplained == ledger.unexplained().keys()
    else:
        assert not unexplained and run.unexplained == len(ledger.unexplained())
    overdrawn = {user for user in ledger.balances if ledger.balance(user) < 0}
    assert {key for kind, model, key in listed if (kind, model) == ("MISMATCH", "UserBalance")} == overdrawn


def keyed(name: str, keys: list[str], row: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A table of rows of any kind under some keys."""
    return st.dictionaries(st.sampled_from(keys), row, max_size=4).map(
        lambda table: {key: row | {name: key} for key, row in table.items()}
    )


LOG_ROWS = rows("hours", "fromAccount", "toAccount", "type", "reason", "createdAt")
WILD = st.builds(
    Ledger, keyed("id", [*IDS], REQUESTS), keyed("id", [*IDS], ESCROWS),
    keyed("userId", [*USERS], rows("availableBalance", "updatedAt", "createdAt")),
    keyed("id", [*KEYS, *WELCOMES, "whatever"], LOG_ROWS),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(WILD)
def test_no_rows_end_an_audit_of_whole_tables(ledger: Ledger) -> None:
    for row in ledger.balances.values():
        row.pop("id", None)
    with tables_of(ledger):
        findings, run = audited()
    assert run.is_complete and run.is_compared
    assert not [finding for finding in findings if "could not be audited" in finding.problem]
    for finding in findings:
        assert finding.problem and finding.remedy and finding.hours >= 0 and len(finding.problem) < 300
