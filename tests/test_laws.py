"""Each law of moving hours can be broken, and says by what."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hourbank.laws import (
    Ledger,
    entries_that_do_not_add_up,
    hours_held_for_nobody,
    hours_lost,
    illegal_transition,
    made_or_lost,
    tokens_outside_a_wait,
)

GRANTED = {"ann": Decimal(10)}


def ledger() -> Ledger:
    """Return a ledger in which all is well: ann has asked for 3 of her 10 hours."""
    return Ledger(
        requests={"r1": {"status": "AWAITING_PROVIDER", "taskToken": "t", "stepFunctionExecutionArn": "arn"}},
        escrows={"r1": {"status": "HELD", "hours": Decimal(3), "executionArn": "arn"}},
        balances={"ann": {"availableBalance": Decimal(7)}},
        log={"r1#ESCROW_HOLD": {"hours": Decimal(3), "fromAccount": "user:ann", "toAccount": "escrow:r1"}},
    )


def problems(ledger: Ledger, ended: dict[str, str] | None = None) -> list[str]:
    return [
        *hours_lost(ledger, GRANTED),
        *entries_that_do_not_add_up(ledger, GRANTED),
        *hours_held_for_nobody(ledger, ended or {}),
        *tokens_outside_a_wait(ledger, ended or {}),
    ]


def test_a_good_ledger_breaks_no_law() -> None:
    assert problems(ledger()) == []


def test_lost_hours_are_found() -> None:
    broken = ledger()
    broken.escrows["r1"]["status"] = "REFUNDED"
    assert hours_lost(broken, GRANTED) == ["7 hours in all, but 10 were granted"]


def test_hours_without_an_entry_are_found() -> None:
    broken = ledger()
    broken.log.clear()
    assert entries_that_do_not_add_up(broken, GRANTED) == [
        "escrow:r1 has 3 hours, its entries say 0",
        "user:ann has 7 hours, its entries say 10",
    ]


def test_an_overdrawn_account_is_found() -> None:
    broken = ledger()
    broken.balances["bob"] = {"availableBalance": Decimal(-1)}
    assert "user:bob is overdrawn" in entries_that_do_not_add_up(broken, GRANTED)


@pytest.mark.parametrize(("how", "found"), [("SUCCEEDED", 1), ("FAILED", 0)])
def test_hours_that_nobody_will_release_are_found(how: str, found: int) -> None:
    assert len(hours_held_for_nobody(ledger(), {"arn": how})) == found


def test_a_token_that_outlives_its_wait_is_found() -> None:
    broken = ledger()
    broken.requests["r1"]["status"] = "IN_PROGRESS"
    assert tokens_outside_a_wait(broken, {}) == ["request r1 has a task token in IN_PROGRESS"]


def test_an_illegal_transition_is_found() -> None:
    assert illegal_transition("COMPLETED", "PENDING", {"COMPLETED": set()}) == ["status went from COMPLETED to PENDING"]


# --- two moments of a ledger in which nobody is told what was granted -------------------------------------------------

HOLD = {"hours": Decimal(2), "fromAccount": "user:ana", "toAccount": "escrow:r"}
REFUND = {"hours": Decimal(2), "fromAccount": "escrow:r", "toAccount": "user:ana"}
BEFORE = Ledger(balances={"ana": {"availableBalance": Decimal(5)}})


def after(balance: str, escrow: str, *entries: dict[str, object]) -> Ledger:
    return Ledger(
        balances={"ana": {"availableBalance": Decimal(balance)}},
        escrows={"r": {"hours": Decimal(2), "status": escrow, "executionArn": "arn"}},
        log={f"r#{number}": dict(entry) for number, entry in enumerate(entries)},
    )


def test_held_hours_count() -> None:
    held = after("3", "HELD", HOLD)
    assert (held.total_held(), held.total()) == (Decimal(2), Decimal(5))
    assert made_or_lost(BEFORE, held) == []


def test_what_was_held_before_is_no_hour_that_was_made() -> None:
    held, refunded = after("3", "HELD", HOLD), after("5", "REFUNDED", HOLD, REFUND)
    assert held.unexplained() == {"ana": Decimal(5)}
    assert made_or_lost(held, refunded) == []


@pytest.mark.parametrize(
    ("later", "says"),
    [
        (after("4", "HELD", HOLD), "6 hours in all, but 5 were granted"),
        (after("3", "REFUNDED", HOLD, REFUND), "3 hours in all, but 5 were granted"),
        (after("3", "HELD"), "escrow:r has 2 hours, its entries say 0"),
        (after("5", "REFUNDED", HOLD), "escrow:r has 0 hours, its entries say 2"),
    ],
)
def test_hours_that_were_made_or_lost_between_two_moments_are_found(later: Ledger, says: str) -> None:
    assert says in made_or_lost(BEFORE, later)
