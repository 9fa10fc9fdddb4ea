"""The real Pulumi CLI, which PULUMI_ENGINE names, on a copy of the program and against the emulator."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.models import MODELS
from hourbank.local.emulator import Emulator
from hourbank.names import ROOT
from tests.helpers.waiting import ENDLESS_SECONDS

MACHINE = "aws:sfn/stateMachine:StateMachine"
FUNCTION = "aws:lambda/function:Function"
KEYS = {model.name: model.hash_key for model in MODELS.values()}


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
    config = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
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
