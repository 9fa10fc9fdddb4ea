"""The program under the real Pulumi CLI that PULUMI_ENGINE names, against the emulator: `make test-engine`.

Write a test here for what only the engine decides: what a preview shows, what a change touches, what is protected, and
what a user sees when the program refuses. Everything else is asserted on a recording.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hourbank.local.emulator import Emulator
from hourbank.names import ROOT
from tests.helpers.engine import FUNCTION, KEYS, MACHINE, Engine, made_by_the_program, make_table, resource, table_name
from tests.helpers.waiting import ENDLESS_SECONDS

pytestmark = pytest.mark.engine


def edit(path: Path, pattern: str, replacement: str) -> None:
    changed, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"))
    assert count == 1, f"{path} has {count} places that look like {pattern}"
    path.write_text(changed, encoding="utf-8")


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
        shutil.copytree(ROOT / folder, program / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("__main__.py", "pyproject.toml", "uv.lock", *(path.name for path in ROOT.glob("Pulumi*.yaml"))):
        shutil.copy2(ROOT / file, program)
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
    settings["config"] |= {"hourbank:notifyFrom": "hours@example.com", "hourbank:userPoolId": "us-east-1_AbCdEfGhI"}
    (engine.program / "Pulumi.optedin.yaml").write_text(yaml.safe_dump(settings))
    engine.succeed("optedin", "stack", "init")

    operations = engine.preview("optedin")

    assert set(operations.values()) == {"create"}
    assert {
        "aws:cloudwatch/eventRule:EventRule subscriptions-rule",
        "aws:cloudwatch/eventTarget:EventTarget subscriptions-target",
        "aws:sqs/queuePolicy:QueuePolicy subscriptions-queue-policy",
        "aws:iam/rolePolicy:RolePolicy browserStarts-policy",
        "aws:dynamodb/table:Table sendNotification-mailed",
    } <= operations.keys()


def test_make_previews_and_deploys_as_ci_does(engine: Engine) -> None:
    shutil.copy2(ROOT / "Makefile", engine.program)
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


def test_the_page_leads_to_a_deployed_stack(engine: Engine, tmp_path: Path) -> None:
    # Given a clone in which nothing was ever deployed, and what a reader knows of their backend
    page = (ROOT / "docs" / "deploy" / "pulumi.md").read_text()
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
