"""The program under the real Pulumi CLI that PULUMI_ENGINE names, against the emulator: `make test-engine`.

Write a test here for what only the engine decides: what a preview shows, what a change touches, what is protected, and
what a user sees when the program refuses. Everything else is asserted on a recording.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from hourbank.local.emulator import Emulator
from tests.helpers.waiting import ENDLESS_SECONDS

pytestmark = pytest.mark.engine

PROJECT = Path(__file__).parents[2]
MACHINE = "aws:sfn/stateMachine:StateMachine"
FUNCTION = "aws:lambda/function:Function"
KEYS = {"ServiceRequest": "id", "Escrow": "id", "UserBalance": "userId", "TransactionLog": "id"}


@dataclass
class Engine:
    """A copy of the program, with state of its own, that the CLI runs against the emulator."""

    program: Path
    state: Path
    emulator: Emulator

    @property
    def environment(self) -> dict[str, str]:
        """With the CLI on the path, and the emulator for AWS."""
        engine = Path(os.environ["PULUMI_ENGINE"]).absolute()
        home = engine.parent.parent / "home"  # plugins that came with the CLI; without them, the user's own
        environment = os.environ | {
            "PATH": os.pathsep.join([str(engine.parent), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "VIRTUAL_ENV": sys.prefix,
            "PULUMI_PYTHON_CMD": sys.executable,
            "PULUMI_BACKEND_URL": self.state.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "AWS_ENDPOINT_URL": self.emulator.endpoint,
            # read only by a stand-in for the provider's plugin, where one is installed instead of the real one
            "SHIM_MODE": "ministack",
            "SHIM_PYTHON": sys.executable,
        }
        if home.is_dir():
            environment.setdefault("PULUMI_HOME", str(home))
        return environment

    def run(self, stack: str, *command: str) -> subprocess.CompletedProcess[str]:
        arguments = ["--cwd", self.program, *command, "--stack", stack, "--non-interactive", "--color", "never"]
        return subprocess.run(
            [Path(os.environ["PULUMI_ENGINE"]).absolute(), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ENDLESS_SECONDS,
            check=False,
        )

    def succeed(self, stack: str, *command: str) -> str:
        done = self.run(stack, *command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def preview(self, stack: str) -> dict[str, str]:
        """What an update would do to each resource, by ``type name``."""
        steps = json.loads(self.succeed(stack, "preview", "--json"))["steps"]
        return {resource(step["urn"]): step["op"] for step in steps}

    def changes(self, stack: str) -> dict[str, str]:
        """What an update would do, without the resources that stay the same."""
        return {name: operation for name, operation in self.preview(stack).items() if operation != "same"}

    def urns(self, stack: str) -> list[str]:
        """The resources in the stack's state."""
        deployment = json.loads(self.succeed(stack, "stack", "export"))["deployment"]
        return [one["urn"] for one in deployment.get("resources", [])]

    def refusal(self, tables: dict[str, str]) -> str:
        """What a preview prints for a stack with these tables, which must be refused."""
        settings = yaml.safe_load((self.program / "Pulumi.dev.yaml").read_text())
        settings["config"]["hourbank:tables"] = tables
        (self.program / "Pulumi.refused.yaml").write_text(yaml.safe_dump(settings))
        done = self.run("refused", "preview")
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr


def resource(urn: str) -> str:
    _, _, path, name = urn.split("::", 3)
    return f"{path.rpartition('$')[2]} {name}"


def table_name(stack: str, model: str) -> str:
    config = yaml.safe_load((PROJECT / f"Pulumi.{stack}.yaml").read_text())["config"]
    return f"{model}-{config['hourbank:amplifyApiId']}-{config['hourbank:amplifyEnv']}"


def make_table(emulator: Emulator, name: str, *key: str, stream: bool = True) -> None:
    emulator.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": attribute, "KeyType": kind}
            for attribute, kind in zip(key, ("HASH", "RANGE"), strict=False)
        ],
        AttributeDefinitions=[{"AttributeName": attribute, "AttributeType": "S"} for attribute in key],
        **({"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}} if stream else {}),
    )


def edit(path: Path, pattern: str, replacement: str) -> None:
    changed, count = re.subn(pattern, replacement, path.read_text())
    assert count == 1, f"{path} has {count} places that look like {pattern}"
    path.write_text(changed)


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        for stack in ("dev", "staging", "prod"):
            for model, key in KEYS.items():
                make_table(running, table_name(stack, model), key)
        yield running


@pytest.fixture(scope="session")
def engine(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    program, state = tmp_path_factory.mktemp("program"), tmp_path_factory.mktemp("state")
    for folder in ("components", "handlers", "workflows"):
        shutil.copytree(PROJECT / folder, program / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("__main__.py", "pyproject.toml", "uv.lock", *(path.name for path in PROJECT.glob("Pulumi*.yaml"))):
        shutil.copy2(PROJECT / file, program)
    (program / ".venv").symlink_to(sys.prefix)
    engine = Engine(program, state, emulator)
    for stack in ("dev", "staging", "prod", "refused"):
        engine.succeed(stack, "stack", "init")
    return engine


@pytest.fixture(scope="session")
def deployed(engine: Engine) -> Engine:
    """The stack staging, whose machines are protected, is up."""
    engine.succeed("staging", "up", "--yes", "--skip-preview")
    return engine


@pytest.fixture
def workbench(deployed: Engine) -> Iterator[Path]:
    """The program's copy, restored after a test that changes it."""
    kept = {path: path.read_bytes() for path in deployed.program.glob("*/*.py")}
    yield deployed.program
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_preview_of_a_new_stack_only_creates(engine: Engine, stack: str) -> None:
    operations = engine.preview(stack)

    assert set(operations.values()) == {"create"}
    assert {f"{MACHINE} ServiceRequestWorkflow", f"{MACHINE} EscrowManagementWorkflow"} <= operations.keys()


def test_preview_of_a_stack_that_opts_in_creates_what_it_is_for(engine: Engine) -> None:
    settings = yaml.safe_load((engine.program / "Pulumi.dev.yaml").read_text())
    endpoint = "https://zyxwvutsrqponmlkjihgfedcba.appsync-api.us-east-1.amazonaws.com/graphql"
    settings["config"] |= {"hourbank:appsyncEndpoint": endpoint, "hourbank:amplifyAuthRoleName": "authRole"}
    (engine.program / "Pulumi.optedin.yaml").write_text(yaml.safe_dump(settings))
    engine.succeed("optedin", "stack", "init")

    operations = engine.preview("optedin")

    assert set(operations.values()) == {"create"}
    assert {
        "aws:cloudwatch/eventRule:EventRule subscriptions-rule",
        "aws:cloudwatch/eventTarget:EventTarget subscriptions-target",
        "aws:sqs/queuePolicy:QueuePolicy subscriptions-queue-policy",
        "aws:iam/rolePolicy:RolePolicy browserStarts-policy",
    } <= operations.keys()


def test_make_previews_and_deploys_as_ci_does(engine: Engine) -> None:
    shutil.copy2(PROJECT / "Makefile", engine.program)
    outside = {name: value for name, value in engine.environment.items() if not name.startswith("MAKE")}

    def make(*arguments: str) -> str:
        done = subprocess.run(
            ["make", "--silent", *arguments],
            cwd=engine.program,
            env=outside,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ENDLESS_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shown = make("preview", "STACK=dev")
    assert "ServiceRequestWorkflow-dev" in shown
    assert "\x1b" not in shown
    make("deploy", "STACK=dev", "ARGS=--yes --skip-preview")
    assert engine.changes("dev") == {}
    engine.succeed("dev", "destroy", "--yes", "--skip-preview")


def test_up_makes_what_it_says_and_then_there_is_nothing_to_do(deployed: Engine) -> None:
    outputs = json.loads(deployed.succeed("staging", "stack", "output", "--json"))
    states = deployed.emulator.client("stepfunctions")
    functions = deployed.emulator.client("lambda")

    assert states.describe_state_machine(stateMachineArn=outputs["serviceRequestWorkflowArn"])["name"] == (
        "ServiceRequestWorkflow-staging"
    )
    listed = {function["FunctionName"] for function in functions.list_functions()["Functions"]}
    assert listed == set(outputs["functionNames"].values())
    assert deployed.changes("staging") == {}


def test_a_change_of_one_state_changes_its_machine_alone(deployed: Engine, workbench: Path) -> None:
    edit(
        workbench / "workflows" / "service_request.py",
        r'("ValidateRequest": \{\s+"Type": "Task",\s+"Comment": ")',
        r"\1New: ",
    )

    assert deployed.changes("staging") == {f"{MACHINE} ServiceRequestWorkflow": "update"}


def test_a_change_of_one_handler_changes_functions_and_what_calls_their_versions(
    deployed: Engine, workbench: Path
) -> None:
    handler = workbench / "handlers" / "create_escrow.py"
    handler.write_text(handler.read_text() + "\nCHANGED = True\n")

    changes = deployed.changes("staging")

    functions = {name for name in map(resource, deployed.urns("staging")) if name.startswith(FUNCTION)}
    machines = {f"{MACHINE} ServiceRequestWorkflow", f"{MACHINE} EscrowManagementWorkflow"}
    assert changes == dict.fromkeys(functions | machines, "update")


@pytest.mark.parametrize(
    ("key", "stream", "tables", "words"),
    [
        (None, True, "escrow", "does not exist in us-east-1: check hourbank:amplifyApiId"),
        (["pk", "sk"], True, "escrow", r"its key is pk \(S\) and sk \(S\): the workflows need id \(S\) alone"),
        (["id"], True, "userBalance", r"its key is id \(S\): the workflows need userId \(S\) alone"),
        (["id"], False, "serviceRequest", "it has no stream: turn its stream on with NEW_AND_OLD_IMAGES"),
    ],
    ids=["missing", "wrong key", "another model's key", "no stream"],
)
def test_a_table_that_cannot_serve_is_refused_in_one_line(
    engine: Engine, request: pytest.FixtureRequest, key: list[str] | None, stream: bool, tables: str, words: str
) -> None:
    name = re.sub(r"\W", "-", request.node.callspec.id)
    if key:
        make_table(engine.emulator, name, *key, stream=stream)

    printed = engine.refusal({tables: name})

    assert re.search(rf"^ +error: table {name} \(\w+\): {words}.*$", printed, re.MULTILINE), printed
    assert "Traceback" not in printed


def test_destroy_leaves_nothing_but_the_tables(deployed: Engine) -> None:
    assert all(made_by_the_program(deployed.emulator).values())
    protected = deployed.run("staging", "destroy", "--yes", "--skip-preview")
    assert protected.returncode != 0
    assert "protected" in protected.stdout + protected.stderr

    for urn in deployed.urns("staging"):
        if resource(urn).startswith(MACHINE):
            deployed.succeed("staging", "state", "unprotect", urn, "--yes")
    deployed.succeed("staging", "destroy", "--yes", "--skip-preview")

    assert deployed.urns("staging") == []
    assert not any(made_by_the_program(deployed.emulator).values())
    tables = set(deployed.emulator.client("dynamodb").list_tables()["TableNames"])
    assert {table_name("staging", model) for model in KEYS} <= tables


def made_by_the_program(emulator: Emulator) -> dict[str, list]:
    """All that the emulator has of the kinds that the program makes."""
    client = emulator.client
    return {
        "functions": client("lambda").list_functions()["Functions"],
        "mappings": client("lambda").list_event_source_mappings()["EventSourceMappings"],
        "machines": client("stepfunctions").list_state_machines()["stateMachines"],
        "roles": client("iam").list_roles()["Roles"],
        "log groups": client("logs").describe_log_groups()["logGroups"],
        "alarms": client("cloudwatch").describe_alarms()["MetricAlarms"],
        "queues": client("sqs").list_queues().get("QueueUrls", []),
        "buses": [bus for bus in client("events").list_event_buses()["EventBuses"] if bus["Name"] != "default"],
    }


def test_the_page_leads_to_a_deployed_stack(engine: Engine, tmp_path: Path) -> None:
    # Given a clone in which nothing was ever deployed, and what a reader knows of their backend
    page = (PROJECT / "docs" / "deploy" / "pulumi.md").read_text()
    known = {"YOUR_REGION": "us-east-1", "YOUR_API_ID": "abcdefghijklmnopqrstuvwxyz"}
    reader = Engine(engine.program, tmp_path, engine.emulator)
    # When they type the page's commands
    commands = re.findall(r"^    pulumi (.+?)(?: {2,}#.*)?$", page, re.MULTILINE)
    typed = []
    for command in commands:
        words = shlex.split(re.sub(r'"\$\(date [^)]*\)"', "2026-01-01T00:00:00Z", command))
        if words[0] in ("login", "install"):
            continue
        words = [known.get(word, word) for word in words if (words[:2], word) != (["stack", "init"], "dev")]
        reader.succeed("dev", *words, *(["--yes", "--skip-preview"] if words == ["up"] else []))
        typed.append(words[0])
    # Then the stack is there
    assert typed == ["stack", "config", "config", "config", "config", "preview", "up"]
    assert len(reader.urns("dev")) > 100
    reader.succeed("dev", "destroy", "--yes", "--skip-preview")
