"""Run by the emulator's Python, never imported: ministack, bound to the life of the process that started it."""

import contextlib
import importlib
import json
import os
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs

# a name or address that can only be this machine's: https://www.rfc-editor.org/rfc/rfc6761#section-6.3
LOOPBACK = r"(([\w-]+\.)*localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


def follow_parent(directory: str) -> None:
    """Wait for the end of standard input, which is when the parent is gone, then kill the whole process group."""
    while os.read(0, 1):
        pass
    shutil.rmtree(directory, ignore_errors=True)
    group = os.getpgrp()
    with contextlib.suppress(OSError):
        if not (child := os.fork()):
            os.setsid()
            os.killpg(group, signal.SIGKILL)
            # one of them may have made a file meanwhile
            shutil.rmtree(directory, ignore_errors=True)
            os._exit(0)
        os.waitpid(child, 0)
    os.killpg(group, signal.SIGKILL)


def know_machines_of_tokens() -> None:
    """Make the policies for task tokens count as on AWS, where Step Functions checks the machine that made the token.

    ministack checks them against no resource at all, so that no policy but one for `*` would ever allow an answer. A
    token that no machine made is told to be unknown, whoever asks.
    """
    states = vars(importlib.import_module("ministack.services.stepfunctions"))
    iam = vars(importlib.import_module("ministack.core.iam_actions"))
    wait = states["_invoke_with_callback"]
    action_of, resource_of = iam["extract_iam_action"], iam["extract_resource_arn"]
    machines: dict[str, str] = {}

    def wait_for_token(resource, task, token, state):
        execution = task["Payload"]["execution"]["Id"]
        machines[token] = execution.rpartition(":")[0].replace(":execution:", ":stateMachine:")
        return wait(resource, task, token, state)

    def token_in(service, body):
        return json.loads(body or b"{}").get("taskToken", "") if service == "states" else ""

    def action(service, method, path, headers, body, *rest):
        token = token_in(service, body)
        return None if token and token not in machines else action_of(service, method, path, headers, body, *rest)

    def resource(service, method, path, headers, body, *rest):
        return machines.get(token_in(service, body)) or resource_of(service, method, path, headers, body, *rest)

    states["_invoke_with_callback"] = wait_for_token
    iam.update(extract_iam_action=action, extract_resource_arn=resource)


def let_requests_choose_their_time() -> None:
    """Make a state's `TimeoutSecondsPath` count, which ministack ignores, so that nobody would ever be timed out."""
    states = vars(importlib.import_module("ministack.services.stepfunctions"))
    execute, input_of, value_at = states["_execute_task"], states["_apply_input_path"], states["_resolve_path"]

    def execute_in_time(state, raw_input, execution, context):
        if path := state.get("TimeoutSecondsPath"):
            state = state | {"TimeoutSeconds": value_at(path, input_of(state, raw_input, context))}
        return execute(state, raw_input, execution, context)

    states["_execute_task"] = execute_in_time


def retry_before_catching() -> None:
    """Make TestState look at a state's retriers first, and say which it is, as AWS does; ministack catches first."""
    states = vars(importlib.import_module("ministack.services.stepfunctions"))
    test, retrier_for = states["_test_state"], states["_find_matching_retrier"]

    def test_state(data):
        error = ((data.get("mock") or {}).get("errorOutput") or {}).get("error")
        state = json.loads(data["definition"]).get("States", {}).get(data.get("stateName"), {})
        tried = data.get("stateConfiguration", {}).get("retrierRetryCount", 0)
        retriers = state.get("Retry", [])
        retrier, number = retrier_for(retriers, error, dict.fromkeys(range(len(retriers)), tried))
        if error is None or retrier is None:
            return test(data)
        details = {"retryIndex": number, "retryBackoffIntervalSeconds": retrier.get("IntervalSeconds", 1)}
        answer = {"status": "RETRIABLE", "error": error, "inspectionData": {"errorDetails": details}}
        return states["json_response"](answer)

    states["_test_state"] = test_state


def publish_what_is_new_alone() -> None:
    """Publish no version of a function that has the code and the configuration of its newest one, as on AWS.

    ministack goes by a number that every update changes, one that takes a change back too. CloudFormation fails where
    nothing is published: https://docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html
    """
    functions = vars(importlib.import_module("ministack.services.lambda_svc"))
    templates = vars(importlib.import_module("ministack.services.cloudformation.provisioners"))
    publish, function_of = functions["_publish_version"], templates["_lambda_version_function"]
    # of the version, or of how its making goes on
    own = {"Description", "FunctionArn", "LastModified", "RevisionId", "Version"}

    def content(config):
        return {key: value for key, value in config.items() if key not in own and not key.startswith(("State", "Last"))}

    def compare(function):
        newest = function["versions"].get(max(function["versions"], key=int, default=None))
        if newest and content(newest["config"]) == content(function["config"]):
            newest["function_revision"] = function["config"]["RevisionId"]

    def publish_version(name, data):
        if name in functions["_functions"]:
            compare(functions["_functions"][name])
        return publish(name, data)

    def version_function(props):
        found = function_of(props)
        if found[0]:
            compare(found[0])
        return found

    functions["_publish_version"] = publish_version
    templates["_lambda_version_function"] = version_function


def lengthen_tokens() -> None:
    """Make task tokens as long as AWS's may be, as they make the records that they are stored in larger.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html
    """
    states = vars(importlib.import_module("ministack.services.stepfunctions"))
    wait = states["_invoke_with_callback"]

    def wait_for_token(resource, task, token, state):
        long_token = token.ljust(2048, "0")
        return wait(resource, json.loads(json.dumps(task).replace(token, long_token)), long_token, state)

    states["_invoke_with_callback"] = wait_for_token


def know_people_by_their_names() -> None:
    """Find a pool's user by a `sub` that is their name: ministack chooses subs, and a local run's people have names."""
    cognito = vars(importlib.import_module("ministack.services.cognito"))
    find = cognito["_apply_user_filter"]
    cognito["_apply_user_filter"] = lambda users, text: find(users, re.sub(r"^sub\b", "username", text))


def let_executions_go_on() -> None:
    """Let executions of an earlier process go on as by AWS's redrive, which ministack lacks: where they were.

    The state is tried anew with the input that it had, on the definition as it is now, and the context object counts
    the redrive, by which a new task token replaces the old one.
    https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
    """
    states = vars(importlib.import_module("ministack.services.stepfunctions"))
    execute, add = states["_execute_task"], states["_add_event"]

    # ministack begins at the first state, which is a Task: instead of doing it, it goes where it was
    def execute_or_go_on(state, raw_input, execution, context):
        if redrives := execution.get("redriveCount"):
            context["Execution"]["RedriveCount"] = redrives
        if place := execution.pop("goesOn", None):
            return json.loads(place["input"]), place["name"]
        return execute(state, raw_input, execution, context)

    # that way there, and that it enters the state once more, are no events
    def add_event(execution, *event):
        if execution.get("eventsLeftOut"):
            execution["eventsLeftOut"] -= 1
            return None
        return add(execution, *event)

    states.update(_execute_task=execute_or_go_on, _add_event=add_event)


def go_on(execution: dict) -> None:
    """Let an execution go on that ran when its process ended; one that has entered no state yet begins."""
    states = vars(importlib.import_module("ministack.services.stepfunctions"))
    count = execution["redriveCount"] = execution.get("redriveCount", 0) + 1
    states["_add_event"](execution, "ExecutionRedriven", {"executionRedrivenEventDetails": {"redriveCount": count}})
    places = [event["stateEnteredEventDetails"] for event in execution["events"] if event["type"].endswith("Entered")]
    if places:
        # entering the first state, leaving it, entering its own
        execution |= {"goesOn": places[-1], "eventsLeftOut": 3}
    threading.Thread(target=states["_run_execution"], args=(execution["executionArn"],), daemon=True).start()


def tell_and_take_state() -> None:
    """Tell all tables' items and all executions at one moment, and take executions of an earlier process.

    `GET /_hourbank/state`: `{"items": {table: [...]}, "executions": [...]}`, with a mark in the header ETag that is
    another one after each change; 304 where it is the one of If-None-Match. `PUT` takes executions, those that ran go
    on, and tells how many; one whose name is taken since is left out.
    """
    module = vars(importlib.import_module("ministack.app"))
    tables = vars(importlib.import_module("ministack.services.dynamodb"))
    executions = vars(importlib.import_module("ministack.services.stepfunctions"))["_executions"]
    answer = module["app"]

    # the loop does DynamoDB's calls, so none is half done here
    def items():
        return {
            name: [item for items in list(table["items"].values()) for item in items.values()]
            for name, table in tables["_tables"].items()
        }

    def mark():
        written, events = tables["_stream_seq_counter"], sum(len(one["events"]) for one in executions.values())
        return f"{written}-{events}-{'-'.join(str(len(some)) for some in items().values())}"

    def taken(given):
        new = [execution for execution in given if execution["executionArn"] not in executions]
        running = [execution for execution in new if execution["status"] == "RUNNING"]
        executions.update({execution["executionArn"]: execution for execution in new})
        for execution in running:
            go_on(execution)
        return len(running)

    async def app(scope, receive, send):
        if scope.get("path") != "/_hourbank/state":
            await answer(scope, receive, send)
            return
        body, is_more = b"", scope["method"] == "PUT"
        while is_more:
            message = await receive()
            body, is_more = body + message.get("body", b""), message.get("more_body", False)
        known, status = dict(scope["headers"]).get(b"if-none-match", b"").decode(), 200
        now = mark()
        if body:
            told = taken(json.loads(body))
        elif known == now:
            status, told = 304, None
        else:
            told = {"items": items(), "executions": executions.values()}
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", now.encode())]})
        await send({"type": "http.response.body", "body": b"" if told is None else json.dumps(told).encode()})

    module["app"] = app


def tell_process() -> None:
    """Tell at `GET /_hourbank/process` which process answers."""
    module = vars(importlib.import_module("ministack.app"))
    answer = module["app"]

    async def app(scope, receive, send):
        if scope.get("path") != "/_hourbank/process":
            await answer(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

    module["app"] = app


def refuse_other_sites() -> None:
    """Answer this machine's programs and pages alone.

    ministack believes everybody, runs what anybody gives it as a function, and lets pages of every origin read its
    answers, task tokens too: any site that is open in a browser here could do both. A name that was made to lead here
    (DNS rebinding) is refused by its Host.
    """
    module = vars(importlib.import_module("ministack.app"))
    answer = module["app"]

    async def app(scope, receive, send):
        if scope["type"] == "lifespan" or is_of_this_machine(scope):
            await answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"Only programs and pages of this machine are answered"})

    module["app"] = app


def is_of_this_machine(scope):
    """Whether a request is of a program, or of a page that this machine serves."""
    headers = {name: value.decode("latin-1") for name, value in scope.get("headers", ())}
    if not re.fullmatch(LOOPBACK, headers.get(b"host", "")):
        return False
    if b"origin" in headers:
        return bool(re.fullmatch(f"https?://{LOOPBACK}", headers[b"origin"]))
    # An image or a link on any page is asked for without an Origin. Browsers say where they found it, not all of them:
    # https://www.w3.org/TR/fetch-metadata/. AWS's query protocol makes a call of such an address, which programs POST.
    if headers.get(b"sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    return scope.get("method") == "POST" or not any(name.lower() == "action" for name in asked)


def start_functions_soon(python: str) -> None:
    """Run what functions are copies of, with the Python that they have (`prefork.py`)."""
    # macOS has libraries that do not survive a copy
    if sys.platform == "linux":
        program = Path(__file__).with_name("prefork.py")
        subprocess.Popen([python, "-P", program, "serve"], stdin=subprocess.DEVNULL)


def open_enough_files() -> None:
    """Raise the soft limit of open files, 256 on macOS, as far as needed and allowed: every function takes several."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    if os.getpgrp() != os.getpid():
        sys.exit("start this in a session of its own: it kills its whole process group")
    open_enough_files()
    threading.Thread(target=follow_parent, args=(sys.argv[1],), daemon=True).start()
    start_functions_soon(sys.argv[2])
    # Many cold starts at once on a busy machine take longer than AWS's ten seconds for an initialisation; there is no
    # setting for it.
    vars(importlib.import_module("ministack.core.lambda_runtime"))["_PROVIDED_INIT_TIMEOUT"] = 300.0
    let_requests_choose_their_time()
    retry_before_catching()
    publish_what_is_new_alone()
    if os.environ["AUTH"] == "true":
        know_machines_of_tokens()
    lengthen_tokens()
    know_people_by_their_names()
    let_executions_go_on()
    tell_and_take_state()
    tell_process()
    refuse_other_sites()
    sys.argv = ["ministack"]
    runpy.run_module("ministack", run_name="__main__")


main()
