"""People, balances, requests and answers in any order, sizes and decimals; Hypothesis looks for the shortest story."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from handlers.bank import hours, requests
from hourbank.laws import OPENING
from hourbank.simulate.cases import in_silence
from hourbank.simulate.executions import SimulatedExecution
from hourbank.simulate.run import is_right
from hourbank.simulate.world import deployed

PEOPLE = ("ann", "bob", "Zoë λ", "u" * 60)
people = st.sampled_from(PEOPLE)
legal_hours = st.decimals("0.01", "1000000", places=2)
small_hours = st.decimals("0.01", "20", places=2)
any_hours = st.one_of(
    small_hours, small_hours, legal_hours, st.decimals("-1E+30", 9, places=3),
    st.sampled_from([None, Decimal(0), Decimal(-1), "3", Decimal("1E+30"), Decimal("2.50"), Decimal("1E-2")]),
)  # fmt: skip
provider_answers = st.sampled_from(
    ["ACCEPTED", "ACCEPTED", "REJECTED", "COUNTER_OFFER", "WITHDRAWN", "PERHAPS", "", None]
)
requester_answers = st.sampled_from(
    ["ACCEPTED", "REJECTED", "CANCELLED", "COMPLETED", "COMPLETED", "PERHAPS", "", None]
)


class HourBank(RuleBasedStateMachine):
    """What people can do through Amplify, and what time and the stream do meanwhile."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        self._open.enter_context(in_silence())
        self.world = self._open.enter_context(deployed())
        self.statuses: dict[str, str] = {}

    @initialize(shares=st.lists(st.decimals("5", "99999999999999999999.99", places=2), min_size=2, max_size=2))
    def begin(self, shares: list[Decimal]) -> None:
        for person, share in zip(PEOPLE, [*shares, Decimal(10)], strict=False):
            self.world.give(person, share)

    # --- people

    @rule(
        person=people,
        more=any_hours.filter(lambda one: not isinstance(one, str)),
        reason=st.sampled_from(["welcome", "an event"]),
    )
    def grant(self, person: str, more: Any, reason: str) -> None:
        before = self.world.ledger()
        earlier = {entry["hours"] for entry in before.log.values() if is_grant(entry, person, reason)}
        answer = self.world.grant(person, more, reason)
        assert answer == ("GRANTED" if hours.is_legal(more) and earlier <= {more} else "REFUSED")
        changed = self.world.ledger().balance(person) - before.balance(person)
        assert changed == (more if answer == "GRANTED" and not earlier else 0)

    @rule(person=people)
    def open_books(self, person: str) -> None:
        self.world.open_books(person)
        assert person not in self.world.ledger().unexplained()

    @rule(person=people, more=small_hours)
    def earn_elsewhere(self, person: str, more: Decimal) -> None:
        self.world.give(person, more)

    @rule(person=people, part=st.decimals("0", "1", places=2))
    def spend_elsewhere(self, person: str, part: Decimal) -> None:
        balance = self.world.ledger().balance(person)
        if balance > 0:
            self.world.give(person, -min(balance, (balance * part).quantize(Decimal("0.01"))))

    @rule(target=ids, requester=people, provider=people, asked=any_hours, status=st.sampled_from([None, "PENDING"]))
    def ask_anything(self, requester: str, provider: str, asked: Any, status: str | None) -> str:
        return self.ask(requester, provider, asked, status)

    def ask(self, requester: str, provider: str, asked: Any, status: str | None) -> str:
        request_id = f"r{len(self.world.ledger().requests)}-x"
        self.world.submit(request_id, requesterId=requester, providerId=provider, estimatedHours=asked, status=status)
        return request_id

    @rule(target=ids, pair=st.permutations(PEOPLE), asked=small_hours)
    def ask_and_wait(self, pair: list[str], asked: Decimal) -> str:
        request_id = self.ask(pair[0], pair[1], asked, None)
        self.world.settle()
        return request_id

    @rule(request_id=ids, offer=small_hours)
    def negotiate(self, request_id: str, offer: Decimal) -> None:
        self.world.update(request_id, providerResponse="COUNTER_OFFER", counterOfferHours=offer)
        self.world.settle()
        self.world.update(request_id, requesterResponse="ACCEPTED")

    @rule(request_id=ids, answer=provider_answers, offer=any_hours)
    def provider_says(self, request_id: str, answer: str | None, offer: Any) -> None:
        self.world.update(request_id, providerResponse=answer, counterOfferHours=offer)

    @rule(request_id=ids, answer=requester_answers)
    def requester_says(self, request_id: str, answer: str | None) -> None:
        self.world.update(request_id, requesterResponse=answer)

    @rule(request_id=consumes(ids))
    def agree_and_confirm(self, request_id: str) -> None:
        """Go all the way where the way is open."""
        for values in ({"providerResponse": "ACCEPTED"}, {"requesterResponse": "COMPLETED"}):
            self.world.settle()
            self.world.update(request_id, **values)
        self.world.settle()

    # --- time and the stream

    @rule(at_most=st.integers(1, 3))
    def deliver(self, at_most: int) -> None:
        self.world.deliver(at_most=at_most)

    @precondition(lambda self: self.runnable())
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        self.world.step(data.draw(st.sampled_from(self.runnable())))

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def run_out_of_time(self, data: st.DataObject) -> None:
        self.world.step(data.draw(st.sampled_from(self.waiting())))

    @rule()
    def settle(self) -> None:
        self.world.settle()

    @rule()
    def audit(self) -> None:
        """The auditor looks an hour later; by then the stream is read, and what runs has come to a wait."""
        self.world.settle()
        assert self.world.audit().findings == {}

    def let_time_pass(self) -> None:
        self.world.settle()
        while waiting := self.waiting():
            self.world.expire(waiting[0])

    def runnable(self) -> list[SimulatedExecution]:
        return [execution for execution in self.world.executions if execution.is_runnable]

    def waiting(self) -> list[SimulatedExecution]:
        return [execution for execution in self.world.executions if execution.waiting]

    # --- what always holds

    @invariant()
    def laws_hold(self) -> None:
        """Checked after each write as well: hours are constant, entries add up, nothing is held for nobody."""
        self.world.assert_lawful()
        assert self.world.broken_laws() == []

    @invariant()
    def statuses_move_along_legal_transitions(self) -> None:
        now = {key: row.get("status") or "PENDING" for key, row in self.world.ledger().requests.items()}
        for key, status in now.items():
            before = self.statuses.get(key, "PENDING")
            assert status in reachable(before), f"{key} went from {before} to {status}"
        self.statuses = now

    @invariant()
    def hours_are_legal(self) -> None:
        ledger = self.world.ledger()
        for row in (*ledger.escrows.values(), *ledger.log.values()):
            assert hours.is_legal(row["hours"]) or str(row.get("reason")).startswith(OPENING)

    def teardown(self) -> None:
        """When all time has passed and nobody answers any more, everything is where it belongs."""
        try:
            self.let_time_pass()
            # what the stream has lost meanwhile begins only now
            while self.world.audit(again=True).missed:
                self.let_time_pass()
            ledger = self.world.ledger()
            assert [key for key in ledger.requests if not is_right(self.world, ledger, key)] == []
            assert all(execution.status == "SUCCEEDED" for execution in self.world.executions)
            assert self.world.dead_letters == []
            assert self.world.audit(touch=False).findings == {}
        finally:
            self._open.close()


def is_grant(entry: dict[str, Any], person: str, reason: str) -> bool:
    return entry.get("toAccount") == f"user:{person}" and entry.get("reason") == reason


def reachable(status: str) -> set[str]:
    """Return what a request may be after any number of steps; written apart from the harness's law."""
    return {status}.union(*(reachable(after) for after in requests.TRANSITIONS.get(status, ())))


# derandomized: the same stories every time, so a red build is red again
HourBank.TestCase.settings = settings(
    stateful_step_count=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestHourBank = HourBank.TestCase
