"""One story with its faults: from a request's creation until every hour is where it belongs.

A fault strikes at a point of the run: the n-th call of a function, the n-th call to AWS, the n-th record of the
stream or the n-th wait. Until the world is quiet the faults strike; then they are healed, the auditor runs and touches
what the stream has missed, and what failed is redriven or settled by an operator. A run is right if no law was ever
broken, if what is not right is listed by the auditor (and nothing else is), and if after the repair all is right.

A simulation is one class, in one file: where a fault strikes, how it is repaired and how the end is judged all depend
on what has happened so far, which it keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from handlers.bank.execution import REQUEST_PREFIX, execution_name
from hourbank.laws import TOLD, Item, Ledger, stray_entries, untold
from hourbank.simulate.executions import Call, Invocation, Killed, Moment, SimulatedExecution, SteppedCall
from hourbank.simulate.faults import (
    AFTER,
    AT_THE_END,
    BESIDE,
    BESIDE_KINDS,
    BROKEN,
    CALL,
    CHECK_OF,
    COLLIDING,
    CONFLICTS_IN_A_ROW,
    FOR_GOOD,
    FULL,
    INVOCATION,
    MEANWHILE,
    ODD_ANSWERED,
    ODD_CREATED,
    ODD_KINDS,
    PAUSE,
    RAW,
    RECORD,
    STOPS,
    STRAYS,
    STREAM,
    SUBMITTED,
    TAKEN_BACK,
    WAITING,
    WRITES,
    ZOMBIES,
    Fault,
    conflict,
    ordered,
    refuse,
    repeat,
)
from hourbank.simulate.paths import Lever, PathStory, caught, say
from hourbank.simulate.world import AuditReport, World, deployed


class Simulation:
    """One run; `play` returns what was wrong with it.

    Parameters
    ----------
    story
        The path that the request would take without faults.
    faults
        What goes wrong; a fault whose point is never reached does nothing.
    repair
        How what failed is finished: "redrive", or an operator's "REFUND" or "RELEASE" and then a redrive; "at-odds":
        two operators say both at once.
    changes
        Arguments of the world that are not those of the program.

    Attributes
    ----------
    invocations, calls, records, waits
        The points that the run has passed; a fault can strike at each.
    trace
        What happened, a line each.
    end, events
        What the tables hold and which events were told, before the repair.
    was_loud
        Whether something failed that had to be repaired.
    """

    def __init__(
        self, story: PathStory, faults: tuple[Fault, ...] = (), *, repair: str = "redrive", **changes: Any
    ) -> None:
        self.story, self.faults, self.repair = story, faults, repair
        self.levers: dict[str, Lever] = story.levers
        self.world = deployed(**changes)
        self.invocations: list[Invocation] = []
        self.calls: list[Call] = []
        self.records: dict[str, str] = {}
        self.waits: list[str] = []
        self.trace: list[str] = []
        self.was_loud = False
        self.events: set[str] = set()
        self.end: Ledger = Ledger()
        self._problems: list[str] = []
        self._undisturbed = 0
        self._healed = False
        self._pulled: set[str] = set()
        self._answered: set[str] = set()
        self._broken: dict[tuple[str, str | None], str] = {}
        self._refused: dict[tuple[str, str | None, str], str] = {}
        self._deed: str | None = None
        self._conflicts: dict[tuple[str, str | None, str], int] = {}
        self._zombies: list[tuple[SteppedCall, int]] = []
        self._writes = 0
        self._held_back: list[dict[str, Any]] = []
        self._swapped: list[dict[str, Any]] = []

    def play(self) -> list[str]:
        """Run to the end, and return everything that was wrong, in words."""
        try:
            with self.world:
                self.world.on_invoke, self.world.on_call = self._on_invoke, self._on_call
                self.world.on_deliver, self.world.on_pause = self._on_deliver, self._on_pause
                self._play()
        except Exception as error:  # noqa: BLE001  whatever it is, the story that led there matters
            self._problems.append(f"the run broke off: {error!r}")
        return list(dict.fromkeys(self._problems))

    def _play(self) -> None:
        self.world.grant("ann", 10)
        self._prepare()
        self.world.submit("r1", **self._record())
        if any(fault.kind == TAKEN_BACK for fault in self.faults):
            self._take_back()
        self._live()
        if any(fault.kind in AFTER for fault in self.faults):
            self._be_born_again()
        self._heal()
        self._finish()
        self._judge("at the end")
        self._linger()
        if not self.faults:
            self._compare()
        self.end = self.world.lawful_ledger()
        self.events = {event["Detail"]["eventId"] for event in self.world.events}
        if not self._repair():
            return
        self.was_loud = True
        if not self._may_fail():
            self._problems.append("an operator is needed although the workflow catches this")
        self._finish()
        self._judge("after the repair", is_repaired=True)

    def _prepare(self) -> None:
        """Let there be what lies beside from the beginning."""
        for fault in self.faults:
            if fault.kind == "collides":
                self._ask_with(COLLIDING[fault.at])
            rows: tuple[Any, ...] = ()
            match fault.kind:
                case "beside":
                    rows = (BESIDE[fault.at],)
                case "stray":
                    rows = tuple(("TransactionLog", row) for row in STRAYS[fault.at])
                case "raw":
                    user, hours = RAW[fault.at]
                    self._tell(f"{fault}: {hours} h for {user}, beside the log")
                    self.world.give(user, hours)
            for table, row in rows:
                self._tell(f"{fault}: {table} {row}")
                self.world.put_legacy(table, row)

    def _record(self) -> dict[str, Any]:
        """Return what the requester says at creation."""
        record = {name: value for lever in self.levers.values() for name, value in lever.record.items()}
        for fault in self.faults:
            record |= SUBMITTED.get(fault.kind, {})
            if fault.kind == "odd-created":
                name, value = ODD_CREATED[fault.at]
                self._tell(f"{fault}: {name} is {str(value)[:60]}")
                record[name] = value
            if fault.kind == "full":
                self._tell(f"{fault}: {FULL[fault.at]} bytes are left")
                room = self.world.room_in(self.world.row_of("r1", **record, notes="")) - FULL[fault.at]
                record["notes"] = "x" * room
        return record

    def _ask_with(self, request_id: str) -> None:
        """Let one ask with an id, and another with what that id's execution is named after; both must be begun with."""
        named = execution_name(REQUEST_PREFIX, request_id, 1).removeprefix(REQUEST_PREFIX)
        both = list(dict.fromkeys((request_id, named)))
        self._tell(f"collides: requests with the ids {both}")
        self.world.grant("zoe", 6)
        with self._in_peace():
            for key in both:
                self.world.submit(key, requesterId="zoe", providerId="yan")
                self._settle()
            for key in both:
                if self.world.ledger().requests[key].get("status") != "AWAITING_PROVIDER":
                    self._problems.append(f"not begun with, because of the execution of another: {key[:50]}")
                self.world.update(key, requesterResponse="CANCELLED")
                self._settle()

    def _take_back(self) -> None:
        """Let the provider's answer be missed, taken back, and given again: each time its clock begins anew."""
        self._settle()
        if self.world.ledger().requests.get("r1", {}).get("status") != "AWAITING_PROVIDER":
            return
        self._tell(f"{TAKEN_BACK}: the stream is not read while bob answers, takes it back and answers again")
        accept, clear, hour = say(providerResponse="ACCEPTED"), say(providerResponse=None), timedelta(minutes=61)
        self.world.is_stream_read = False
        with self._in_peace():
            for _ in range(2):
                accept(self.world)
                if "r1" in self.world.audit(later=hour).findings:
                    self._problems.append("an answer that was shown to the stream just now is told as missed")
                for _ in range(2):
                    accept(self.world)
                    found = self.world.audit(later=timedelta(minutes=40))
                if "r1" not in found.findings:
                    self._problems.append("an answer that is written again and again is never told as missed")
                clear(self.world)
                if "r1" in self.world.audit(later=timedelta(days=1)).findings:
                    self._problems.append("an answer that was taken back is told as missed")
        self.world.lose_stream()
        self.world.is_stream_read = True

    def _be_born_again(self) -> None:
        """Remove the request, let all names be free, and ask anew with its id."""
        if "r1" not in self.world.ledger().requests:
            return
        before = self.world.ledger().escrows.get("r1")
        self._tell("reborn: the request is removed, names are free again, and somebody asks anew with its id")
        with self._in_peace():
            self.world.delete("r1")
            self.world.free_names()
            self.world.submit("r1")
        self._answered.clear()
        self._settle()
        after = self.world.ledger().escrows.get("r1")
        if before and after != before:
            self._problems.append(f"a new request moved the hours of an older one: {after}, before {before}")

    def _linger(self) -> None:
        """Where something is wrong for good, nothing is touched or started for ever because of it."""
        ledger = self.world.lawful_ledger()
        if all(is_right(self.world, ledger, key) for key in (*ledger.requests, *ledger.escrows)):
            return
        for days in (1, 7):
            self.world.audit(later=timedelta(days=days))
            self._settle()
        executions, changes = len(self.world.executions), self.world.changes
        for _ in range(2):
            self.world.audit(later=timedelta(days=1))
            self._settle()
        if started := self.world.executions[executions:]:
            self._problems.append(f"started every day: {[(e.name, e.status, e.error) for e in started]}")
        if changes != self.world.changes:
            self._problems.append("touched every day, for ever")

    # --- people, time, and what is repaired

    def _settle(self) -> None:
        try:
            self.world.settle()
        except AssertionError as broken:
            self._problems += str(broken).splitlines()

    def _live(self) -> None:
        """Let the world run, and people do what the story says, until nothing moves."""
        for _ in range(20):
            self._settle()
            if not (self._answer() or self._decide()):
                return

    def _answer(self) -> bool:
        """Let people answer what somebody waits for, once; return whether anything happened."""
        for execution in self.world.executions:
            wait = execution.waiting
            if wait is None or wait in self._answered or wait not in self.levers:
                continue
            self._answered.add(wait)
            self.waits.append(wait)
            if self._is_stopped(execution, len(self.waits) - 1):
                return True
            if answer := self.levers.get(CHECK_OF[wait], Lever()).answer:
                self._tell(f"people answer {dict(answer)}")
                say(**answer)(self.world)
            if self.levers[wait].late:
                self._tell(f"{wait} runs out of time")
                self._expire(execution)
            return True
        return False

    def _is_stopped(self, execution: SimulatedExecution, wait: int) -> bool:
        for fault in self.faults:
            if fault.kind in WAITING and fault.at == wait and not self._healed:
                self._tell(f"{execution.name}: {fault}")
                self.world.stop(execution, WAITING[fault.kind])
                return True
        return False

    def _expire(self, execution: SimulatedExecution) -> None:
        try:
            self.world.expire(execution)
        except AssertionError as broken:
            self._problems += str(broken).splitlines()

    def _decide(self) -> bool:
        """Let people accept, confirm or withdraw where the story is one of the release workflow."""
        if self.story.machine != "EscrowManagementWorkflow":
            return False
        status = self.world.ledger().requests.get("r1", {}).get("status")
        if status == "AWAITING_PROVIDER" and "accepted" not in self._answered:
            self._answered.add("accepted")
            say(providerResponse="ACCEPTED")(self.world)
            return True
        if status == "IN_PROGRESS" and "decided" not in self._answered:
            self._answered.add("decided")
            # where the story does not decide anything, an answer that is taken back starts the release
            decision = self.levers.get("CheckDecision", Lever()).answer
            say(**(decision or {"requesterResponse": "COMPLETED"}))(self.world)
            self.world.deliver()
            if "CheckDecision" in self.levers and not decision:
                say(requesterResponse=None)(self.world)
            return True
        return False

    def _heal(self) -> None:
        self._healed = True
        self._deed = None
        if any(fault.kind == "stream-returns" for fault in self.faults):
            self.world.clock += timedelta(days=2)
            self.world.is_stream_read = True
        for zombie, _ in self._zombies:
            self._wake(zombie)
        self._tell("all faults are healed")

    def _finish(self) -> None:
        """Let late records arrive, the auditor touch what was missed, and open waits run out."""
        touched = None
        for _ in range(12):
            self._live()
            # a touch that changed nothing will not do so an hour later
            if self.world.audit().missed and touched != (touched := self._progress()):
                self._tell("the auditor touches what the stream has missed")
                continue
            waiting = [execution for execution in self.world.executions if execution.waiting]
            if not waiting:
                return
            self._tell(f"{waiting[0].waiting} runs out of time")
            self._expire(waiting[0])
        self._problems.append("the run does not come to rest")

    def _progress(self) -> list[tuple[str, int]]:
        return [(execution.status, len(execution.states)) for execution in self.world.executions]

    def _repair(self) -> bool:
        """Redrive or settle what did not succeed; return whether there was anything."""
        failed = [execution for execution in self.world.executions if is_redrivable(execution)]
        was_unread, self.world.is_stream_read = not self.world.is_stream_read, True
        if was_unread:
            self._tell("the stream is read again, and the auditor touches what it missed")
            self.world.audit(touch=True, again=True)
            self._live()
        ledger = self.world.lawful_ledger()
        stuck = [key for key in ledger.held() if not is_right(self.world, ledger, key)]
        if self.repair != "redrive" and stuck:
            self._tell(f"an operator settles: {self.repair}")
            with self._in_peace():
                self._settle_at_odds() if self.repair == "at-odds" else ordered(self.repair)(self.world)
        elif self.repair != "redrive" and ledger.requests.get("r1", {}).get("status") == "VALIDATING":
            self._tell("an operator ends what holds nothing")
            with self._in_peace():
                ordered("REFUND")(self.world)
            if not is_right(self.world, self.world.ledger(), "r1"):
                self._problems.append("not ended by an operator although nothing is held")
        for execution in failed:
            if not execution.ended:
                continue
            self._tell(f"{execution.name} is redriven")
            execution.redrive()
            self._live()
        self._mend()
        return bool(failed or stuck or was_unread)

    def _mend(self) -> None:
        """Let an administrator remove the records of which the auditor says so, and an operator give back the hours."""
        for key, remedy in self.world.audit(touch=False).remedies.items():
            if "remove it" in remedy and key in self.world.ledger().requests:
                self._tell(f"an administrator removes {key}: {remedy}")
                with self._in_peace():
                    self.world.delete(key)
                    if key in self.world.ledger().held():
                        ordered("REFUND")(self.world)

    def _compare(self) -> None:
        """Without a fault, the first execution of the story's machine takes the story's path."""
        states = next((e.states for e in self.world.executions if e.machine == self.story.machine), [])
        if states != self.story.states:
            self._problems.append(f"without a fault the path is {states}")

    def _settle_at_odds(self) -> None:
        """Let two operators decide at once: both have read before either writes."""
        runs = []
        for decision, function in (("RELEASE", "processEscrowRelease"), ("REFUND", "refundEscrow")):
            order = {"requestId": "r1", "decision": decision, "by": "operator", "reason": "simulated"}
            execution = {"Id": f"arn:settle-{decision}", "Name": f"settle-{decision}", "Input": order}
            event = {"execution": execution, "state": {"Name": function}, "decision": decision}
            runs.append(self._until_write(self.world.begin(function, event)))
        for run in runs:
            run.finish()

    def _may_fail(self) -> bool:
        """Whether work for an operator is in order: something that nothing catches went wrong."""
        if ("ReleaseRefused", "Next") in self.story.path:
            return True
        broken = [self.invocations[f.at] for f in self.faults if f.kind in BROKEN and f.at < len(self.invocations)]
        return len(broken) < len(self.faults) or any(
            one.machine is None or one.state not in caught(one.machine) for one in broken
        )

    # --- what is right

    def _judge(self, when: str, *, is_repaired: bool = False) -> None:
        world = self.world
        for execution in world.executions:
            self._problems += [
                f"{state} refused ({refusal}), and the workflow took it for a technical failure"
                for state, refusal, after in execution.refusals
                if after == "RefundAfterFailure" or (after is None and execution.status == "FAILED")
            ]
        found = world.audit(touch=False)
        ledger = world.ledger()
        if world.redelivered and not self._is_technical():
            self._problems.append("the router failed at a record for what it is")
        if self._is_odd() and any(map(is_failed, world.executions)):
            self._problems.append(f"what a record says failed an execution {when}")
        if self._is_hiccup():
            self._problems += [f"a hiccup failed {e.name} {when}: {e.error}" for e in world.executions if is_failed(e)]
            self._problems += self._told_wrongly()
        self._judge_books(found, ledger, when)
        for key in sorted({*ledger.requests, *ledger.escrows} - world.legacy):
            right, listed = is_right(world, ledger, key), key in found.findings
            status = ledger.requests.get(key, {}).get("status")
            state = f"request {key} is {status}, its escrow {ledger.escrows.get(key, {}).get('status')}"
            if not right and not listed:
                self._problems.append(f"quietly wrong {when}: {state}")
            if right and listed and world.is_stream_read:
                self._problems.append(f"false alarm {when}: {state}, but {found.findings[key]}")
            is_anew = any(fault.kind in AFTER for fault in self.faults)
            is_beyond = self.repair == "redrive" and (is_anew or self._is_beyond_redrive(key, ledger))
            if is_repaired and not right and not is_beyond:
                self._problems.append(f"not repaired by {self.repair}: {state}")
            self._problems += [f"{problem} {when}" for problem in self._untold(key)]
            if right and found.missed and not world.legacy and world.is_stream_read:
                self._problems.append(f"still missed {when}: {state}")

    def _judge_books(self, found: AuditReport, ledger: Ledger, when: str) -> None:
        """The auditor lists each entry that is nothing's and each balance that the log does not explain, and no other.

        Where rows make no sense, what their users should have is not known.
        """
        strays, others = set(stray_entries(ledger)), found.others
        listed = {
            key for key in strays if key.rpartition("#")[0] in found.findings or ("TransactionLog", key) in others
        }
        quiet = strays - listed
        loud = {key for model, key in others if model == "TransactionLog"} - strays
        if not self.world.legacy:
            beside = set(ledger.unexplained())
            listed = {key for model, key in others if model == "UserBalance"}
            quiet, loud = quiet | (beside - listed), loud | (listed - beside)
        self._problems += [f"quietly wrong {when}: {key} of the books" for key in sorted(quiet)]
        self._problems += [f"false alarm {when}: {key} of the books" for key in sorted(loud)]

    def _is_technical(self) -> bool:
        """Whether something went wrong that is no matter of what people or administrators wrote."""
        data = (
            *MEANWHILE,
            *SUBMITTED,
            *ODD_KINDS,
            *AFTER,
            *BESIDE_KINDS,
            "full",
            "collides",
            TAKEN_BACK,
            *STREAM,
        )
        # A name that is given back between the router's start and its look is told as taken, then as unknown.
        given_back = any(
            fault.kind == "names-freed" and self.calls[fault.at].invocation.function == "routeServiceRequest"
            for fault in self.faults
            if fault.at < len(self.calls)
        )
        return self.story.fails is not None or given_back or any(fault.kind not in data for fault in self.faults)

    def _is_hiccup(self) -> bool:
        """Whether nothing went wrong but one call, in whose pause people said something."""
        kinds = [fault.kind for fault in self.faults]
        return not self.story.fails and bool(kinds) and all(k.startswith(("pause-pro", "pause-req")) for k in kinds)

    def _untold(self, key: str) -> list[str]:
        """Return who was not told of a request, where no execution failed that should have told them.

        An answer can come before its question was told, where telling it was struck.
        """
        mine = [execution for execution in self.world.remembered if execution.request_id == key]
        mine = [execution for execution in mine if execution.error != "ReleaseRefused"]
        if any(execution.status != "SUCCEEDED" and execution.error != "RequestFailed" for execution in mine):
            return []
        told = [event for event in self.world.events if event["Detail"]["requestId"] == key]
        return untold(self.world.written[key], told, only_ends=bool(self.faults) or any(e.error for e in mine))

    def _told_wrongly(self) -> list[str]:
        """Return what is wrong with the events about a request: its start must be told before its end, and one end."""
        told = [(event["DetailType"], event["Detail"]["status"]) for event in self.world.events]
        ends = {status for kind, status in told if kind == "RequestEnded"}
        problems = [f"told to have ended as {sorted(ends)}"] if len(ends) > 1 else []
        if "COMPLETED" in ends and told.count(("ServiceStarted", "IN_PROGRESS")) < len(TOLD["IN_PROGRESS"][1]):
            problems.append("told to be COMPLETED, and never to have started")
        return problems

    def _is_odd(self) -> bool:
        """Whether nothing went wrong but values of any type and size, or an id that was used before."""
        kinds = [fault.kind for fault in self.faults]
        return not self.story.fails and bool(kinds) and all(kind in (*ODD_KINDS, *AFTER) for kind in kinds)

    @staticmethod
    def _is_beyond_redrive(key: str, ledger: Ledger) -> bool:
        """Whether somebody has put other people into a request: a redrive refuses to pay, an operator may."""
        request, escrow = ledger.requests.get(key, {}), ledger.escrows.get(key, {})
        foreign = request.get("stepFunctionExecutionArn") != escrow.get("executionArn")
        return foreign or any(request.get(name) != escrow.get(name) for name in ("requesterId", "providerId"))

    # --- faults

    def _tell(self, words: str) -> None:
        self.trace.append(words)

    @contextmanager
    def _in_peace(self) -> Iterator[None]:
        """Let something happen that no fault strikes, and that is not the work of the function that runs."""
        self._undisturbed += 1
        try:
            with self.world.as_client():
                yield
        finally:
            self._undisturbed -= 1

    def _struck(self, at: int) -> Iterator[tuple[Fault, str]]:
        if not self._healed:
            yield from ((fault, fault.kind.removesuffix(FOR_GOOD)) for fault in self.faults if fault.at == at)

    def _wake(self, zombie: SteppedCall) -> None:
        if not zombie.ended:
            self._tell(f"  {zombie.invocation.function}, given up for dead, goes on")
            with self._in_peace():
                zombie.finish()

    def _on_invoke(self, invocation: Invocation, moment: Moment) -> None:
        if self._undisturbed or invocation.function == "auditLedger":
            return
        if moment == "before":
            self.invocations.append(invocation)
            self._tell(f"{invocation.state or invocation.function} ({len(self.invocations) - 1})")
            self._pull(invocation)
        name = invocation.function, invocation.state
        for fault, kind in self._struck(len(self.invocations) - 1):
            if kind in INVOCATION and fault.kind.endswith(FOR_GOOD):
                self._broken[name] = kind
            elif kind in INVOCATION and INVOCATION[kind][0] == moment:
                self._strike(fault, INVOCATION[kind][1]())
            elif kind in STOPS and STOPS[kind][0] == moment and invocation.state:
                self._tell(f"  {fault}")
                self.world.stop(SimulatedExecution.current(), STOPS[kind][1])
            elif kind in ZOMBIES and moment == "before" and invocation.state:
                self._zombies.append((self._bury(invocation), self._writes + fault.more))
                self._strike(fault, ZOMBIES[kind]())
        if not self._healed and (kind := self._broken.get(name)) and INVOCATION[kind][0] == moment:
            self._strike(f"{kind}!", INVOCATION[kind][1]())
        lever = self._lever(invocation)
        if lever.fails and moment == self.story.fails:
            raise ConnectionError("the story says that this fails")

    def _strike(self, fault: Fault | str, error: BaseException) -> None:
        self._tell(f"  {fault}")
        raise error

    def _lever(self, invocation: Invocation) -> Lever:
        is_its = invocation.machine == self.story.machine and invocation.state
        return self.levers.get(invocation.state or "", Lever()) if is_its else Lever()

    def _pull(self, invocation: Invocation) -> None:
        lever = self._lever(invocation)
        if lever.before and invocation.state not in self._pulled:
            self._pulled.add(invocation.state or "")
            if "r1" in self.world.ledger().requests:
                lever.before(self.world)
                if (balance := self.world.ledger().balance("ann")) < 0:
                    self.world.give("ann", -balance)

    @staticmethod
    def _until_write(run: SteppedCall) -> SteppedCall:
        while run.due and run.due.operation not in (*WRITES, "PutEvents"):
            run.step()
        return run

    def _bury(self, invocation: Invocation) -> SteppedCall:
        """Let a function run until it is about to write."""
        with self._in_peace():
            return self._until_write(self.world.begin(invocation.function, invocation.event))

    def _on_call(self, call: Call, moment: Moment) -> Any:
        if self._undisturbed or call.invocation.function == "auditLedger":
            return None
        if moment == "before":
            self._pass(call)
        name = call.invocation.function, call.invocation.state, call.operation
        for fault, kind in self._struck(len(self.calls) - 1):
            if kind in CALL and fault.kind.endswith(FOR_GOOD):
                self._refused[name] = kind
            elif CALL.get(kind) == moment:
                self._tell(f"  {fault} {call.operation}")
                if kind == "call-conflicts":
                    self._conflicts[name] = CONFLICTS_IN_A_ROW
                elif (answer := self._fail(kind, call)) is not None:
                    return answer
            elif (answer := self._meanwhile(fault, call, moment)) is not None:
                return answer
        return self._refuse_again(name, call) if moment == "before" and not self._healed else None

    def _meanwhile(self, fault: Fault, call: Call, moment: Moment) -> Any:
        """Let others do what a fault says just before a call, or have it fail so that they do it in the pause."""
        kind = fault.kind
        if kind in PAUSE and moment == ("after" if fault.more else "before") and call.invocation.state:
            self._tell(f"  {fault} {call.operation}")
            self._deed = kind
            return self._fail("call-lost" if fault.more else "call-refused", call)
        if kind == "odd-answered" and moment == "before":
            name, value = ODD_ANSWERED[fault.more]
            self._tell(f"  {fault} {call.operation}: {name} is {str(value)[:60]}")
            with self._in_peace():
                say(**{name: value})(self.world)
        if kind in MEANWHILE and moment == "before":
            self._tell(f"  {fault} {call.operation}")
            with self._in_peace():
                MEANWHILE[kind](self.world)
        return None

    def _on_pause(self) -> bool:
        """Let happen what is to happen in the pause before a retry; return whether anything was."""
        deed, self._deed = self._deed, None
        if deed:
            self._tell(f"  while it pauses: {deed}")
            with self._in_peace():
                PAUSE[deed](self.world)
        return deed is not None

    def _pass(self, call: Call) -> None:
        self.calls.append(call)
        is_write = call.operation in WRITES
        self._writes += is_write
        for zombie, due in self._zombies:
            if due < AT_THE_END and due < self._writes + is_write:
                self._wake(zombie)

    def _refuse_again(self, name: tuple[str, str | None, str], call: Call) -> Any:
        """Fail a call that fails for good, or a few times in a row."""
        if self._conflicts.get(name):
            self._conflicts[name] -= 1
            conflict(call)
        return self._fail(self._refused[name], call) if name in self._refused else None

    def _fail(self, kind: str, call: Call) -> Any:
        if kind in ("killed", "killed-after"):
            raise Killed
        if kind == "call-lost":
            raise ConnectionError("the answer was lost")
        if kind == "call-repeated":
            # as the SDK does when it did not get the answer to the first
            if call.service != "events":
                with self._in_peace():
                    repeat(call)
            return None
        if kind == "call-conflict":
            conflict(call)
            return None
        if call.operation == "PutEvents":
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}
        code = "ProvisionedThroughputExceededException" if call.service == "dynamodb" else "ThrottlingException"
        refuse(call, code)
        return None

    def _on_deliver(self, pending: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self._healed:
            delivered, self._held_back = [*pending, *self._swapped, *self._held_back], []
            self._swapped = []
            return delivered
        delivered = []
        for position, record in enumerate(pending):
            stopped = next((f for f in self.faults if f.kind in STREAM and f.at == len(self.records)), None)
            if stopped and self.world.is_of_interest(record):
                self._tell(f"  {stopped}: the stream is not read any more")
                self.world.is_stream_read = False
                return [*delivered, *pending[position:]]
            number = record["dynamodb"]["SequenceNumber"]
            if not self.world.is_of_interest(record) or number in self.records:
                delivered.append(record)
                continue
            kinds = [fault.kind for fault in self.faults if fault.at == len(self.records) and fault.kind in RECORD]
            self.records[number] = kinds[0] if kinds else ""
            if kinds:
                self._tell(f"  {kinds[0]}: the record {len(self.records) - 1} of the stream")
            delivered += self._bend(record, kinds[0] if kinds else "")
        return delivered

    def _bend(self, record: dict[str, Any], kind: str) -> list[dict[str, Any]]:
        """Return what is delivered in place of a record."""
        if kind in ("record-late", "record-late-again"):
            self._held_back.append(record)
        if kind == "record-swapped":
            self._swapped.append(record)
            return []
        if kind in ("record-late", "record-lost"):
            return []
        before, self._swapped = self._swapped, []
        return [record, *before] if kind != "record-twice" else [record, record, *before]


def is_redrivable(execution: SimulatedExecution) -> bool:
    """Whether a redrive would do anything: an execution that ended in a Fail state ends there again."""
    if execution.status not in ("FAILED", "ABORTED", "TIMED_OUT") or not execution.states:
        return False
    return execution.states[-1] not in ("RequestFailed", "ReleaseRefused")


def is_failed(execution: SimulatedExecution) -> bool:
    """Whether an execution failed, and not because it refused to pay."""
    return execution.status == "FAILED" and execution.states[-1:] != ["ReleaseRefused"]


ENDS = {"COMPLETED": "RELEASED", **dict.fromkeys(("DECLINED", "CANCELLED", "TIMED_OUT"), "REFUNDED")}


def is_right(world: World, ledger: Ledger, key: str) -> bool:
    """Whether a request, its escrow and its executions agree, and nobody waits for anything.

    Written apart from the auditor: one must not hide the other's mistake.
    """
    request, escrow = ledger.requests.get(key), ledger.escrows.get(key)
    owner = request.get("stepFunctionExecutionArn") if request else None
    mine = escrow if escrow and request and escrow["executionArn"] == owner else None
    if escrow and not mine and escrow["status"] == "HELD":
        return False
    if not request:
        return True
    if (
        mine
        and mine["status"] == "HELD"
        and any(mine[name] != request.get(name) for name in ("requesterId", "providerId"))
    ):
        return False
    return _is_status_right(request, mine) and all(
        execution.output["outcome"] in ("NOT_OWNER", "NOTHING_TO_DO", *_outcomes(request, execution))
        for execution in world.remembered
        if (execution.status, execution.machine, execution.request_id) == ("SUCCEEDED", "ServiceRequestWorkflow", key)
    )


def _is_status_right(request: Item, mine: Item | None) -> bool:
    status, held = request.get("status"), mine["status"] if mine else None
    if status == "IN_PROGRESS":
        return held == "HELD"
    if status == "REJECTED":
        # RELEASED: of an older request with the same id and the same name of its execution
        return held != "HELD"
    if status == "FAILED":
        return held in (None, "REFUNDED")
    return status in ENDS and held == ENDS[status]


def _outcomes(request: Item, execution: SimulatedExecution) -> tuple[str, ...]:
    """What an execution may have ended with, by what its request has become."""
    if request.get("stepFunctionExecutionArn") != execution.arn:
        return ("CANCELLED", "DECLINED", "REJECTED", "TIMED_OUT", "FAILED", "IN_PROGRESS")
    status = request["status"]
    return (status, "IN_PROGRESS") if status in ("COMPLETED", "CANCELLED", "FAILED") else (status,)


def outcome(simulation: Simulation) -> dict[str, Any]:
    """Return what a run ended with, without names and times: what must be the same after a harmless fault."""
    end, volatile = (
        simulation.end,
        ("updatedAt", "createdAt", "askedAt", "startedAt", "touchedAt", "touchedFor", "taskToken", "taskTokenAttempt"),
    )
    tables = {
        name: {key: {k: v for k, v in row.items() if k not in volatile and v is not None} for key, row in rows.items()}
        for name, rows in vars(end).items()
    }
    tables["requests"] = {key: _without_name(row) for key, row in tables["requests"].items()}
    tables["escrows"] = {key: _without_name(row) for key, row in tables["escrows"].items()}
    return {**tables, "events": sorted(simulation.events), "what had to be repaired": simulation.was_loud}


def _without_name(row: Item) -> Item:
    return {name: value for name, value in row.items() if not name.lower().endswith("arn")}
