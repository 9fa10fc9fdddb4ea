"""What runs in a world: executions and calls of functions, one at a time.

An execution is one class: half of its methods only say what the interpreter has recorded of it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

from hourbank.simulate.program import REFUSALS, function_arn

Moment = Literal["before", "after"]


class LambdaError(Exception):
    """What a failing function is to Step Functions: raise it in a hook to stand for any error by its name."""

    def __init__(self, error_type: str, message: str = "injected") -> None:
        super().__init__(message)
        self.error_type = error_type


class Closed(BaseException):
    """Unwinds the thread of an execution that nobody will resume; no `except Exception` may stop it."""


class Killed(BaseException):
    """Ends a function where it is, as Lambda does at the end of its memory or time; raise it in a hook."""


@dataclass(frozen=True)
class Invocation:
    """One call of a function (camelCase) by a state of a machine, or by the stream (neither); attempts count from 0."""

    function: str
    machine: str | None
    state: str | None
    attempt: int
    event: Any


@dataclass(frozen=True)
class Call:
    """One call to AWS within an invocation; `index` counts the calls of that invocation from 0."""

    invocation: Invocation
    index: int
    service: str
    operation: str
    parameters: Mapping[str, Any]


class SimulatedExecution:
    """One execution of a workflow, run a stretch at a time by whoever calls `resume`.

    Attributes
    ----------
    arn, name, machine, request_id
        The execution's ARN and name; the machine's name without the stack; the requestId of its input.
    ended
        Whether it has; `status` says how.
    waiting, wait_seconds
        The state that waits for an answer (None: none does), and for how many seconds.
    is_pausing
        Whether it pauses before it tries something again: it goes on when it is resumed.
    stopped_before
        The state whose function is due where `World.settle(until=...)` stopped.
    pauses
        Each retry's pause that was skipped, in order: the state and the seconds.
    seconds
        How long all pauses and time-outs would have taken.
    version
        The version of all functions that was deployed when it began.
    """

    _local: ClassVar[threading.local] = threading.local()

    def __init__(self, worker: ExecutionWorker, version: int) -> None:
        self.version = version
        self._worker: Any = worker
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._work: Callable[[], None] = worker._execution_logic
        self._parked_until: Callable[[], bool] | None = None
        self._closing = False
        self._redrives = 0
        details = worker._evaluation_details
        self.arn: str = details.execution_details.arn
        self.name: str = details.execution_details.name
        given = details.execution_details.inpt
        self.request_id: Any = given.get("requestId") if isinstance(given, dict) else None
        self.machine: str = details.state_machine_details.name.removesuffix("-test")
        self.ended = False
        self.waiting: str | None = None
        self.wait_seconds = 0
        self.stopped_before: str | None = None
        self.is_pausing = False
        self.pauses: list[tuple[str, float]] = []
        self.seconds = 0.0

    @classmethod
    def current(cls) -> SimulatedExecution:
        """Return the execution whose thread this is."""
        return cls._local.execution

    @property
    def is_runnable(self) -> bool:
        """Whether there is something to do: it has not ended, and does not wait for anything."""
        return not self.ended and (self._parked_until is None or self._parked_until())

    def resume(self) -> None:
        """Run until this execution waits, stops before a state, or ends.

        Raises
        ------
        ValueError
            It has ended: nobody would give control back.
        """
        if self.ended:
            raise ValueError(f"{self.name} has ended")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()
        self._go.release()
        self._back.acquire()

    def park(self, until: Callable[[], bool]) -> None:
        """Give control back to whoever called `resume`, until the next one does."""
        self._parked_until = until
        self._back.release()
        self._go.acquire()
        self._parked_until = None
        if self._closing:
            raise Closed

    def close(self) -> None:
        """End the thread, wherever it is parked."""
        self._closing = True
        if self._thread is not None and not self.ended:
            self.resume()
            self._thread.join()

    def stop(self, status: str) -> None:
        """End as StopExecution (ABORTED) or a time-out of the whole execution (TIMED_OUT) would."""
        self._record.exec_status = ExecutionStatus(status)
        if self._thread is threading.current_thread():
            raise Closed
        self.close()
        self.ended = True

    def redrive(self) -> None:
        """Prepare a failed or stopped execution to go on where it ended, as RedriveExecution does."""
        if self.status not in ("FAILED", "ABORTED", "TIMED_OUT"):
            raise ValueError(f"{self.name} is {self.status}")
        self._redrives += 1
        failed = next(event for event in reversed(self.history) if "stateEnteredEventDetails" in event)
        entered = failed["stateEnteredEventDetails"]
        worker, events = self._worker, self._worker.env.event_manager

        def go_on() -> None:
            worker.env = env = worker._get_evaluation_environment()
            env.event_manager = events
            env.states.context_object.context_object_data["Execution"]["RedriveCount"] = self._redrives
            env.states.reset(json.loads(entered["input"]))
            env.next_state_name = entered["name"]
            EvalComponent.eval(worker._get_evaluation_entrypoint(), env)
            worker._execution_communication.terminated()

        self._record.exec_status = ExecutionStatus.RUNNING
        self._record.error = self._record.cause = None
        self._thread, self._work, self.ended, self._closing = None, go_on, False, False
        self._parked_until = None

    def _run(self) -> None:
        self._go.acquire()
        SimulatedExecution._local.execution = self
        try:
            if not self._closing:
                self._work()
        except Closed:
            pass
        finally:
            # it may have been stopped in the midst of a wait or a pause
            self.ended, self.waiting, self.is_pausing = True, None, False
            self._back.release()

    # what happened, read from moto's own history

    @property
    def _record(self) -> Any:
        return self._worker._execution_communication.execution

    @property
    def status(self) -> str:
        """RUNNING, SUCCEEDED, FAILED, ABORTED or TIMED_OUT."""
        return self._record.status

    @property
    def output(self) -> Any:
        """The output of an execution that succeeded."""
        return self._record.output

    @property
    def given(self) -> str:
        """Its input, as it was given."""
        return self._record.execution_input

    @property
    def started(self) -> Any:
        """When it was started."""
        return self._record.start_date

    @property
    def listed(self) -> dict[str, Any]:
        """What ListExecutions says about it."""
        said = {
            "executionArn": self.arn,
            "name": self.name,
            "startDate": self.started,
            "stateMachineArn": self._record.state_machine_arn,
            "status": self.status,
        }
        return said | ({"stopDate": self._record.stop_date or self.started} if self.status != "RUNNING" else {})

    def notify(self, token: str, outcome: Any) -> bool:
        """Answer a wait of this execution; return whether it has one with this token."""
        env = self._worker.env
        return bool(env and env.callback_pool_manager.notify(callback_id=token, outcome=outcome))

    @property
    def error(self) -> str | None:
        """The name of the error that failed the execution."""
        return self._record.error

    @property
    def cause(self) -> str | None:
        """The cause of the error that failed the execution."""
        return self._record.cause

    @property
    def history(self) -> list[dict[str, Any]]:
        """The events as GetExecutionHistory returns them."""
        return self._worker.env.event_manager._history_event_list if self._worker.env else []

    @property
    def attempt(self) -> int:
        """How often the state that runs was tried before."""
        return self._worker.env.states.context_object.context_object_data["State"]["RetryCount"]

    @property
    def states(self) -> list[str]:
        """The names of the states entered, in order."""
        return [
            event["stateEnteredEventDetails"]["name"] for event in self.history if "stateEnteredEventDetails" in event
        ]

    @property
    def refusals(self) -> list[tuple[str, str, str | None]]:
        """Each typed refusal: the state whose task ended with it, its name, and the state that was entered next."""
        found: list[tuple[str, str, str | None]] = []
        state = refusal = ""
        for event in self.history:
            if "stateEnteredEventDetails" in event:
                entered = event["stateEnteredEventDetails"]["name"]
                if refusal:
                    found.append((state, refusal, entered))
                state, refusal = entered, ""
            for details in ("lambdaFunctionFailedEventDetails", "taskFailedEventDetails"):
                if (name := event.get(details, {}).get("error")) in REFUSALS:
                    refusal = name
        return [*found, (state, refusal, None)] if refusal else found

    @property
    def transitions(self) -> int:
        """What AWS charges for: states entered, and retries."""
        return len(self.states) + len(self.pauses)


class SteppedCall:
    """One call of a function that stops before each of its own calls to AWS, until `step` is called.

    Attributes
    ----------
    due
        The call that it will make next; None: it has ended.
    answer
        What it returned or raised.
    """

    def __init__(
        self,
        function: str,
        event: Any,
        call: Callable[[Invocation, SteppedCall], Any],
        as_client: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._call, self._as_client = call, as_client
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._closing = False
        self.due: Call | None = None
        self.answer: Any = None
        self.ended = False
        self.invocation = Invocation(function, None, event.get("state", {}).get("Name"), 0, event)
        self._thread = threading.Thread(target=self._work, name=function, daemon=True)
        self._thread.start()
        self.step()

    def _work(self) -> None:
        self._go.acquire()
        try:
            self.answer = self._call(self.invocation, self)
        except Closed:
            pass
        finally:
            self.due, self.ended = None, True
            self._back.release()

    def step(self) -> None:
        """Make the call that is due, and run until the next one is."""
        with self._as_client():
            self._go.release()
            self._back.acquire()

    def finish(self) -> Any:
        """Run to the end; return the answer."""
        while not self.ended:
            self.step()
        return self.answer

    def close(self) -> None:
        """End the thread, as a function that is killed where it is."""
        self._closing = True
        if not self.ended:
            self.step()
        self._thread.join()

    def park(self, call: Call) -> None:
        """Give control back to whoever called `step`."""
        self.due = call
        self._back.release()
        self._go.acquire()
        if self._closing:
            raise Closed


class LambdaContext:
    """What Lambda hands to a handler beside the event."""

    memory_limit_in_mb = 256
    function_version = "1"

    def __init__(self, function: str, request_id: str) -> None:
        self.function_name = f"hourbank-{function}-test"
        self.invoked_function_arn = function_arn(function)
        self.aws_request_id = request_id
        self._milliseconds = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds

    def pause(self) -> None:
        """Let time pass: as much each time, so that a run can be repeated, and few tries use it up."""
        self._milliseconds -= 15_000
