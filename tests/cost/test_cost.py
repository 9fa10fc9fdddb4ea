"""What a request costs: paths through the definitions, prices, and the metered run."""

import io
import json
import re
import signal
import subprocess

import pytest
from rich.console import Console

from hourbank.cost import paths, prices, report
from hourbank.cost.measure import Functions, Measurement, Played, Usage
from hourbank.errors import HourBankError
from hourbank.local.meter import read_units, size_of, units_read
from hourbank.names import ROOT
from hourbank.program import recorder
from hourbank.simulate.program import definition_of
from hourbank.stories.stories import DEMO, STORIES, Story
from tests.helpers.processes import HOURBANK, assert_gone, descendants, read_until
from tests.helpers.waiting import ENDLESS_SECONDS
from workflows import WORKFLOWS, escrow_management, service_request

REQUESTS, RELEASES = definition_of(service_request), definition_of(escrow_management)
BY_NAME = {story.outcome: story for story in STORIES}
COST = [*HOURBANK, "cost"]


def states_of(story: Story) -> list[str]:
    release = [] if story.release_ways is None else paths.walk(RELEASES, story.release_ways)
    return paths.walk(REQUESTS, story.request_ways) + release


# --- paths ------------------------------------------------------------------------------------------------------------


def test_a_path_is_the_states_that_its_decisions_lead_through():
    yes = {"Variable": "$.answer", "StringEquals": "YES", "Next": "Pay"}
    states = {
        "Ask": {"Type": "Task", "Catch": [{"ErrorEquals": ["Busy"], "Next": "Refuse"}], "Next": "Answer"},
        "Answer": {"Type": "Choice", "Choices": [yes], "Default": "Refuse"},
        "Pay": {"Type": "Task", "End": True},
        "Refuse": {"Type": "Pass", "End": True},
    }
    definition = {"StartAt": "Ask", "States": states}
    assert paths.walk(definition, {}) == ["Ask", "Answer", "Refuse"]
    assert paths.walk(definition, {"Answer": "YES"}) == ["Ask", "Answer", "Pay"]
    assert paths.walk(definition, {"Ask": "Busy"}) == ["Ask", "Refuse"]
    assert paths.calls(definition, ["Ask", "Answer", "Pay"]) == 2


@pytest.mark.parametrize(
    ("ways", "says"),
    [
        ({"CheckProviderResponse": "PERHAPS"}, "CheckProviderResponse has no PERHAPS"),
        ({"EscrowHours": "States.Timeout"}, "EscrowHours has no States.Timeout"),
        ({"AdjustEscrow": "NotOwner"}, "does not come to AdjustEscrow"),
    ],
)
def test_a_way_that_is_not_there_is_named(ways, says):
    with pytest.raises(paths.NoSuchWayError, match=says):
        paths.walk(REQUESTS, ways)


def test_a_circle_and_a_hole_in_a_definition_are_named():
    circle = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "A"}}}
    with pytest.raises(paths.NoSuchWayError, match="comes to A again"):
        paths.walk(circle, {})
    with pytest.raises(paths.NoSuchWayError, match="there is no B"):
        paths.walk({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}, {})


def test_a_story_must_pass_states_of_its_path():
    assert len(BY_NAME) == len(STORIES)
    assert set(DEMO) <= set(STORIES)
    for story in STORIES:
        passed = iter(states_of(story))
        assert [state for state in story.states if state not in passed] == [], story.title


# --- units and prices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({}, 0),
        ({"id": {"S": "äb"}}, 2 + 3),
        ({"n": {"N": "2.5"}}, 1 + 2),
        ({"n": {"N": "-1000"}}, 1 + 2),
        ({"n": {"N": "0"}}, 1 + 1),
        ({"x": {"NULL": True}, "y": {"BOOL": False}}, 4),
    ],
)
def test_sizes_follow_dynamodbs_rule(item, size):
    assert size_of(item) == size


def test_reads_are_counted_by_aws_s_rule():
    small, large = {"id": {"S": "x" * 4094}}, {"id": {"S": "x" * 4095}}
    assert read_units([small, large, {}]) == 1 + 2 + 1
    assert units_read("GetItem", {"ConsistentRead": True}, {"Item": large}) == 2
    assert units_read("GetItem", {}, {"Item": large}) == 1
    assert units_read("GetItem", {"ConsistentRead": True}, {}) == 1
    assert units_read("Scan", {"ConsistentRead": True}, {"Items": [small, small, small]}) == 3
    assert units_read("TransactGetItems", {}, {"Responses": [{"Item": large}, {}]}) == 2 * (2 + 1)
    asked = {"RequestItems": {"T": {"Keys": [1, 2, 3, 4], "ConsistentRead": True}}}
    given = {"Responses": {"T": [large]}, "UnprocessedKeys": {"T": {"Keys": [4]}}}
    assert units_read("BatchGetItem", asked, given) == 2 + 1 + 1
    assert units_read("PutItem", {}, {}) is None


USAGE = Usage(
    transitions=8,
    invocations=10,
    milliseconds=200,
    gb_seconds=0.1,
    cold_gb_seconds=0.9,
    read=40,
    write=16,
    events=3,
    traces=5,
    log_bytes=20_000,
)


def test_a_price_is_the_sum_of_what_is_used():
    parts = report.parts(USAGE)
    assert parts == pytest.approx(
        {
            "transitions": 0.0002,
            "invocations": 0.000002,
            "time": 0.00000133334,
            "reads": 0.000005,
            "writes": 0.00001,
            "events": 0.000003,
            "traces": 0.000025,
            "logs": 0.00001,
        }
    )
    slower, cold = report.parts(USAGE, slower=3), report.parts(USAGE, cold=True)
    assert slower["time"] == pytest.approx(3 * parts["time"])
    assert cold["time"] == pytest.approx(10 * parts["time"])
    assert {**slower, "time": 0} == {**cold, "time": 0} == {**parts, "time": 0}


def test_every_price_says_where_it_is_from_and_when_it_was_compared():
    assert {id(price) for price in vars(prices).values() if isinstance(price, prices.Price)} == set(
        map(id, prices.TABLE)
    )
    for price in prices.TABLE:
        assert price.page.startswith("https://aws.amazon.com/")
        assert re.fullmatch(r"20\d\d-[01]\d", price.compared)
    assert prices.GB_SECOND.words.startswith("$0.0000133334 per GB-second")
    assert prices.EVENT.words == "$1 per 1,000,000 custom events"


@pytest.fixture(scope="module")
def made():
    """A report of made-up usage."""
    idle = Usage(**{**vars(USAGE), "transitions": 0, "read": 2, "gb_seconds": 0.05})
    measurement = Measurement(
        stories={story: Played(states={"ServiceRequestWorkflow": ["A"]}, usage=USAGE) for story in STORIES},
        idle_audit=idle,
        idle_week=idle,
        audit=Usage(**{**vars(idle), "read": 1202, "gb_seconds": 0.25}),
        records=200,
        audit_metrics=6,
        metrics=14,
        record_bytes=1000,
    )
    return report.report(measurement, recorder.record("dev"))


def test_an_idle_month_is_alarms_metrics_and_the_auditor(made):
    by_what = {part.what.split()[0]: part for part in made.idle}
    assert by_what["alarms"].dollars == pytest.approx(0.10 * int(by_what["alarms"].count))
    assert by_what["metrics"].dollars == pytest.approx(6 * 0.30)
    assert 0 < by_what["the"].dollars < 0.10
    assert by_what["state"].dollars == 0


def test_records_cost_what_the_auditor_reads_of_them(made):
    reads, seconds, stored = made.records
    weeks = 730 / 168
    assert (reads.count, reads.dollars) == ("6,000 units a week", pytest.approx(6000 * weeks * 0.125e-6))
    assert seconds.dollars == pytest.approx(1 * weeks * 0.0000133334)
    assert stored.dollars == pytest.approx(0.001 * 0.25)


@pytest.mark.parametrize("width", [80, 200])
def test_the_report_says_every_path_and_fits(made, width):
    file = io.StringIO()
    report.print_report(Console(file=file, width=width, color_system=None), made)
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    words = " ".join(text.split())
    for name in BY_NAME:
        assert name.split()[0] in text
    assert "declined 8 10 200" in words, "made up here"
    assert "512 MB" in words
    assert "Nothing of this was measured on AWS." in words


# --- the metered run --------------------------------------------------------------------------------------------------


def test_a_function_that_always_starts_a_process_has_no_time_of_its_own():
    line = {"function": "f", "milliseconds": 3.2, "initialisation": 100.0}
    with pytest.raises(HourBankError, match="f had a new process for each call"):
        Functions([line, line])
    warm = [{"function": "f", "milliseconds": value} for value in (5.1, 4.2, 90.0)]
    functions = Functions([line, *warm])
    assert (functions.warm, functions.cold) == ({"f": 6}, {"f": 98})


@pytest.mark.thorough
@pytest.mark.xdist_group("processes")
class TestMeasured:
    """With an emulator."""

    def test_every_path_is_played_and_priced(self):
        ended = subprocess.run([*COST, "--json"], capture_output=True, text=True, check=False, timeout=ENDLESS_SECONDS)
        assert ended.returncode == 0, ended.stderr
        made = json.loads(ended.stdout)
        measured = {path["name"]: path for path in made["paths"]}
        assert list(measured) == list(BY_NAME)
        for name, path in measured.items():
            assert [state for states in path["states"].values() for state in states] == states_of(BY_NAME[name])
            usage = path["usage"]
            assert usage["transitions"] == len(states_of(BY_NAME[name]))
            assert path["dollars"]["all"] < path["dollarsWhenCold"]
            called = sum(
                paths.calls(asl, path["states"].get(machine, []))
                for machine, asl in zip(WORKFLOWS, (REQUESTS, RELEASES), strict=True)
            )
            # the stream's reader starts each execution, and delivers each answer
            assert usage["invocations"] == called + 1 + len(BY_NAME[name].turns)
        # balance, escrow, log and request of a hold, twice each: 8; claimed 1; asked, with a token of 2 KB: 3
        accepted, declined, invalid = (
            measured[name]["usage"] for name in ("accepted and released", "declined", "invalid")
        )
        # the indexes: a request leaves its own once; an escrow enters its own, and moves there between two statuses
        left, held, moved = 1, 1, 2
        assert invalid["write"] == 1 + 2 + 2 + left
        assert declined["write"] == 1 + 8 + 3 + (2 + 2 + 2 + 2 * 3) + held + moved + left
        assert accepted["write"] == 1 + 8 + 3 + 3 + 8 + held + moved + left
        assert accepted["read"] > declined["read"] > invalid["read"] > 0
        assert (accepted["events"], declined["events"], invalid["events"]) == (5, 3, 1)
        assert made["memory"] == [512]
        assert made["idleMonth"][0]["count"] == "32"
        page = (ROOT / "docs" / "why" / "cost.md").read_text(encoding="utf-8")
        for name, path in measured.items():
            usage = path["usage"]
            figures = (usage["transitions"], usage["invocations"], usage["read"], usage["write"])
            row = " | ".join(f"{figure:g}" if isinstance(figure, float) else str(figure) for figure in figures)
            assert f"| {name} | {row} | {usage['events']} | $" in page
        # the auditor's runs are priced by this machine's milliseconds
        idle = sum(part["dollars"] for part in made["idleMonth"] if not part["count"].endswith("runs"))
        assert f"costs ${idle:.2f}: " in " ".join(page.split())
        assert "taskToken" not in ended.stdout + ended.stderr
        for what in ("metered", "auditor"):
            assert what in ended.stderr

    def test_one_that_is_interrupted_leaves_nothing(self):
        with subprocess.Popen(COST, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
            read_until(running, "deployed to it")
            everything = descendants(running.pid)
            assert everything
            running.send_signal(signal.SIGINT)
            assert running.stdout.read().endswith("interrupted; nothing is left running\n")
            assert running.wait(ENDLESS_SECONDS) == 128 + signal.SIGINT
        assert_gone(everything)
