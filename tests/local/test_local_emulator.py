"""The emulator's processes end with their parent, and functions' errors reach Step Functions by name."""

import contextlib
import errno
import http.client
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hourbank.errors import HourBankError
from hourbank.local import deploy, emulator
from hourbank.local.emulator import Emulator
from hourbank.local.processes import prefork
from tests.helpers.processes import assert_group_gone, group_members
from tests.helpers.waiting import ENDLESS_SECONDS, until

pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("processes")]

PARENT = """
import signal, sys, time
from hourbank.local.emulator import Emulator
signal.signal(signal.SIGINT, signal.default_int_handler)  # what nohup and setsid start inherits to ignore it
with Emulator() as emulator:
    print(emulator._process.pid, emulator.directory, flush=True)
    time.sleep(3600)
"""
TOY = """
import json

class ValidationFailed(Exception):
    pass

def handler(event, context):
    if event.get("wanted"):
        raise ValidationFailed("hours are missing")
    return {"event": event, "id": context.aws_request_id, "left": context.get_remaining_time_in_millis()}
"""


def toy_archive(source: str = TOY) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("toy.py", source)
        bootstrap = zipfile.ZipInfo("bootstrap")
        bootstrap.external_attr = 0o755 << 16
        files.writestr(bootstrap, deploy.bootstrap())
    return archive.getvalue()


def create(emulator: Emulator, name: str, handler: str, source: str = TOY) -> None:
    emulator.client("lambda").create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Handler=handler,
        Role="arn:aws:iam::000000000000:role/toy",
        Code={"ZipFile": toy_archive(source)},
        Timeout=900,
    )


def invoke(emulator: Emulator, name: str, event: dict) -> dict:
    answer = emulator.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
    return json.load(answer["Payload"])


@pytest.fixture(scope="module")
def toy():
    with Emulator() as emulator:
        create(emulator, "toy", "toy.handler")
        yield emulator


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1", None, 200),
        ("localhost:4566", "http://localhost:4200", 200),
        ("bucket.localhost", "https://[::1]", 200),
        ("evil.example", None, 403),
        ("127.0.0.1.evil.example", None, 403),
        ("127.0.0.1", "http://evil.example", 403),
        ("127.0.0.1", "http://localhost.evil.example", 403),
        ("127.0.0.1", "null", 403),
    ],
)
def test_only_this_machine_s_programs_and_pages_are_answered(
    toy: Emulator, host: str, origin: str | None, status: int
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", toy.port, timeout=ENDLESS_SECONDS)
    connection.request("GET", "/_ministack/health", headers={"Host": host} | ({"Origin": origin} if origin else {}))
    answer = connection.getresponse()
    assert answer.status == status
    assert (b"this machine" in answer.read()) == (status == 403)
    connection.close()


@pytest.mark.parametrize(
    ("path", "site", "status"),
    [
        ("/_ministack/health", "none", 200),
        ("/_ministack/health", "same-origin", 200),
        ("/_ministack/health", "same-site", 403),
        ("/_ministack/health", "cross-site", 403),
        ("/?Action=CreateUser&UserName=eve&Version=2010-05-08", "cross-site", 403),
        ("/?Action=CreateUser&UserName=eve&Version=2010-05-08", "none", 403),
        ("/?%41ction=CreateUser&UserName=eve&Version=2010-05-08", None, 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_image_on_any_page_calls_nothing(
    toy: Emulator, method: str, path: str, site: str | None, status: int
) -> None:
    """A page asks for it without an Origin; a stack that it made would run its text as a function of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", toy.port, timeout=ENDLESS_SECONDS)
    connection.request(method, path, headers={"Sec-Fetch-Site": site} if site else {})
    assert connection.getresponse().status == status
    connection.close()
    assert toy.client("iam").list_users()["Users"] == []


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
def test_no_process_and_no_file_is_left_when_the_parent_is_killed(end):
    # Given a program with an emulator
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        group, directory = parent.stdout.readline().split()
        assert group_members(int(group))
        # When the program is killed
        parent.send_signal(end)
        parent.wait(ENDLESS_SECONDS)
    # Then nothing of the emulator is left
    assert_group_gone(int(group))
    assert not Path(directory).exists()


def test_functions_processes_end_with_the_emulator():
    with Emulator() as emulator:
        create(emulator, "toy", "toy.handler")
        invoke(emulator, "toy", {})
        group = emulator._process.pid
        assert any("prefork" in command for command in group_members(group))
    assert_group_gone(group)


def test_a_function_is_a_copy_of_what_has_imported_boto3_already():
    source = "import sys\nfound = 'boto3' in sys.modules\ndef handler(event, context): return found"
    with Emulator() as emulator:
        if sys.platform == "linux":
            until((emulator.directory / prefork.SOCKET).exists, what="what functions are copies of")
        create(emulator, "copy", "toy.handler", source)
        assert invoke(emulator, "copy", {}) == (sys.platform == "linux")


@contextlib.contextmanager
def asking(home: Path) -> Iterator[tuple[subprocess.Popen, socket.socket]]:
    """A function's first process, and its connection to a Runtime API that has no event for it."""
    with socket.create_server(("127.0.0.1", 0)) as api:
        (home / "toy.py").write_text(TOY)
        environment = {
            "HOME": str(home),
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.getsockname()[1]}",
            "LAMBDA_TASK_ROOT": str(home),
            "_HANDLER": "toy.handler",
        }
        command = [sys.executable, "-P", "-S", prefork.__file__]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as asker:
            api.settimeout(ENDLESS_SECONDS)
            connection, _ = api.accept()
            with connection:
                connection.settimeout(ENDLESS_SECONDS)
                assert connection.recv(4096).startswith(b"GET /2018-06-01/runtime/invocation/next")
                yield asker, connection


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[Path]:
    """Where functions are copied."""
    with subprocess.Popen([sys.executable, "-P", prefork.__file__, "serve"], cwd=tmp_path) as serving:
        until((tmp_path / prefork.SOCKET).exists, what="what functions are copies of")
        yield tmp_path
        serving.kill()


def test_a_copy_ends_with_the_process_that_asked_for_it(copies: Path) -> None:
    with asking(copies) as (asker, connection):
        asker.kill()
        assert connection.recv(1) == b""


def test_who_asked_for_a_copy_ends_with_it(copies: Path) -> None:
    with asking(copies) as (asker, connection):
        connection.sendall(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
        assert asker.wait(ENDLESS_SECONDS) == 0


def test_where_nobody_makes_copies_the_process_is_the_function_itself(tmp_path: Path) -> None:
    with asking(tmp_path) as (asker, connection):
        assert "lambda_runtime" in subprocess.check_output(["ps", "-wwo", "args=", "-p", str(asker.pid)], text=True)
        asker.kill()
        assert connection.recv(1) == b""


@pytest.mark.parametrize("reads", [True, False], ids=["end", "reset"])
def test_where_copies_cannot_be_made_any_more_it_is_too(tmp_path: Path, reads: bool) -> None:
    with socket.socket(socket.AF_UNIX) as full:
        with contextlib.chdir(tmp_path):
            full.bind(prefork.SOCKET)
        full.listen()

        def refuse() -> None:
            connection, _ = full.accept()
            with connection:
                while reads and b"\n" not in connection.recv(1 << 20):
                    pass

        refusing = threading.Thread(target=refuse)
        refusing.start()
        with asking(tmp_path) as (asker, _):
            assert "lambda_runtime" in subprocess.check_output(["ps", "-wwo", "args=", "-p", str(asker.pid)], text=True)
            asker.kill()
        refusing.join()


def test_another_emulator_on_its_port_is_not_taken_for_its_own(toy: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = iter([toy.port, emulator._free_port()])
    monkeypatch.setattr(emulator, "_free_port", lambda: next(ports))
    with Emulator() as second:
        assert second.port != toy.port
        assert second.client("lambda").list_functions()["Functions"] == []


def test_it_listens_on_one_loopback_address_only(toy):
    with socket.socket() as client:
        # 0.0.0.0 would answer here, where Linux refuses and macOS knows no way
        assert client.connect_ex(("127.0.0.2", toy.port)) in (errno.ECONNREFUSED, errno.ETIMEDOUT)


def test_the_users_own_aws_settings_are_left_out(monkeypatch):
    for name, value in {
        "AWS_PROFILE": "production",
        "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    source = "import os\ndef handler(event, context): return {k: v for k, v in os.environ.items() if 'AWS' in k}"
    with Emulator() as emulator:
        create(emulator, "environment", "toy.handler", source)
        seen = invoke(emulator, "environment", {})
        assert emulator.client("dynamodb").list_tables()["TableNames"] == []
        assert seen["AWS_ENDPOINT_URL"] == emulator.endpoint
    assert not {"AWS_PROFILE", "AWS_ENDPOINT_URL_DYNAMODB"} & set(seen)


def test_a_missing_environment_is_one_line_that_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("HOURBANK_EMULATOR_PYTHON", str(tmp_path / "python"))
    with pytest.raises(HourBankError, match="see HOURBANK_EMULATOR_PYTHON, or unset it"), Emulator():
        pass


def test_a_result_comes_with_a_context_like_lambdas(toy):
    result = invoke(toy, "toy", {"a": "1"})
    assert result["event"] == {"a": "1"}
    assert result["id"]
    assert 0 < result["left"] <= 900_000


def test_an_exception_has_its_class_name_message_and_trace(toy):
    error = invoke(toy, "toy", {"wanted": True})
    assert error["errorType"] == "ValidationFailed"
    assert error["errorMessage"] == "hours are missing"
    assert "in handler" in error["stackTrace"][-1]


def test_a_result_that_json_has_no_form_for_is_an_error_of_the_function(toy):
    create(toy, "decimal", "toy.handler", "import decimal\ndef handler(event, context): return decimal.Decimal('1.5')")
    assert invoke(toy, "decimal", {})["errorType"] == "TypeError"


def test_a_handler_that_cannot_be_imported_says_which_module(toy):
    create(toy, "broken", "toy.handler", "import does_not_exist")
    assert "does_not_exist" in json.dumps(invoke(toy, "broken", {}))


def test_a_waiting_task_whose_function_raises_fails_at_once_and_is_caught_by_name(toy):
    # Given a state that waits for a token, with one retry and a Catch by the error's class
    definition = {
        "StartAt": "Wait",
        "States": {
            "Wait": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
                "Parameters": {"FunctionName": "toy", "Payload": {"taskToken.$": "$$.Task.Token", "wanted": True}},
                "TimeoutSeconds": 24 * 3600,
                "Retry": [{"ErrorEquals": ["ValidationFailed"], "IntervalSeconds": 1, "MaxAttempts": 1}],
                "Catch": [{"ErrorEquals": ["ValidationFailed"], "ResultPath": "$.error", "Next": "Caught"}],
                "End": True,
            },
            "Caught": {"Type": "Succeed"},
        },
    }
    states = toy.client("stepfunctions")
    machine = states.create_state_machine(
        name="waiting", definition=json.dumps(definition), roleArn="arn:aws:iam::000000000000:role/toy"
    )
    # When its function raises
    execution = states.start_execution(stateMachineArn=machine["stateMachineArn"], input="{}")["executionArn"]
    until(lambda: states.describe_execution(executionArn=execution)["status"] != "RUNNING")
    # Then it is retried and caught long before the time-out, and the cause is what Lambda's would be
    error = json.loads(states.describe_execution(executionArn=execution)["output"])["error"]
    assert error["Error"] == "ValidationFailed"
    assert json.loads(error["Cause"])["errorMessage"] == "hours are missing"
    history = states.get_execution_history(executionArn=execution)["events"]
    assert sum(event["type"] == "TaskFailed" for event in history) == 2
