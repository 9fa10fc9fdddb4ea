"""What a local run takes of its machine: settings of the user's, of any kind, neither lead it elsewhere nor stop it."""

import contextlib
import errno
import fcntl
import io
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hourbank import cli, names, terminal
from hourbank.errors import HourBankError
from hourbank.local import deploy, emulator, machine, running
from hourbank.local.deployment import Deployment
from tests.helpers.processes import left_running

HOURBANK = Path(sys.executable).with_name("hourbank")
NOWHERE = "http://192.0.2.1:9"  # https://www.rfc-editor.org/rfc/rfc5737
# For LocalStack and ministack, boto3, TLS, Pulumi, Powertools.
SETTINGS = {
    "SERVICES": "s3,sqs",
    "LAMBDA_EXECUTOR": "docker",
    "LAMBDA_ACCOUNT_CONCURRENCY": "1",
    "USE_SSL": "1",
    "LOCALSTACK_PERSISTENCE": "1",
    "PERSIST_STATE": "1",
    "EDGE_PORT": "1",
    "MINISTACK_ACCOUNT_ID": "111111111111",
    "MINISTACK_REGION": "eu-west-3",
    "SFN_MOCK_CONFIG": "/nowhere",
    "SFN_WAIT_SCALE": "100",
    "AWS_PROFILE": "nobody",
    "AWS_REGION": "eu-west-3",
    "AWS_DEFAULT_REGION": "eu-west-3",
    "AWS_ENDPOINT_URL": NOWHERE,
    "AWS_ENDPOINT_URL_DYNAMODB": NOWHERE,
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_DEFAULTS_MODE": "nonsense",
    "AWS_MAX_ATTEMPTS": "nonsense",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "nonsense",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_CA_BUNDLE": "/nowhere",
    "REQUESTS_CA_BUNDLE": "/nowhere",
    "SSL_CERT_FILE": "/nowhere",
    "SSLKEYLOGFILE": "/nowhere/keys",
    "HTTP_PROXY": NOWHERE,
    "http_proxy": NOWHERE,
    "ALL_PROXY": NOWHERE,
    "PULUMI_CONFIG": "{broken",
    "PULUMI_CONFIG_SECRET_KEYS": "broken",
    "LOG_LEVEL": "NOISE",
    "POWERTOOLS_LOG_LEVEL": "NOISE",
    "POWERTOOLS_DEV": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONIOENCODING": "latin-1",
    "LANG": "xx_XX.ISO-8859-1",
    "TZ": "Pacific/Kiritimati",
    "TERM": "dumb",
}
CONFIGS = {
    "a profile twice": b"[default]\nregion = us-east-1\n[profile work]\nregion = a\n[profile work]\nregion = b\n",
    "a byte order mark": b"\xef\xbb\xbf[default]\nregion = us-east-1\n",
    "a key without value": b"[default]\nregion\n",
    "bytes that are not UTF-8": b"[default]\nregion = \xff\xfe\n",
    "settings that lead elsewhere": (
        f"[default]\nregion = eu-central-1\nignore_configured_endpoint_urls = true\nuse_fips_endpoint = true\n"
        f"defaults_mode = nonsense\nrequest_checksum_calculation = nonsense\ncredential_process = false\n"
        f"services = all\n[services all]\ndynamodb =\n  endpoint_url = {NOWHERE}\n"
    ).encode(),
}
PACKAGES = ("handlers", "workflows", "components", "boto3", "rich")


def hostile(folder: Path, config: bytes = CONFIGS["a profile twice"]) -> dict[str, str]:
    """The environment of a user who has set everything there is, each for another program."""
    models, packages = folder / "home/.aws/models/dynamodb/2012-08-10", folder / "packages"
    models.mkdir(parents=True)
    (models / "service-2.json").write_text("{}", encoding="utf-8")
    for file in ("config", "credentials"):
        (folder / "home/.aws" / file).write_bytes(config)
    for name in PACKAGES:
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").touch()
    (folder / "state").mkdir()
    return SETTINGS | {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "PYTHONPATH": f"{packages}:",
        "COLUMNS": "100",
        # a test's umask takes everything away: nothing that is left in this project may have it
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOURBANK_STATE": str(folder / "state"),
    }


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, with standard input closed and a umask that takes everything away."""
    return subprocess.run(
        ["sh", "-c", 'umask 0777; exec "$@" <&-', "sh", HOURBANK, *arguments],
        env=environment,
        capture_output=True,
        encoding="latin-1",
        check=False,
    )


class StandIn(BaseHTTPRequestHandler):
    """Answers as an emulator without records: whoever asks has come where they should."""

    asked: list[str]

    def do_GET(self) -> None:
        self._send(200, {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(self.headers["X-Amz-Target"])
        self._send(200, {"Items": [], "Count": 0, "ScannedCount": 0})

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def stand_in() -> Iterator[tuple[str, list[str]]]:
    """The address of a server on this machine, and what it was asked."""
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (StandIn,), {"asked": asked})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.parametrize(
    "config",
    [pytest.param(name, marks=[] if at in (0, 4) else pytest.mark.thorough) for at, name in enumerate(CONFIGS)],
)
def test_a_command_reaches_the_emulator_whatever_the_user_has_set(
    config: str, tmp_path: Path, stand_in: tuple[str, list[str]]
) -> None:
    environment = hostile(tmp_path, CONFIGS[config])
    endpoint, asked = stand_in
    deployment = Deployment(endpoint=endpoint, tables={"userBalance": "UserBalance"}, outputs={})
    with left_running(tmp_path / "state", deployment):
        ended = run(environment, "request", "--from", "chloé", "--to", "ben", "--hours", "2")
    assert ended.stderr == "hourbank: 'chloé': nobody has a balance of that name: people are \n"
    assert asked == ["DynamoDB_20120810.Scan"]


def test_the_emulator_s_process_gets_nothing_of_the_user_s(tmp_path: Path) -> None:
    told = machine.of_emulator(hostile(tmp_path / "user") | {"LD_LIBRARY_PATH": "/opt/python/lib"}, tmp_path / "own")
    assert told == {
        "LD_LIBRARY_PATH": "/opt/python/lib",
        "PATH": os.defpath,
        "HOME": str(tmp_path / "own"),
        "TMPDIR": str(tmp_path / "own"),
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
        "TZ": "UTC",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def test_this_process_keeps_how_it_prints_and_where_it_writes(tmp_path: Path) -> None:
    kept = machine.shut_off(hostile(tmp_path) | {"TMPDIR": "/t", "CI": "true", "LC_ALL": "C"}, also=["CI"])
    leading = {name for name in SETTINGS if name.startswith(("AWS_", "MINISTACK_", "PULUMI_", "POWERTOOLS_", "SSL"))}
    assert leading & kept.keys() == {"AWS_REGION", "AWS_DEFAULT_REGION"}
    assert kept["AWS_REGION"] == kept["AWS_DEFAULT_REGION"] == "us-east-1"
    assert kept["HOME"] == kept["AWS_CONFIG_FILE"] == os.devnull
    assert {"TMPDIR", "CI", "LC_ALL", "TERM", "TZ", "COLUMNS", "HOURBANK_STATE", "PATH"} <= kept.keys()
    assert not {"SERVICES", "USE_SSL", "http_proxy", "LOG_LEVEL"} & kept.keys()


def test_nothing_that_reads_settings_is_imported_before_they_are_forgotten() -> None:
    command = (
        "import sys, hourbank.cli; print(*sorted({'boto3', 'botocore', 'pulumi', 'handlers'} & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


@pytest.mark.parametrize(
    "command", ["demo", *(pytest.param(one, marks=pytest.mark.thorough) for one in ("up", "cost"))]
)
def test_a_machine_on_which_nothing_has_room_is_said_at_once(command: str, tmp_path: Path) -> None:
    # Given a limit of 8 blocks for a file, which stands for full disks
    ended = limited("-f 8", tmp_path, command)
    assert ended.returncode == 1
    *_, said = ended.stderr.splitlines()
    assert said.startswith(f"hourbank: no folder for temporary files serves: {tmp_path} (file too large), /tmp (")
    assert said.endswith("set TMPDIR to a folder with 16 MB in which programs may run")
    assert "Traceback" not in ended.stderr
    assert {file.name for file in tmp_path.iterdir()} <= {running.LOCK}


def test_a_machine_on_which_too_few_files_can_be_opened_is_said_at_once(tmp_path: Path) -> None:
    ended = limited("-n 100", tmp_path, "demo")
    assert ended.returncode == 1
    assert ended.stderr.endswith(
        "hourbank: a program may open 100 files here, and the emulator needs 256: raise the limit (ulimit -Hn)\n"
    )


def limited(limit: str, folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """A command that a shell's `ulimit` holds for."""
    environment = os.environ | {"HOURBANK_STATE": str(folder), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        ["sh", "-c", f'ulimit {limit}; exec "$@"', "sh", HOURBANK, command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_that_does_not_reach_itself_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(emulator.socket, "create_connection", unreachable)
    with pytest.raises(HourBankError, match=r"127\.0\.0\.1 \(Network is unreachable\): see its loopback interface"):
        emulator.Emulator().start()


def test_a_folder_that_is_gone_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(sys, "argv", [str(HOURBANK)])
    assert names.command().endswith("hourbank")


def test_a_folder_is_chosen_in_which_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noexec, serves = tmp_path / "noexec", tmp_path / "serves"
    for folder in (noexec, serves):
        folder.mkdir()
    execute = subprocess.run

    def on_this_machine(command: list[Path], **options: Any) -> Any:
        if command[0].is_relative_to(noexec):
            raise PermissionError(13, "Permission denied", str(command[0]))
        return execute(command, **options)

    monkeypatch.setattr(machine.subprocess, "run", on_this_machine)
    monkeypatch.setattr(machine, "_places", lambda: iter([str(noexec), str(tmp_path / "missing"), str(serves)]))
    chosen = machine.working_folder()
    assert chosen.parent == serves
    assert chosen.stat().st_mode & 0o777 == 0o700
    assert list(chosen.iterdir()) == list(noexec.iterdir()) == []
    monkeypatch.setattr(machine, "_places", lambda: iter([str(noexec), str(tmp_path / "missing")]))
    with pytest.raises(HourBankError, match=r"noexec \(lets no program run\), .*missing \(no such file or directory\)"):
        machine.working_folder()


def test_the_user_s_own_folder_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/of/the/user")
    assert list(machine._places())[:2] == ["/of/the/user", "/tmp"]  # noqa: S108


def test_a_function_that_does_not_start_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Functions:
        def invoke(self, **_: Any) -> dict[str, Any]:
            payload = {"errorType": "Runtime.InvalidEntrypoint", "errorMessage": "bootstrap:\n exec: not found"}
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(payload).encode())}

    monkeypatch.setattr(Deployment, "client", lambda *_: Functions())
    with pytest.raises(HourBankError, match="no function can be started on this machine: bootstrap: exec: not found"):
        deploy.start_a_function(Deployment(endpoint="", tables={}, outputs={}))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"{}", b'{"pid": 1, "console": "x", "deployment": {}}'),
        b'{"pid": "x", "console": "x", "deployment": {"endpoint": "http://127.0.0.1:9", "tables": {}, "outputs": {}}}',
        b'{"pid": 1, "console": "x", "deployment": {"endpoint": 7, "tables": {}, "outputs": {}}}',
        b'{"pid": 1, "console": "x", "deployment": {"endpoint": "http://[::", "tables": {}, "outputs": {}}}',
        b'{"pid": 1, "console": "x", "deployment": {"endpoint": "http://a b:c", "tables": {}, "outputs": {}}}',
    ],
)
def test_what_nobody_can_read_is_said_where_it_runs_and_forgotten_where_not(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "STATE", tmp_path / "up.json")
    with running.only_one():
        running.STATE.write_bytes(content)
        with pytest.raises(HourBankError, match=r"is not what .* up` wrote: end what runs by Ctrl-C"):
            running.running()
    running.STATE.write_bytes(content)
    with pytest.raises(HourBankError, match="nothing is running"):
        running.running()
    assert not running.STATE.exists()


def test_there_is_one_run_of_a_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "STATE", tmp_path / "new" / "up.json")
    with running.only_one():
        for ask in (running.running, running.down, running.only_one().__enter__):
            with pytest.raises(HourBankError, match="up` is still starting, in another terminal: wait until"):
                ask()
        running.remember(running.RunningState(4711, "http://x", Deployment("http://127.0.0.1:9", {}, {})))
        with pytest.raises(HourBankError, match=r"already running on http://x \(process 4711\): `.* down` ends it"):
            running.only_one().__enter__()
        assert running.running().endpoint == "http://127.0.0.1:9"
    assert running.find() is None
    # whoever only looks is no run
    with (tmp_path / "new" / running.LOCK).open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.2, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
        with running.only_one():
            pass


def test_a_run_does_without_an_answer_from_its_emulator_that_has_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "STATE", tmp_path / "up.json")
    with socket.create_server(("127.0.0.1", 0)) as busy, running.only_one():
        endpoint = f"http://127.0.0.1:{busy.getsockname()[1]}"
        running.remember(running.RunningState(0, "", Deployment(endpoint, {}, {})))
        assert running.running().endpoint == endpoint


@pytest.mark.parametrize(
    ("limit", "most", "words"),
    [
        ("RLIMIT_NPROC", 149, r"a user may have 149 processes here, and a local run needs 150: raise .* \(ulimit -u\)"),
        ("RLIMIT_AS", 1_000_000 * 1024, r"a program may have 1000000 KB of memory here, .* needs 2000000: .*ulimit -v"),
        ("RLIMIT_NOFILE", 200, "a program may open 200 files here, and the emulator needs 256: raise the limit"),
        ("RLIMIT_NPROC", 150, ""),
    ],
)
def test_a_limit_is_told_before_anything_is_started(
    limit: str, most: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limits(asked: int) -> tuple[int, int]:
        return (most, most) if asked == getattr(resource, limit) else (resource.RLIM_INFINITY,) * 2

    monkeypatch.setattr(machine.resource, "getrlimit", limits)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HourBankError, match=words) if words else contextlib.nullcontext():
        machine.check_limits()
    if limit == "RLIMIT_NPROC":
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        machine.check_limits()


@pytest.mark.parametrize("refused", [MemoryError(), RuntimeError("can't start new thread")])
def test_what_the_machine_has_not_is_no_fault_of_this_program(refused: Exception) -> None:
    assert "this machine refuses: no more threads or memory" in str(cli._in_one_line(refused))


def test_a_folder_is_not_blamed_where_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(HourBankError, match="no process can be started: there are too many, or too little memory"):
        machine.working_folder()


def test_what_a_user_lets_python_find_is_not_the_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ministack.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert emulator._python() != Path(sys.executable)


@pytest.mark.parametrize(("pid", "ended"), [(-1, []), (0, []), (1, []), (4711, [4711])])
def test_a_state_that_names_no_process_of_ours_ends_none(
    pid: int, ended: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(running, "STATE", tmp_path / "up.json")
    monkeypatch.setattr(running, "_answers", lambda _: False)
    monkeypatch.setattr(
        running, "find", lambda: running.RunningState(pid, "", Deployment(endpoint="", tables={}, outputs={}))
    )
    monkeypatch.setattr(running.os, "kill", lambda number, _: told.append(number))
    assert running.down() == "stopped"
    assert told == ended


def test_a_state_that_is_no_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "STATE", tmp_path / "up.json")
    with running.only_one():
        running.STATE.mkdir()
        with pytest.raises(HourBankError, match=r"cannot be read \(Is a directory\): end what runs"):
            running.running()
    with pytest.raises(HourBankError, match=r"up.json cannot be removed \(.*\): see HOURBANK_STATE"):
        running.only_one().__enter__()
    with pytest.raises(HourBankError, match="set HOURBANK_STATE to a folder of yours, here and in other terminals"):
        machine.make_state_folder(Path(os.devnull) / "state")


def test_a_clone_of_somebody_else_s_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(machine, "_places", lambda: iter([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert machine.state_folder({}) == tmp_path / ".hourbank"
    monkeypatch.setattr(machine.os, "access", lambda *_: False)
    mine = machine.state_folder({})
    assert mine == tmp_path / "a" / f"hourbank-of-{os.getuid()}"
    machine.make_state_folder(mine)
    assert mine.stat().st_mode & 0o777 == 0o700
    assert machine.state_folder({}) == mine
    # What another user put there first is not believed
    mine.rmdir()
    mine.symlink_to(tmp_path)
    assert machine.state_folder({}).parent == tmp_path / "b"
    assert machine.state_folder({"HOURBANK_STATE": "elsewhere"}) == Path("elsewhere")


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("latin-1", "+ ana -> chloé, <= 3 h ? |"),
        ("ascii", "+ ana -> chlo?, <= 3 h ? |"),
        ("utf-8", "✓ ana → chloé, ≤ 3 h 🔁 │"),
    ],
)
def test_every_locale_can_be_printed_in(encoding: str, printed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    terminal.print_in_any_locale()
    for stream in (sys.stdout, sys.stderr):
        stream.write("✓ ana → chloé, ≤ 3 h 🔁 │")
        stream.flush()
        assert stream.buffer.getvalue().decode(encoding) == printed


def test_a_closed_stream_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    terminal.print_in_any_locale()
    terminal.put("nothing")


def test_a_whole_file_is_written_as_utf_8_in_every_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    terminal.print_in_any_locale()
    terminal.put("| chloé → ben 🔁 |\n")
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue().decode() == "| chloé → ben 🔁 |\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), "this machine refuses: No space left on device"),
        (OSError(30, "Read-only file system", "adopt.json"), "adopt.json: Read-only file system"),
        (FileNotFoundError(2, "No such file or directory", "x"), None),
    ],
)
def test_what_the_machine_refuses_is_one_line_and_a_fault_of_ours_is_not(error: OSError, line: str | None) -> None:
    assert cli._in_one_line(error) == line


def test_what_is_to_blame_is_blamed() -> None:
    from botocore.exceptions import ClientError, EndpointConnectionError

    gone = cli._in_one_line(EndpointConnectionError(endpoint_url="http://127.0.0.1:1"))
    assert gone.startswith("the emulator is not there any more: start again.")
    refused = cli._in_one_line(ClientError({"Error": {"Code": "Nope", "Message": "never"}}, "PutItem"))
    assert refused.startswith("the emulator refuses PutItem: ") and refused.endswith("never")


@pytest.mark.thorough
def test_a_request_from_hold_to_payment_on_a_hostile_machine(tmp_path: Path) -> None:
    environment = hostile(tmp_path) | {"TMPDIR": str(tmp_path / "missing")}
    with (tmp_path / "printed").open("w+", encoding="latin-1") as printed, contextlib.ExitStack() as at_end:
        process = subprocess.Popen(
            ["sh", "-c", 'umask 0777; exec "$@" <&-', "sh", HOURBANK, "up"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=printed,
            encoding="latin-1",
        )
        at_end.callback(process.wait)
        at_end.callback(process.terminate)
        assert process.stdout
        assert any("to play a person" in line for line in process.stdout), printed.seek(0) or printed.read()
        asked = run(environment, "request", "--from", "ana", "--to", "ben", "--hours", "2")
        assert asked.stderr.endswith("AWAITING_PROVIDER\n")
        request_id = asked.stdout.strip()
        assert run(environment, "answer", request_id, "accept").stderr == "IN_PROGRESS\n"
        assert run(environment, "confirm", request_id).stderr == "COMPLETED\n"
        shown = run(environment, "show", request_id)
        assert "+ ProcessEscrowRelease" in shown.stdout
        assert run(environment, "audit").returncode == 0
        assert run(environment, "down").stdout == "stopped\n"
        assert "ana -> ben, 2 h  COMPLETED" in process.stdout.read()
