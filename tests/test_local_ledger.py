"""The two laws, as the demo checks them, see what breaks them."""

from decimal import Decimal

import pytest

from hourbank import ledger_view
from hourbank.ledger_view import LedgerView
from hourbank.stories import stories

HOLD = {
    "requestId": "r",
    "type": "ESCROW_HOLD",
    "hours": Decimal(2),
    "fromAccount": "user:ana",
    "toAccount": "escrow:r",
}
REFUND = HOLD | {"type": "ESCROW_REFUND", "fromAccount": "escrow:r", "toAccount": "user:ana"}
BEFORE = LedgerView(balances={"ana": Decimal(5)}, escrows={}, requests={}, entries=[])


def ledger(balance: str, escrow: str, entries: list, status: str = "IN_PROGRESS") -> LedgerView:
    escrows = {"r": {"id": "r", "hours": Decimal(2), "status": escrow, "executionArn": "arn"}}
    requests = {"r": {"id": "r", "status": status}}
    return LedgerView(balances={"ana": Decimal(balance)}, escrows=escrows, requests=requests, entries=entries)


def test_held_hours_count():
    after = ledger("3", "HELD", [HOLD])
    assert (after.held, after.total) == (Decimal(2), Decimal(5))
    assert ledger_view.broken_conservation(BEFORE, after) == []


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (ledger("4", "HELD", [HOLD]), "5 hours before, 6 after"),
        (ledger("3", "REFUNDED", [HOLD, REFUND]), "5 hours before, 3 after"),
        (ledger("3", "HELD", []), "its log says 0"),
        (ledger("5", "REFUNDED", [HOLD]), "its log says 2"),
    ],
)
def test_lost_hours_made_hours_and_a_wrong_log_break_the_first_law(after, says):
    (broken,) = ledger_view.broken_conservation(BEFORE, after)
    assert says in broken


@pytest.mark.parametrize(
    ("request_status", "execution_status", "broken"),
    [
        ("IN_PROGRESS", "SUCCEEDED", 0),
        ("AWAITING_PROVIDER", "RUNNING", 0),
        ("AWAITING_PROVIDER", "FAILED", 0),
        ("TIMED_OUT", "SUCCEEDED", 1),
    ],
)
def test_hours_that_stay_held_after_a_success_break_the_second_law(request_status, execution_status, broken):
    after = ledger("3", "HELD", [HOLD], request_status)
    assert len(ledger_view.broken_holds(after, {"arn": execution_status})) == broken


def test_the_stories_make_no_hours():
    assert sum(stories.expected_balances(stories.DEMO).values()) == sum(stories.BALANCES.values())


def test_each_story_can_be_paid_while_all_are_played_at_once():
    for name, balance in stories.BALANCES.items():
        asked = sum(story.hours for story in stories.DEMO if story.requester == name and story.status != "REJECTED")
        assert asked <= balance
