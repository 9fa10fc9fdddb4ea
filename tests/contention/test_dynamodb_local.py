"""What a machine without Java or Maven is told, and what is left of the engine when the tests are killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import dynamodb_local
from tests.helpers.dynamodb_local import DynamoDBLocal, MissingEngineError
from tests.helpers.processes import assert_group_gone, group_members
from tests.helpers.waiting import ENDLESS_SECONDS

PARENT = """
from tests.helpers.dynamodb_local import DynamoDBLocal
with DynamoDBLocal() as engine:
    print(engine._process.pid, flush=True)
    input()
"""


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ({}, "DynamoDB Local needs Java 17 or newer: no java on the PATH"),
        ({"java": "exit 1"}, "DynamoDB Local needs Java 17 or newer: no java on the PATH"),
        ({"java": "echo 'openjdk version \"11.0.2\"' >&2"}, 'or newer, but java is openjdk version "11.0.2"'),
        ({"java": "echo 'openjdk version \"21\"' >&2"}, "DynamoDB Local is fetched with Maven: no mvn on the PATH"),
        (
            {"java": "echo 'openjdk version \"17.0.1\"' >&2", "mvn": "echo '[ERROR] no route to host'; exit 1"},
            "Maven cannot fetch DynamoDB Local: no route to host",
        ),
    ],
)
def test_what_is_missing_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, programs: dict[str, str], message: str
) -> None:
    for name, script in programs.items():
        program(tmp_path, name, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(dynamodb_local, "CACHE", tmp_path / "cache")

    with pytest.raises(MissingEngineError) as refusal:
        DynamoDBLocal().__enter__()

    assert message in str(refusal.value) and "\n" not in str(refusal.value)
    assert not list((tmp_path / "cache").glob("*")), "nothing half-fetched is left"


@pytest.mark.thorough
@pytest.mark.xdist_group("end-to-end")  # where the engine is fetched, so that only one process does it
def test_no_process_is_left_when_the_tests_are_killed() -> None:
    try:
        dynamodb_local.require_java()
        dynamodb_local.fetch()
    except MissingEngineError as missing:
        pytest.skip(str(missing))
    # Given a program with an engine
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=dynamodb_local.PROJECT
    ) as parent:
        assert parent.stdout
        group = int(parent.stdout.readline())
        assert any("ServerRunner" in command for command in group_members(group))
        # When the program is killed
        parent.send_signal(signal.SIGKILL)
        parent.wait(ENDLESS_SECONDS)
    # Then nothing of the engine is left
    assert_group_gone(group)
