"""Step Functions in the process: moto's interpreter, one execution at a time, with time skipped.

moto interprets the definitions. What it starts in threads, waits for, or parses anew for each use is replaced; calls
are answered without HTTP, and refused as AWS documents it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from unittest import mock

import jsonpath_ng
import jsonpath_ng.ext
from moto.stepfunctions.models import StateMachineInstance
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.component.program import program
from moto.stepfunctions.parser.asl.component.state.exec import execute_state
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import (
    StateTaskServiceLambda,
)
from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackEndpoint, CallbackOutcomeSuccess
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import json_path
from moto.stepfunctions.parser.backend.execution import Execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.utils import TMP_THREADS

from hourbank.simulate.executions import SimulatedExecution
from hourbank.simulate.expressions import DynamoDBRefusal
from hourbank.simulate.program import ACCOUNT, REGION, machine_arn

LARGEST_INPUT = 256 * 1024
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
_ILLEGAL_NAME = re.compile(r'[\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]|[^\x00-\uffff]')

# moto parses a definition or a path anew for each use, which is most of what an execution costs
_parsed = lru_cache(maxsize=64)(AmazonStateLanguageParser.parse)
_parsed_path = lru_cache(maxsize=1024)(jsonpath_ng.ext.parse)
_parsed_result_path = lru_cache(maxsize=1024)(jsonpath_ng.parse)


class _Inline:
    """A thread that has run when `start` returns: moto starts one per task only to watch a time-out that is skipped."""

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...] = (), daemon: bool = True) -> None:  # noqa: ARG002  as Thread
        self._target, self._args = target, args

    def start(self) -> None:
        self._target(*self._args)

    def join(self, timeout: float | None = None) -> None:
        pass

    def is_alive(self) -> bool:
        return False


def _wait(endpoint: CallbackEndpoint, timeout: float | None = None) -> Any:
    """Stand in for a wait for a task token: give control back until somebody has answered or let it run out."""
    execution = SimulatedExecution.current()
    if endpoint.get_outcome() is None:
        execution.waiting, execution.wait_seconds = execution.states[-1], int(timeout or 0)
        execution.park(until=lambda: endpoint.get_outcome() is not None)
        execution.waiting = None
        if endpoint.get_outcome() is None:
            execution.seconds += execution.wait_seconds
    return endpoint.get_outcome()


def _pause(seconds: float) -> None:
    """Stand in for the pause before a retry: whoever resumes the execution has waited so long."""
    execution = SimulatedExecution.current()
    execution.pauses.append((execution.states[-1], seconds))
    execution.seconds += seconds
    execution.is_pausing = True
    execution.park(until=lambda: True)
    execution.is_pausing = False


class Machines:
    """State machines and their executions; a context manager, because it replaces parts of moto while it is open.

    Parameters
    ----------
    invoke
        Called with the parameters of Lambda's Invoke in place of Lambda; returns its answer.

    Attributes
    ----------
    executions
        All there ever were, in the order of their starts.
    version
        The version of all functions that is deployed.
    """

    def __init__(self, invoke: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._invoke = invoke
        self._stack = ExitStack()
        self._machines: dict[str, StateMachineInstance] = {}
        self._names: dict[str, SimulatedExecution] = {}
        self._closed_tokens: set[str] = set()
        self.executions: list[SimulatedExecution] = []
        self.version = 1

    def __enter__(self) -> Machines:
        for target, name, value in (
            (AmazonStateLanguageParser, "parse", staticmethod(_parsed)),
            (json_path, "parse", _parsed_path),
            (result_path, "parse", _parsed_result_path),
            (execute_state, "Thread", _Inline),
            (program, "threading", SimpleNamespace(Thread=_Inline)),
            (retrier_decl, "time", SimpleNamespace(sleep=_pause)),
            # these describe a whole definition in words for each error
            (EvalComponent, "_log_exception", lambda *_, **__: None),
            (EvalComponent, "_log_failure_event_exception", lambda *_, **__: None),
            (ExecutionWorker, "start", lambda worker: self.executions.append(SimulatedExecution(worker, self.version))),
            (CallbackEndpoint, "wait", _wait),
            (StateTaskServiceLambda, "_eval_execution", self._attempt(StateTaskServiceLambda._eval_execution)),
            (lambda_eval_utils, "_invoke_lambda_function", lambda parameters, **_: self._invoke(parameters)),
        ):
            self._stack.enter_context(mock.patch.object(target, name, value))
        return self

    def __exit__(self, *_: object) -> None:
        for execution in self.executions:
            execution.close()
        self._stack.close()
        # moto keeps every thread there ever was, and with it all that its execution knew
        TMP_THREADS.clear()

    def put(self, name: str, definition: Mapping[str, Any]) -> None:
        """Create a state machine (named without its stack), or deploy another definition of it."""
        self._machines[machine_arn(name)] = StateMachineInstance(
            machine_arn(name), f"{name}-test", json.dumps(definition), f"arn:aws:iam::{ACCOUNT}:role/{name}"
        )

    def forget(self) -> None:
        """Forget every execution that has ended, as Step Functions does after 90 days: its name is free again."""
        self._names = {arn: execution for arn, execution in self._names.items() if not execution.ended}

    @property
    def remembered(self) -> list[SimulatedExecution]:
        """The executions that DescribeExecution knows: one of each name."""
        return list(self._names.values())

    def answer(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call as boto3 returns it.

        Raises
        ------
        Refusal
            If Step Functions would refuse it.
        """
        answers: dict[str, Callable[..., dict[str, Any]]] = {
            "StartExecution": self._start,
            "DescribeExecution": self._describe,
            "ListExecutions": self._list,
            "SendTaskSuccess": self._send_task_success,
        }
        if operation not in answers:
            raise ValueError(f"nothing of ours calls {operation} of Step Functions")
        return answers[operation](**parameters)

    def _machine(self, arn: str) -> StateMachineInstance:
        if arn not in self._machines:
            raise DynamoDBRefusal("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
        return self._machines[arn]

    def _start(self, stateMachineArn: str, name: str, input: str = "{}") -> dict[str, Any]:  # noqa: A002, N803
        machine = self._machine(stateMachineArn)
        if not 1 <= len(name) <= 80 or _ILLEGAL_NAME.search(name):
            raise DynamoDBRefusal("InvalidName", f"Invalid Name: '{name}'")
        if len(input.encode("utf-8", "surrogatepass")) > LARGEST_INPUT:
            raise DynamoDBRefusal("InvalidExecutionInput", "Invalid State Machine Execution Input: too long")
        arn = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{machine.name}:{name}"
        if existing := self._names.get(arn):
            if existing.status != "RUNNING" or existing.given != input:
                raise DynamoDBRefusal("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
            return {"executionArn": arn, "startDate": existing.started}
        record: Callable[..., Any] = Execution
        record(
            name=name,
            sm_type=machine.sm_type,
            role_arn=machine.roleArn,
            exec_arn=arn,
            account_id=ACCOUNT,
            region_name=REGION,
            state_machine=machine,
            start_date=datetime.now(UTC),
            cloud_watch_logging_session=None,
            activity_store={},
            input_data=input,
        ).start()
        execution = self._names[arn] = self.executions[-1]
        return {"executionArn": arn, "startDate": execution.started}

    def _describe(self, executionArn: str) -> dict[str, Any]:  # noqa: N803
        if not executionArn.startswith("arn:"):
            raise DynamoDBRefusal("InvalidArn", f"Invalid Arn: '{executionArn}'")
        if executionArn not in self._names:
            raise DynamoDBRefusal("ExecutionDoesNotExist", f"Execution Does Not Exist: '{executionArn}'")
        execution = self._names[executionArn]
        return {**execution.listed, "input": execution.given} | (
            {"output": json.dumps(execution.output)} if execution.status == "SUCCEEDED" else {}
        )

    def _list(self, **asked: Any) -> dict[str, Any]:
        machine, wanted = self._machine(asked["stateMachineArn"]), asked.get("statusFilter")
        start, size = int(asked.get("nextToken", 0)), asked.get("maxResults", 100)
        listed = [
            execution.listed
            for execution in reversed(self._names.values())
            if execution.listed["stateMachineArn"] == machine.arn and wanted in (None, execution.status)
        ]
        more = {"nextToken": str(start + size)} if start + size < len(listed) else {}
        return {"executions": listed[start : start + size], **more}

    def _send_task_success(self, taskToken: str, output: str) -> dict[str, Any]:  # noqa: N803
        # AWS answers a second or a late call so, moto takes it in silence
        if taskToken in self._closed_tokens:
            raise DynamoDBRefusal("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
        outcome = CallbackOutcomeSuccess(callback_id=taskToken, output=output)
        for execution in self.executions:
            if not execution.ended and execution.notify(taskToken, outcome):
                self._closed_tokens.add(taskToken)
                return {}
        raise DynamoDBRefusal("InvalidToken", "Invalid Token: 'Invalid token'")

    def _attempt(self, evaluate: Callable[..., None]) -> Callable[..., None]:
        def attempt(task: StateTaskServiceLambda, env: Any) -> None:
            context = env.states.context_object.context_object_data
            if context["State"]["RetryCount"]:
                # AWS makes a token for each attempt, moto one for all
                env.callback_pool_manager.add(env.states.context_object.update_task_token())
            token = context["Task"]["Token"]
            try:
                evaluate(task, env)
            finally:
                self._closed_tokens.add(token)

        return attempt
