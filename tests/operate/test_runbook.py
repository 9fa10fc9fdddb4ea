"""The runbook has a section for each alarm, each alarm names its section, and every command in the pages exists."""

import re
import shlex

import boto3
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from components.alarms import RUNBOOK
from hourbank.cli import app
from hourbank.names import ROOT
from hourbank.program.recorder import Recording
from tests.helpers.recordings import recorded

PAGE = (ROOT / RUNBOOK).read_text(encoding="utf-8")
PAGES = (RUNBOOK, "docs/operate/commands.md", "docs/operate/uninstall.md")
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def anchor(heading: str) -> str:
    """Return what GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sections() -> dict[str, str]:
    """Each section's text by its anchor."""
    _, *parts = HEADING.split(PAGE)
    return {anchor(heading): text for heading, text in zip(parts[::2], parts[1::2], strict=True)}


MAILS = {"hourbank:notifyFrom": "hours@example.com", "hourbank:userPoolId": "us-east-1_AbCdEfGhI"}


@pytest.fixture(scope="module")
def recording() -> Recording:
    endpoint = "https://zyxwvutsrqponmlkjihgfedcba.appsync-api.us-east-1.amazonaws.com/graphql"
    return recorded("dev", {"hourbank:appsyncEndpoint": endpoint} | MAILS)


def test_each_alarm_has_its_section_and_no_section_is_without_one(recording: Recording) -> None:
    named: dict[str, set[str]] = {}
    for alarm in recording.of_type("MetricAlarm"):
        words, page, section = re.fullmatch(
            r"(.+\.) What to do: (\S+)#(\S+)", alarm.inputs["alarmDescription"]
        ).groups()
        assert page == RUNBOOK
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
        assert len(words) < 1024
        named.setdefault(section, set()).add(alarm.inputs["name"])
    assert set(named) == set(sections())
    functions = {function.inputs["name"].split("-")[1] for function in recording.of_type("Function")}
    for section, alarms in named.items():
        listed = re.findall(r"`(hourbank-[A-Za-z-]+-ENV)`", sections()[section].split("**Means.**")[0])
        expanded = {
            name.replace("FUNCTION", function).replace("ENV", "dev")
            for name in listed
            for function in (functions if "FUNCTION" in name else {""})
        }
        assert expanded == alarms, section


def test_each_section_says_what_it_means_where_to_look_what_helps_and_when_to_worry() -> None:
    for section, text in sections().items():
        said = re.findall(r"^\*\*(Means|Look at|Helps|Worry)\b", text, re.MULTILINE)
        assert said == ["Means", "Look at", "Helps", "Worry"], section


def test_links_within_the_page_lead_to_sections() -> None:
    for target in re.findall(r"\]\(#([^)]+)\)", PAGE.replace("\n", " ")):
        assert target in sections(), target


def commands(program: str) -> list[tuple[str, str]]:
    """Every line of a page's blocks, and every quotation, that calls a program."""
    found = []
    for page in PAGES:
        text = re.sub(r" \\\n\s+", " ", (ROOT / page).read_text(encoding="utf-8"))
        calls = re.findall(rf"^ {{4,}}({program} .+)$", text, re.MULTILINE)
        calls += re.findall(rf"`({program} [^`]+ [^`]+)`", text.replace("\n", " "))
        found += [(page, call) for call in calls]
    return found


def test_every_command_of_ours_is_one() -> None:
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    calls = commands("hourbank")
    assert {call.split()[1] for _, call in calls} >= {"audit", "stuck", "show", "redrive", "settle", "doctor"}
    for page, call in calls:
        _, name, *arguments = shlex.split(call, comments=True)
        # parsed as the command line would be, and not run
        assert name in root.commands, f"{page}: {call}"
        try:
            root.commands[name].make_context(name, arguments)
        except Exception as error:  # noqa: BLE001 typer's own kind of click's errors
            pytest.fail(f"{page}: {call}: {error}")


def test_every_command_of_aws_is_one() -> None:
    calls = commands("aws")
    assert len(calls) > 5
    for page, call in calls:
        _, service, operation, *_ = shlex.split(call, comments=True)
        if (service, operation) == ("logs", "tail"):
            continue  # the AWS CLI's own, over filter-log-events
        client = boto3.client(service, region_name="us-east-1")
        assert hasattr(client, operation.replace("-", "_")), f"{page}: {call}"
