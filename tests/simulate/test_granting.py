"""First hours under every fault, and each of their protections taken away in turn: the laws notice."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest

from handlers.aws import dynamodb
from handlers.bank import ledger
from handlers.bank.errors import GrantRefused
from hourbank.simulate.campaign import play_again
from hourbank.simulate.cases import Replay, grants, in_silence
from hourbank.simulate.granting import DEEDS, STORIES
from hourbank.simulate.world import deployed


@pytest.mark.parametrize("story", STORIES)
def test_every_fault_at_every_point_of_a_grant(story: str) -> None:
    with in_silence():
        results = list(grants(story))
    assert [(result.name, result.problems) for result in results if result.problems] == []
    assert len(results) > 60


def test_a_run_is_played_again_by_its_words() -> None:
    with in_silence():
        result = play_again("more-hours killed-after@2 redrive")
    assert result.name == "more-hours killed-after@2 redrive" and not result.problems


def caught(story: str = "more-hours", *kinds: str) -> str:
    """Return what is said about a grant with these faults, or with all of them."""
    with in_silence():
        results = list(grants(story))
    return str([
        result.problems for result in results
        if not kinds or any(fault.kind in kinds for fault in Replay.of(result.name).faults)
    ])  # fmt: skip


def test_hours_without_an_entry_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> dynamodb.Write:
        return dynamodb.Change("TransactionLog", "r0").differs("id", "r0").check()

    monkeypatch.setattr(ledger, "_log_grant", nothing)
    assert "10 hours in all, but 4 were granted" in caught()


def test_an_entry_without_hours_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    credit = ledger._credit
    monkeypatch.setattr(ledger, "_credit", lambda user_id, amount: credit(user_id, amount - 1))
    assert "user:ann has 9 hours, its entries say 10" in caught()


def test_a_grant_that_is_not_known_again_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "grant_id", lambda *_: f"grant#{uuid.uuid4()}")
    assert "user:ann was granted hours twice for: welcome" in caught()


def test_hours_of_somebody_else_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_granted", lambda user_id, amount: (amount, "user:bob", f"user:{user_id}"))
    assert "#GRANT grants 6 hours from user:bob" in caught()


def test_a_grant_that_does_not_look_for_other_hours_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ledger, "was_entered", lambda user, _, reason: bool(dynamodb.read("TransactionLog", key(user, reason)))
    )
    assert "answered ['GRANTED', 'GRANTED', 'GRANTED'], and the log says ['7']" in caught(
        "more-hours", "granted-others"
    )


def key(user: str, reason: str) -> str:
    return f"{ledger.grant_id(user, reason)}#GRANT"


def test_without_the_condition_on_the_balance_that_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours that move between the look and the entry are explained wrongly."""
    unchanged = dynamodb.Change.unchanged

    def careless(change: Any, item: Any, *attributes: str) -> Any:
        return change.exists() if "availableBalance" in attributes else unchanged(change, item, *attributes)

    def explained() -> list[str]:
        with in_silence(), deployed() as world:
            world.give("ann", 10)
            read = dynamodb.read

            def then_spend(model: str, name: str) -> Any:
                found = read(model, name)
                if model == "UserBalance" and world.ledger().balance("ann") == 10:
                    world.give("ann", -3)
                return found

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(dynamodb, "read", then_spend)
                try:
                    world.open_books("ann")
                except GrantRefused:
                    return []
            return world.broken_laws()

    assert explained() == []
    monkeypatch.setattr(dynamodb.Change, "unchanged", careless)
    assert "user:ann has 7 hours, its entries say 10" in explained()


def test_each_deed_can_make_a_difference() -> None:
    """A deed that changes nothing would test nothing."""
    for deed in DEEDS.values():
        with in_silence(), deployed() as world:
            world.give("ann", Decimal(4))
            before = world.ledger()
            deed(world)
            assert world.ledger() != before
