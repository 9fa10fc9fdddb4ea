"""What a function's process runs locally: Lambda's Runtime API, in the standard library alone.

awslambdaric does the same but has wheels for Linux only. Started by the `bootstrap` that `hourbank.local.deploy` puts
into the archive, so it must not import anything of this project. Where `HOURBANK_METER` names a file, meter.py beside
this one writes there what each invocation uses. Where `HOURBANK_DEBUGGER` names one, a debugger can stop in handlers,
which are those of `HOURBANK_SOURCE` then, for these are the files that somebody has opened (debugged.py).
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import runpy
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

API = "/2018-06-01/runtime"


class Context:
    """The context object of Python handlers (https://docs.aws.amazon.com/lambda/latest/dg/python-context.html)."""

    def __init__(self, headers: http.client.HTTPMessage) -> None:
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME", f"/aws/lambda/{self.function_name}")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME", "")
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.identity = None
        self.client_context = None
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self._deadline_ms - int(time.time() * 1000))


def error_payload(error: BaseException, error_type: str = "") -> dict[str, Any]:
    """Return what Lambda reports of an exception; `errorType` is what Retry and Catch match."""
    return {
        "errorMessage": str(error),
        "errorType": error_type or type(error).__name__,
        "stackTrace": traceback.format_list(traceback.extract_tb(error.__traceback__)),
    }


def fail_waiting_task(event: Any, error: dict[str, Any]) -> None:
    """Fail the task whose token came with the event: a difference of the emulator, made up for here.

    AWS fails a `.waitForTaskToken` task at once where its function raises; ministack goes on waiting for the token.
    Step Functions does that itself, so here it is the emulator's root user, and no right of the function's role.
    """
    token = event.get("taskToken") if isinstance(event, dict) else None
    if not token:
        return
    import boto3

    try:
        states = boto3.client("stepfunctions", aws_access_key_id="test", aws_secret_access_key="test")  # noqa: S106
        states.send_task_failure(taskToken=token, error=error["errorType"], cause=json.dumps(error))
    except Exception as failure:  # noqa: BLE001 - the task ended meanwhile: the function's own error is still reported
        print(f"the waiting task was not failed: {failure}", file=sys.stderr, flush=True)


def load_handler(name: str) -> Callable[[Any, Context], Any]:
    """Import the handler that a function's configuration names, `package.module.function`."""
    module, _, function = name.rpartition(".")
    handler: Callable[[Any, Context], Any] = getattr(importlib.import_module(module), function)
    return handler


def serve(connection: http.client.HTTPConnection, handler: Callable[[Any, Context], Any]) -> None:
    """Handle the next invocation: one event in, one response or error out."""
    connection.request("GET", f"{API}/invocation/next")
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        sys.exit(0)  # this environment has been stopped
    context = Context(response.headers)
    event = json.loads(body)
    try:
        result, outcome = json.dumps(handler(event, context), allow_nan=False), "response"
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is its answer
        payload = error_payload(error)
        traceback.print_exc()
        fail_waiting_task(event, payload)
        result, outcome = json.dumps(payload), "error"
    sys.stdout.flush()
    sys.stderr.flush()
    post(connection, f"invocation/{context.aws_request_id}/{outcome}", result)


def post(connection: http.client.HTTPConnection, path: str, body: str) -> None:
    """Send a result to the Runtime API."""
    connection.request("POST", f"{API}/{path}", body.encode(), {"Content-Type": "application/json"})
    connection.getresponse().read()


def beside(name: str) -> dict[str, Any]:
    """What is in a file beside this one, which is in no package here."""
    return runpy.run_path(str(Path(__file__).parent / name))


def main() -> None:
    """Load the handler once, then handle invocations until the environment is stopped."""
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    wrappers: list[Any] = []
    if file := os.environ.get("HOURBANK_METER"):
        wrappers.append(beside("meter.py")["Meter"](Path(file)))
    if file := os.environ.get("HOURBANK_DEBUGGER"):
        wrappers.append(beside("debugged.py")["Debugged"](Path(file)))
        sys.path.insert(0, os.environ["HOURBANK_SOURCE"])
    try:
        handler = load_handler(os.environ["_HANDLER"])
    except Exception as error:  # noqa: BLE001 - reported as Lambda does, whatever an import raises
        traceback.print_exc()
        post(connection, "init/error", json.dumps(error_payload(error, "Runtime.ImportModuleError")))
        sys.exit(1)
    for wrapper in wrappers:
        handler = wrapper.around(handler)
    while True:
        serve(connection, handler)


if __name__ == "__main__":
    main()
