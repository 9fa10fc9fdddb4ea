"""First hours while something goes wrong: a grant with each fault at each of its points, until its caller has answers.

The app's backend asks for it again until it is answered, and then once more, as a trigger that fires twice would. A run
is right if no law was ever broken, the user was granted the hours once, and both answers say so; or, where somebody
else had granted other hours for the same reason first, both refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from hourbank.simulate.executions import Call, Invocation, Killed, LambdaError, Moment, SteppedCall
from hourbank.simulate.faults import (
    CALL,
    CONFLICTS_IN_A_ROW,
    INVOCATION,
    WRITES,
    Fault,
    conflict,
    refuse,
    repeat,
    start_too,
)
from hourbank.simulate.world import World, deployed

# what the user has, written beside the log, before hours are granted
STORIES = {"first-hours": 0, "more-hours": 4}
EVENT = {"userId": "ann", "hours": "6", "reason": "welcome"}


def ask(world: World) -> None:
    """Let the user's own request hold hours of hers."""
    if world.ledger().balance("ann") >= 3:
        world.submit("r1")
        start_too(world)


def open_books(world: World) -> None:
    world.open_books("ann")


# what others do just before one call to AWS
DEEDS: dict[str, Callable[[World], object]] = {
    "granted-too": lambda world: world.grant("ann", 6, "welcome"),
    "granted-others": lambda world: world.grant("ann", 7, "welcome"),
    "granted-more": lambda world: world.grant("ann", 1, "an event"),
    "given": lambda world: world.give("ann", 5),
    "taken": lambda world: world.give("ann", -world.ledger().balance("ann")),
    "asks": ask,
    "opened": open_books,
}
KINDS = (*INVOCATION, *CALL, "zombie", *DEEDS)


class Granting:
    """One run; `play` returns what was wrong with it.

    Parameters
    ----------
    story
        One of `STORIES`.
    fault
        What goes wrong; None: nothing.
    changes
        Arguments of the world that are not those of the program.

    Attributes
    ----------
    invocations, calls
        How many points the run has passed.
    trace
        What happened, a line each.
    """

    def __init__(self, story: str, fault: Fault | None = None, **changes: Any) -> None:
        self.before, self.fault = STORIES[story], fault
        self.world = deployed(**changes)
        self.invocations = self.calls = 0
        self.trace: list[str] = []
        self._is_undisturbed = False
        self._conflicts = 0
        self._zombie: SteppedCall | None = None

    def play(self) -> list[str]:
        """Run to the end, and return everything that was wrong, in words."""
        problems: list[str] = []
        try:
            with self.world as world:
                if self.before:
                    world.give("ann", self.before)
                world.on_invoke, world.on_call = self._on_invoke, self._on_call
                answers = [self._ask(), self._ask()]
                with self._in_peace():
                    if self._zombie and not self._zombie.ended:
                        self.trace.append("the function that was given up for dead goes on")
                        self._zombie.finish()
                    answers.append(self._ask())
                    world.open_books("ann")
                problems += [*world.problems, *world.broken_laws(), *self._judge(answers)]
        except Exception as error:  # noqa: BLE001  whatever it is, the story that led there matters
            problems.append(f"the run broke off: {error!r}")
        return list(dict.fromkeys(problems))

    def _ask(self) -> str:
        """Ask until there is an answer."""
        for _ in range(5):
            try:
                answer = self.world.invoke("grantHours", EVENT)
            except Exception as error:  # noqa: BLE001  as a backend does
                self.trace.append(f"  no answer: {error!r}")
            else:
                self.trace.append(f"  {answer}")
                return answer["outcome"]
        return "none"

    def _judge(self, answers: list[str]) -> Iterator[str]:
        ledger = self.world.ledger()
        hours = [entry["hours"] for entry in ledger.log.values() if entry.get("reason") == "welcome"]
        others = self.fault is not None and self.fault.kind == "granted-others"
        right = [("GRANTED", 6), ("REFUSED", 7)] if others else [("GRANTED", 6)]
        if len(hours) != 1 or {(answer, hours[0]) for answer in answers} - {(how, Decimal(h)) for how, h in right}:
            yield f"answered {answers}, and the log says {list(map(str, hours))}"
        if ledger.unexplained():
            yield f"not explained although the books were opened: {ledger.unexplained()}"

    # --- faults

    @contextmanager
    def _in_peace(self) -> Iterator[None]:
        outer, self._is_undisturbed = self._is_undisturbed, True
        try:
            with self.world.as_client():
                yield
        finally:
            self._is_undisturbed = outer

    def _kind(self, at: int) -> str:
        return self.fault.kind if self.fault and self.fault.at == at else ""

    def _on_invoke(self, invocation: Invocation, moment: Moment) -> None:
        if self._is_undisturbed or invocation.function != "grantHours":
            return
        kind = self._kind(self.invocations)
        if moment == "before":
            self.trace.append(f"grantHours ({self.invocations}) {kind if kind in (*INVOCATION, 'zombie') else ''}")
        if kind == "zombie":
            self.invocations += 1
            with self._in_peace():
                self._zombie = self.world.begin(invocation.function, invocation.event)
                while self._zombie.due and self._zombie.due.operation not in WRITES:
                    self._zombie.step()
            raise LambdaError("Sandbox.Timedout")
        if kind in INVOCATION and INVOCATION[kind][0] == moment:
            self.invocations += 1
            _, failure = INVOCATION[kind]
            raise failure()
        self.invocations += moment == "after"

    def _on_call(self, call: Call, moment: Moment) -> Any:
        if self._is_undisturbed or call.invocation.function != "grantHours":
            return None
        kind = self._kind(self.calls)
        self.calls += moment == "after"
        if self._conflicts and moment == "before":
            self._conflicts -= 1
            conflict(call)
        if kind in DEEDS and moment == "before":
            self.trace.append(f"  {kind} just before {call.operation} ({self.calls})")
            with self._in_peace():
                DEEDS[kind](self.world)
        if CALL.get(kind) != moment:
            return None
        self.trace.append(f"  {kind} {call.operation} ({self.calls})")
        self.fault = None
        return self._fail(kind, call)

    def _fail(self, kind: str, call: Call) -> Any:
        match kind:
            case "killed" | "killed-after":
                raise Killed
            case "call-lost":
                raise ConnectionError("the answer was lost")
            case "call-repeated":  # as the SDK does when it did not get the answer to the first
                with self._in_peace():
                    repeat(call)
            case "call-conflict" | "call-conflicts":
                self._conflicts = CONFLICTS_IN_A_ROW if kind == "call-conflicts" else 0
                conflict(call)
            case _:
                refuse(call, "ProvisionedThroughputExceededException")


def faults_of(story: str, **changes: Any) -> Iterator[Fault]:
    """Yield each fault at each point of a grant."""
    plain = Granting(story, **changes)
    plain.play()
    for kind in KINDS:
        points = plain.invocations if kind in INVOCATION or kind == "zombie" else plain.calls
        yield from (Fault(kind, at) for at in range(points))
