"""What can go wrong in a run: every kind of fault, and at which point it strikes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Any

from handlers.aws.dynamodb import client
from hourbank.simulate.executions import Call, LambdaError, Moment
from hourbank.simulate.paths import delete, say
from hourbank.simulate.program import TABLES, function_arn, snake_case
from hourbank.simulate.tables import LARGEST_ITEM
from hourbank.simulate.world import World

WRITES = ("TransactWriteItems", "UpdateItem")
CHECK_OF = {"WaitForProviderResponse": "CheckProviderResponse", "ProcessNegotiation": "CheckRequesterResponse"}
AT_THE_END = 99


@dataclass(frozen=True)
class Fault:
    """What goes wrong (a kind of `KINDS`), and at which point; `more` says how many writes later a zombie wakes."""

    kind: str
    at: int = 0
    more: int = 0

    def __str__(self) -> str:
        return f"{self.kind}@{self.at}" + (f"+{self.more}" if self.more else "")

    @classmethod
    def of(cls, words: str) -> Fault:
        """Return the fault that `str` gave these words for."""
        kind, _, point = words.partition("@")
        at, _, more = point.partition("+")
        return cls(kind, int(at), int(more or 0))


# values of every type, and numbers of every size and sign
ODD: tuple[Any, ...] = (
    *map(Decimal, ("1e50", "-1e50", "1E-130", "9.9e125", "0", "-3", "1000000.01", "0.001", "1" * 38, "2.00")),
    "three", "", True, [Decimal(1)], {"a": "b"}, {"x", "y"}, {Decimal(1)}, b"bytes", "x" * 3000, "é" * 150_000,
)  # fmt: skip


def _rows() -> list[tuple[str, dict[str, Any]]]:
    """Return rows that make no sense: without each attribute, and with each of another type, empty or null."""
    escrow = {
        "id": "r0", "requestId": "r0", "requesterId": "zoe", "providerId": "yan", "hours": Decimal(2),
        "executionArn": function_arn("old"), "status": "HELD",
    }  # fmt: skip
    entry = {
        "id": "r0#ESCROW_HOLD", "requestId": "r0", "type": "ESCROW_HOLD", "hours": Decimal(2),
        "fromAccount": "user:zoe", "toAccount": "escrow:r0",
    }  # fmt: skip
    balance = {"userId": "zoe", "availableBalance": Decimal(2)}
    request = {
        "id": "r0", "serviceId": "gardening", "requesterId": "zoe", "providerId": "yan", "estimatedHours": Decimal(2),
        "status": "IN_PROGRESS", "stepFunctionExecutionArn": function_arn("old"),
    }  # fmt: skip
    found = []
    for table, row in (
        ("Escrow", escrow), ("TransactionLog", entry), ("UserBalance", balance), ("ServiceRequest", request),
    ):  # fmt: skip
        for name in row.keys() - {"id", "userId"}:
            found.append((table, {key: value for key, value in row.items() if key != name}))
            found += [(table, {**row, name: value}) for value in (None, "", "two", Decimal("1e50"), [Decimal(1)], True)]
    return sorted(found, key=str)


BESIDE = _rows()


def _entry(key: str, source: str, target: str) -> dict[str, Any]:
    owner, _, kind = key.rpartition("#")
    accounts = {"fromAccount": source, "toAccount": target}
    return {"id": key, "requestId": owner, "type": kind, "hours": Decimal(2), **accounts}


_HELD = _entry("q1#ESCROW_HOLD", "user:zoe", "escrow:q1")
# entries that are nothing's: alone, so many that they cancel out, and of kinds that nothing of ours writes
STRAYS = (
    (_HELD,),
    (_HELD, _entry("q1#ESCROW_RELEASE", "escrow:q1", "user:yan")),
    (_entry("q1#BONUS", "bank", "user:zoe"),),
    (_entry("q1", "user:zoe", "user:yan"),),
    (_entry("q1#GRANT", "bank", "user:zoe"),),
)
# hours that somebody writes into a balance, or takes from it, beside the log
# of the provider none: a story may say what is in their row
RAW: tuple[tuple[str, Decimal], ...] = (("dan", Decimal(3)), ("ann", Decimal(-1)), ("new", Decimal("0.001")))

# what lies beside a request from the beginning, of which the laws leave the malformed out of account
BESIDE_KINDS = ("beside", "stray", "raw")

# a function's call, once or (with !) whenever its state is tried again: when, and what Step Functions sees
INVOCATION: dict[str, tuple[Moment, Callable[[], BaseException]]] = {
    "raises": ("before", lambda: ConnectionError("injected")),
    "result-lost": ("after", lambda: ConnectionError("injected")),
    "throttled": ("before", lambda: LambdaError("Lambda.TooManyRequestsException")),
    "out-of-memory": ("after", lambda: LambdaError("Runtime.OutOfMemory")),
    "out-of-time": ("after", lambda: LambdaError("Sandbox.Timedout")),
    "unknown": ("before", lambda: LambdaError("Lambda.Unknown")),
    "hangs": ("before", TimeoutError),
    "times-out": ("after", TimeoutError),
}
# a function's call that is given up for dead while it is about to write, and writes later
ZOMBIES: dict[str, Callable[[], Exception]] = {
    "zombie": lambda: LambdaError("Sandbox.Timedout"),
    "zombie-timed-out": TimeoutError,
}
STOPS: dict[str, tuple[Moment, str]] = {
    "stopped": ("before", "ABORTED"),
    "stopped-after": ("after", "ABORTED"),
    "expired": ("before", "TIMED_OUT"),
}
WAITING = {"stopped-waiting": "ABORTED", "expired-waiting": "TIMED_OUT"}
# one call to AWS
CALL: dict[str, Moment] = {
    "call-refused": "before",
    "call-conflict": "before",
    "call-conflicts": "before",
    "call-lost": "after",
    "call-repeated": "before",
    "killed": "before",
    "killed-after": "after",
}
RECORD = ("record-twice", "record-late", "record-late-again", "record-swapped", "record-lost")
SUBMITTED: dict[str, dict[str, Any]] = {
    "explicit-nulls": dict.fromkeys(
        (
            "status", "providerResponse", "counterOfferHours", "requesterResponse", "failureReason", "offeredHours",
            "providerResponseTimeoutSeconds", "stepFunctionExecutionArn",
        )
    ),
    "pending": {"status": "PENDING"},
}  # fmt: skip
FOR_GOOD = "!"


def fill(world: World, room: int) -> None:
    """Write so long a text into the request that only `room` bytes are left."""
    row = world.tables.tables[TABLES["ServiceRequest"]].rows.get("r1")
    if row and (length := LARGEST_ITEM - row.size - len("notes") - room) > 0 and "notes" not in row.image:
        world.update("r1", notes="x" * length)


def replace(world: World) -> None:
    """Put another person's request in place of the request."""
    delete(world)
    world.submit("r1", requesterId="eve", providerId="bob", estimatedHours=Decimal(1))


def spend(world: World) -> None:
    """Leave the requester without an hour."""
    world.give("ann", -world.ledger().balance("ann"))


def release_too(world: World, order: Mapping[str, str] | None = None) -> None:
    """Run another execution of the release workflow from beginning to end."""
    name = f"escrow-release-r1-{len(world.executions) + 90}"
    execution = world.start("EscrowManagementWorkflow", name, {"requestId": "r1", **(order or {})})
    world.step(execution)


def start_too(world: World) -> None:
    """Run another execution of the request workflow until it waits or ends."""
    world.step(
        world.start("ServiceRequestWorkflow", f"service-request-r1-{len(world.executions) + 90}", {"requestId": "r1"})
    )


def ordered(decision: str) -> Callable[[World], None]:
    """Return what an operator's `hourbank settle` does."""
    return lambda world: release_too(world, {"decision": decision, "by": "operator", "reason": "simulated"})


# what others do just before one call to AWS
MEANWHILE: dict[str, Callable[[World], None]] = {
    "deleted": delete,
    "replaced": replace,
    "spent": spend,
    "provider-accepts": say(providerResponse="ACCEPTED"),
    "provider-declines": say(providerResponse="REJECTED"),
    "provider-offers": say(providerResponse="COUNTER_OFFER", counterOfferHours=Decimal(2)),
    "provider-withdraws": say(providerResponse="WITHDRAWN"),
    "provider-clears": say(providerResponse=None, counterOfferHours=None),
    "offer-broken": say(counterOfferHours=Decimal("0.001")),
    "requester-accepts": say(requesterResponse="ACCEPTED"),
    "requester-cancels": say(requesterResponse="CANCELLED"),
    "requester-confirms": say(requesterResponse="COMPLETED"),
    "requester-clears": say(requesterResponse=None),
    "started-too": start_too,
    "released-too": release_too,
    "ordered-release": ordered("RELEASE"),
    "ordered-refund": ordered("REFUND"),
    "deploy": lambda world: world.redeploy(),
    "names-freed": lambda world: world.free_names(),
    "filled": lambda world: fill(world, 0),
    "filled-almost": lambda world: fill(world, 60),
}
# one call to AWS is refused, or its answer is lost (`more` is 1), and while its state pauses before it is tried again
# the stream goes on, and this happens
PAUSE = {
    f"pause-{name}": MEANWHILE[name]
    for name in (
        "deleted", "provider-declines", "provider-withdraws", "requester-cancels", "requester-confirms",
        "ordered-release", "ordered-refund",
    )
}  # fmt: skip
# the stream is not read from its n-th record on: for good, or for two days, of which the table keeps one
STREAM = ("stream-stops", "stream-returns")
# what a client can have written, of any type and size: at creation, and just before one call to AWS
ODD_CREATED = tuple(
    product(
        (
            "serviceId", "requesterId", "providerId", "estimatedHours", "providerResponseTimeoutSeconds", "createdAt",
            "providerResponse", "counterOfferHours", "requesterResponse",
        ),
        ODD,
    )
)  # fmt: skip
ODD_ANSWERED = tuple(product(("providerResponse", "counterOfferHours", "requesterResponse"), ODD))
ODD_KINDS = ("odd-created", "odd-answered")
# bytes that are left in the record when it is created
FULL = (0, 10, 40, 100, 200, 350)
# ids of which one is made to look like the name of the other's execution
COLLIDING = ("order-124", "r1 2", "x" * 90, "é", "escrow-release-r1", "0" * 40)
# the stream is not read while an answer is given, taken back, and given again days later
TAKEN_BACK = "taken-back"
# after the story, the record is removed, names are free again, and somebody asks anew with the same id
AFTER = ("reborn",)
KINDS = (
    *PAUSE, *STREAM, *ODD_KINDS, "full", *BESIDE_KINDS, TAKEN_BACK, "collides", *AFTER,
    *INVOCATION, *(kind + FOR_GOOD for kind in INVOCATION), *ZOMBIES, *STOPS, *WAITING,
    *CALL, "call-refused!", "call-conflict!", *RECORD, *MEANWHILE, *SUBMITTED,
)  # fmt: skip
BROKEN = tuple(kind + FOR_GOOD for kind in INVOCATION)
# after one of these the end is the same as without it
HARMLESS = (*INVOCATION, "zombie", *CALL, *RECORD, "explicit-nulls", "pending", "deploy", "names-freed")
HARMLESS += ("beside", "stray", TAKEN_BACK)
REPAIRS = ("redrive", "REFUND", "RELEASE", "at-odds")
# as often as a transaction meets another one in a row, and is still tried again by its function
CONFLICTS_IN_A_ROW = 6


def refuse(call: Call, code: str, **more: Any) -> None:
    """Raise what boto3 raises when AWS refuses a call."""
    raise client(call.service).exceptions.from_code(code)(
        {"Error": {"Code": code, "Message": "simulated"}, **more}, call.operation
    )


def conflict(call: Call) -> None:
    """Raise what boto3 raises when another transaction has an item that a call needs, if it is such a call."""
    if call.operation == "TransactWriteItems":
        reasons = [{"Code": "TransactionConflict"}] + [{"Code": "None"}] * (len(call.parameters["TransactItems"]) - 1)
        refuse(call, "TransactionCanceledException", CancellationReasons=reasons)
    if call.operation == "UpdateItem":
        refuse(call, "TransactionConflictException")


def repeat(call: Call) -> None:
    """Make a call once more, whatever is answered."""
    with suppress(client(call.service).exceptions.ClientError):
        getattr(client(call.service), snake_case(call.operation))(**call.parameters)
