"""Longer runs: people, time, the stream and faults in an order that a seed decides.

A longer run is one class: each of its methods is one thing that can happen next.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any

from handlers.bank.execution import REQUEST_PREFIX, execution_name
from hourbank.simulate.executions import Call, Invocation, Killed, LambdaError, Moment, SimulatedExecution, SteppedCall
from hourbank.simulate.faults import WRITES, conflict, refuse
from hourbank.simulate.run import is_redrivable, is_right
from hourbank.simulate.world import deployed

PEOPLE = ("ann", "bob", "cat")
IDS = (
    *(f"r{letter}" for letter in "abcd"),
    "order-124",
    execution_name(REQUEST_PREFIX, "order-124", 1).removeprefix(REQUEST_PREFIX),
)
HOURS = ("0.01", "0.5", "1", "2.25", "3", "7", "9.99", "40", "0.001", "0")
GRANTS = {"userId": PEOPLE, "hours": ("5", "5", "7.5", "0.001"), "reason": ("welcome", "an event")}
ANSWERS: dict[str, tuple[Any, ...]] = {
    "providerResponse": ("ACCEPTED", "ACCEPTED", "ACCEPTED", "REJECTED", "COUNTER_OFFER", "WITHDRAWN", "PERHAPS", None),
    "requesterResponse": ("ACCEPTED", "ACCEPTED", "REJECTED", "CANCELLED", "COMPLETED", "COMPLETED", None),
    "counterOfferHours": tuple(Decimal(hours) for hours in HOURS),
}


class Wander:
    """One run of a seed; each step draws from a generator of its own, so that a step can be left out.

    Parameters
    ----------
    seed, steps
        What to do; the same seed does the same.
    only
        The numbers of the steps to take; by default all.
    changes
        Arguments of the world that are not those of the program.
    """

    def __init__(self, seed: int, steps: int = 80, only: Collection[int] | None = None, **changes: Any) -> None:
        self.seed, self.steps = seed, range(steps) if only is None else sorted(only)
        self.world = deployed(**changes)
        self.trace: list[str] = []
        self.invocations = 0
        self.calls = 0
        self.faults = 0
        self._dice = random.Random(seed)
        self._chance = 0.0
        self._is_disturbed = True
        self._zombies: list[SteppedCall] = []
        self._kept: list[dict[str, Any]] = []
        self._unanswered: list[dict[str, str]] = []
        self._acts: dict[Callable[[], None], int] = {
            self._submit: 6, self._answer: 14, self._step: 30, self._deliver: 20, self._expire: 5, self._stop: 1,
            self._redrive: 2, self._order: 3, self._audit: 1, self._delete: 1, self._pay: 2, self._redeploy: 1,
            self._wake: 2, self._grant: 3, self._open_books: 1,
        }  # fmt: skip

    def play(self) -> list[str]:
        """Run to the end, and return everything that was wrong, in words."""
        problems: list[str] = []
        try:
            with self.world as world:
                world.on_invoke, world.on_call, world.on_deliver = self._on_invoke, self._on_call, self._on_deliver
                for person in PEOPLE:
                    world.grant(person, 10)
                for number in self.steps:
                    self._take(number)
                self._is_disturbed = False
                self._finish()
                problems += self._judge()
        except AssertionError as broken:
            problems += str(broken).splitlines()
        except Exception as error:  # noqa: BLE001  whatever it is, the story that led there matters
            problems.append(f"the run broke off: {error!r}")
        return list(dict.fromkeys(problems))

    def _take(self, number: int) -> None:
        self._dice = random.Random(f"{self.seed} {number}")
        self._chance = self._dice.choice((0, 0, 0, 0.05, 0.3))
        [act] = self._dice.choices(list(self._acts), list(self._acts.values()))
        self.trace.append(f"{number}: {act.__name__.removeprefix('_')}")
        act()
        self.world.assert_lawful()

    def _tell(self, words: str) -> None:
        self.trace[-1] += f" {words}"

    def _pick(self, among: list[Any]) -> Any:
        return self._dice.choice(among) if among else None

    # --- what can happen

    def _submit(self) -> None:
        free = [key for key in IDS if key not in self.world.ledger().requests]
        if (key := self._pick(free)) is None:
            return
        requester, provider = self._dice.sample(PEOPLE, 2)
        hours = Decimal(self._dice.choice(HOURS))
        self._tell(f"{key}: {requester} asks {provider} for {hours}")
        status = self._dice.choice((None, "PENDING"))
        self.world.submit(key, requesterId=requester, providerId=provider, estimatedHours=hours, status=status)

    def _answer(self) -> None:
        if key := self._pick(sorted(self.world.ledger().requests)):
            names = self._dice.choice((("providerResponse", "counterOfferHours"), ("requesterResponse",)))
            values = {name: self._dice.choice(ANSWERS[name]) for name in names}
            self._tell(f"{key}: {values}")
            self.world.update(key, **values)

    def _step(self) -> None:
        if execution := self._pick([e for e in self.world.executions if e.is_runnable]):
            self._tell(execution.name)
            self.world.go_a_stretch(execution)

    def _deliver(self) -> None:
        self.world.deliver(at_most=self._dice.randint(1, 4))

    def _expire(self) -> None:
        if execution := self._pick([e for e in self.world.executions if e.waiting]):
            self._tell(f"{execution.name} in {execution.waiting}")
            self.world.step(execution)

    def _stop(self) -> None:
        if execution := self._pick([e for e in self.world.executions if not e.ended]):
            self._tell(execution.name)
            self.world.stop(execution, self._dice.choice(("ABORTED", "TIMED_OUT")))

    def _redrive(self) -> None:
        if execution := self._pick([e for e in self.world.executions if e.ended and is_redrivable(e)]):
            self._tell(execution.name)
            execution.redrive()

    def _order(self) -> None:
        ledger = self.world.ledger()
        if key := self._pick(sorted({*ledger.escrows, *ledger.requests})):
            self._settle(key, self._dice.choice(("RELEASE", "REFUND")))

    def _settle(self, key: str, decision: str) -> SimulatedExecution:
        self._tell(f"{key}: {decision}")
        order = {"requestId": key, "decision": decision, "by": "operator", "reason": "simulated"}
        return self.world.start("EscrowManagementWorkflow", f"settle-{len(self.world.executions)}", order)

    def _audit(self) -> None:
        try:
            self.world.audit()
        except Exception as error:  # noqa: BLE001  the next hour's will do
            self._tell(repr(error))

    def _delete(self) -> None:
        if key := self._pick(sorted(self.world.ledger().requests)):
            self._tell(key)
            self.world.delete(key)

    def _pay(self) -> None:
        """Let the app write a balance itself, and leave no trace in the log."""
        person = self._dice.choice(PEOPLE)
        hours = self._dice.choice((Decimal(5), -self.world.ledger().balance(person)))
        self._tell(f"{person} {hours}")
        self.world.give(person, hours)

    def _grant(self) -> None:
        """Let the app's backend ask for a grant, which it does again until it has an answer."""
        event = {name: self._dice.choice(values) for name, values in GRANTS.items()}
        self._ask_for([*self._unanswered, event])

    def _ask_for(self, events: list[dict[str, str]]) -> None:
        self._unanswered = []
        for event in events:
            self._tell(f"{event}")
            try:
                self.world.invoke("grantHours", event)
            except Exception as error:  # noqa: BLE001  whatever it is, the backend asks again
                self._tell(repr(error))
                self._unanswered.append(event)

    def _open_books(self) -> None:
        person = self._dice.choice(PEOPLE)
        self._tell(person)
        self.world.open_books(person)

    def _redeploy(self) -> None:
        self.world.redeploy()

    def _wake(self) -> None:
        if zombie := self._pick([zombie for zombie in self._zombies if not zombie.ended]):
            self._tell(zombie.invocation.function)
            with self.world.as_client():
                zombie.step() if self._dice.random() < 0.3 else zombie.finish()

    # --- what goes wrong

    def _strikes(self) -> bool:
        struck = self._is_disturbed and self._dice.random() < self._chance
        self.faults += struck
        return struck

    def _on_invoke(self, invocation: Invocation, moment: Moment) -> None:
        self.invocations += moment == "before"
        if invocation.function == "auditLedger" or not self._strikes():
            return
        names = ("ConnectionError", "Sandbox.Timedout", "Lambda.TooManyRequestsException", "States.Timeout")
        name = self._dice.choice(names)
        self._tell(f"[{invocation.state or invocation.function}: {name} {moment}]")
        is_asked_again = invocation.state or invocation.function == "grantHours"
        if moment == "before" and name == "Sandbox.Timedout" and is_asked_again:
            self._bury(invocation)
        raise TimeoutError if name == "States.Timeout" else LambdaError(name)

    def _bury(self, invocation: Invocation) -> None:
        """Let a function that is given up for dead run until it is about to write."""
        with self.world.as_client():
            zombie = self.world.begin(invocation.function, invocation.event)
            while zombie.due and zombie.due.operation not in WRITES:
                zombie.step()
        self._zombies.append(zombie)

    def _on_call(self, call: Call, moment: Moment) -> None:
        self.calls += moment == "before"
        if not self._strikes():
            return
        kind = self._dice.choice(("refused", "conflict", "lost", "killed"))
        self._tell(f"[{call.operation}: {kind} {moment}]")
        if kind == "killed":
            raise Killed
        if kind == "lost" or moment == "after":
            raise ConnectionError("simulated")
        if kind == "conflict":
            conflict(call)
        refuse(call, "ProvisionedThroughputExceededException" if call.service == "dynamodb" else "ThrottlingException")

    def _on_deliver(self, pending: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not self._is_disturbed:
            return pending
        delivered = []
        for record in [*pending, *self._kept]:
            what = self._dice.choice(("lost", "twice", "kept")) if self._strikes() else "delivered"
            delivered += [record] * {"lost": 0, "kept": 0, "twice": 2}.get(what, 1)
            self._kept = [*(kept for kept in self._kept if kept is not record), *([record] if what == "kept" else [])]
        return delivered

    # --- the end

    def _finish(self) -> None:
        """Heal everything, and finish what is left as people and an operator would."""
        world = self.world
        self.trace.append("all faults are healed")
        for zombie in self._zombies:
            if not zombie.ended:
                with world.as_client():
                    zombie.finish()
        self._ask_for(self._unanswered)
        for _ in range(100):
            world.settle()
            failed = [e for e in world.executions if e.ended and is_redrivable(e)]
            waiting = [e for e in world.executions if e.waiting]
            stuck = [key for key in world.ledger().held() if not is_right(world, world.ledger(), key)]
            before = [(e.status, len(e.states)) for e in world.executions]
            # as `hourbank audit --touch`: where a week has passed in one leap, the auditor touches no more by itself
            if world.audit(again=True).missed:
                world.settle()
            if before != [(e.status, len(e.states)) for e in world.executions]:
                continue
            if failed:
                failed[0].redrive()
            elif waiting:
                world.expire(waiting[0])
            elif stuck:
                self._settle(stuck[0], "REFUND")
            else:
                return
        raise AssertionError("the run does not come to rest")

    def _judge(self) -> list[str]:
        world, ledger = self.world, self.world.ledger()
        found = world.audit(touch=False).findings
        problems = [f"listed although all is repaired: {key}: {problem}" for key, problem in found.items()]
        problems += [f"no answer to {event}" for event in self._unanswered]
        return problems + [
            f"wrong: {key} is {ledger.requests.get(key, {}).get('status')}, escrow {ledger.escrows.get(key, {})}"
            for key in sorted({*ledger.requests, *ledger.escrows})
            if not is_right(world, ledger, key)
        ]


def shortest(wander: Wander) -> Wander:
    """Return a run of the same seed with as few steps as still show a problem."""
    only, size = list(wander.steps), max(1, len(wander.steps) // 2)
    while size:
        for start in range(0, len(only), size):
            fewer = only[:start] + only[start + size :]
            again = Wander(wander.seed, only=fewer)
            if again.play():
                only = fewer
                break
        else:
            size //= 2
    return Wander(wander.seed, only=only)
