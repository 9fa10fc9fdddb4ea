"""The tutorial about a reminder, followed in a copy of the project: the program recorded, and the function called.

Write one here when the page does something more.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hourbank.names import ROOT
from tests.helpers.pages import blocks

PAGE = ROOT / "docs" / "app" / "remind-a-provider.md"
COPIED = ("__main__.py", "pyproject.toml", "components", "handlers", "hourbank", "workflows", "frontend/package.json")

RECORDED = """
import json
from hourbank.program.cloudformation import template
from hourbank.program.recorder import record
before = {one.name for one in record("dev").resources if not one.name.startswith("remindProvider")}
program = record("dev")
made = template(program, bucket="b", key="k")["Resources"]
print(json.dumps({
    "added": sorted({one.name for one in program.resources} - before),
    "definition": made["RemindProviderMachine"]["Properties"]["Definition"],
    "pattern": made["RemindProviderRule"]["Properties"]["EventPattern"],
}))
"""
CALLED = """
import json, os, time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
import boto3
from handlers import remind_provider
from handlers.bank import events
from handlers.texts import mail
from hourbank.simulate.tables import Tables, answering
os.environ |= {"SERVICE_REQUEST_TABLE_NAME": "SR", "PROVIDER_RESPONSE_TIMEOUT_SECONDS": "1000",
               "MINIMUM_RESPONSE_TIMEOUT_SECONDS": "60", "EVENT_BUS_NAME": "bus"}
told = []
events.client = lambda _: SimpleNamespace(put_events=lambda Entries: told.append(Entries) or {"FailedEntryCount": 0})
context = SimpleNamespace(function_name="f", memory_limit_in_mb=1, invoked_function_arn="a", aws_request_id="1")
left = {}
with answering(Tables({"SR": "id"})):
    def look(what, asked_ago, **more):
        asked = datetime.now(UTC) - timedelta(seconds=asked_ago)
        item = {"id": "r1", "providerId": "ben", "status": "AWAITING_PROVIDER", "askedAt": asked.isoformat()} | more
        boto3.client("dynamodb").put_item(TableName="SR", Item={k: {"S": v} for k, v in item.items()})
        left[what] = remind_provider.handler({"requestId": "r1"}, context)["seconds"]
    begun = time.monotonic()
    look("just asked", 0)
    assert 799 - (time.monotonic() - begun) <= left.pop("just asked") <= 800, left
    look("answered", 900, providerResponse="ACCEPTED")
    look("ended", 900, status="TIMED_OUT")
    assert not told, told
    look("late", 801)
    left["gone"] = remind_provider.handler({"requestId": "r2"}, context)["seconds"]
details = [json.loads(entry["Detail"]) for entries in told for entry in entries]
text = mail(told[0][0]["DetailType"], details[0]["role"], details[0]["status"], "en")
print(json.dumps({"left": left, "told": details, "subject": text.subject}))
"""


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    for name in (*COPIED, *(path.name for path in ROOT.glob("Pulumi*.yaml"))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    for block in blocks(PAGE.read_text(encoding="utf-8")):
        if block.kind == "diff":
            subprocess.run(["git", "apply", "-"], input=block.text, text=True, cwd=folder, check=True)
        else:
            (folder / block.file).write_text(block.text, encoding="utf-8")
    return folder


def said(folder: Path, program: str) -> dict:
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_the_program_is_recorded_with_what_reminds(followed: Path) -> None:
    program = said(followed, RECORDED)
    assert "remindProvider-machine" in program["added"]
    assert program["pattern"] == {"source": ["hourbank.workflows"], "detail-type": ["ProviderAsked"]}
    states = program["definition"]["States"]
    assert (states["Wait"]["Next"], states["IsItTime"]["Default"]) == ("Look", "Done")


def test_a_provider_is_reminded_once_and_only_where_nothing_was_said(followed: Path) -> None:
    called = said(followed, CALLED)
    assert called["left"] == dict.fromkeys(("answered", "ended", "late", "gone"), 0)
    (told,) = called["told"]
    assert told == {
        "requestId": "r1", "userId": "ben", "role": "provider", "status": "REMINDED", "eventId": "r1#REMINDED#provider",
    }  # fmt: skip
    assert called["subject"] == "A request still waits for your answer"


def test_what_the_page_writes_is_formatted_as_all_is(followed: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    files = ["components/reminders.py", "handlers/remind_provider.py", "handlers/bank/events.py", "__main__.py"]
    for command in (["check", "-q"], ["format", "--check", "-q"]):
        done = subprocess.run([ruff, *command, *files], cwd=followed, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
