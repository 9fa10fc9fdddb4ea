"""What a request costs: paths through the definitions, prices, and the metered run."""

import io
import json
import re
import signal
import subprocess

import pytest
from rich.console import Console
from typer.testing import CliRunner

from hourbank.cli import app
from hourbank.cost import month, paths, prices, quotas, recorded, report
from hourbank.cost.measure import Functions, Measurement, Played, Usage
from hourbank.errors import HourBankError
from hourbank.local.processes.meter import read_units, size_of, units_read
from hourbank.names import ROOT
from hourbank.simulate.program import definition_of
from hourbank.stories.stories import DEMO, STORIES, Story
from tests.helpers.processes import HOURBANK, assert_gone, descendants, read_until
from tests.helpers.recordings import recorded as recording_of
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
    printed_bytes=5_000,
    lambda_bytes=3_000,
    machine_bytes=12_000,
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
    return report.report(measurement, recording_of("dev"))


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


# --- a month's bill ---------------------------------------------------------------------------------------------------

SCALE = (ROOT / "docs" / "why" / "scale.md").read_text(encoding="utf-8")


def bill_of(made, requests=3_000_000, waiting_days=10):
    return month.month(made.measurement, recording_of("dev"), requests, waiting_days)


def test_the_mix_is_of_a_hundred_requests_and_has_every_story():
    assert sum(month.MIX.values()) == 100
    assert set(month.MIX) == set(STORIES)


def test_a_months_bill_is_what_its_requests_use_and_what_stands_there(made):
    bill = bill_of(made)
    dollars = {part.what: part.dollars for part in bill.parts}
    assert dollars == pytest.approx(
        {
            "transitions": 3e6 * 0.0002,
            "functions": 3e6 * (0.000002 + 0.00000133334),
            "DynamoDB requests": 3e6 * 0.000015,
            # a million that wait, and a year's
            "DynamoDB storage": 37e6 * 1000 / 1e9 * 0.25,
            "stream, read by Lambda": 0,
            "EventBridge": 3e6 * 0.000003,
            "logs": 3e6 * 0.00001,
            "alarms, dashboard": sum(part.dollars for part in made.idle[:2]),
            "metrics": 14 * 0.30,
            "auditor": dollars["auditor"],
            "traces": 3e6 * 0.000025,
            "mails": 3e6 * 3 * 0.0001,
        }
    )
    # six units for each of a million that wait, each hour; and for a year's, each week
    looks = 1e6 * 730 + 36e6 * 730 / 168
    memory = 0.05 / 0.2
    each = 6 * 0.125e-6 + month.LOOK_SECONDS * memory * 0.0000133334
    assert dollars["auditor"] == pytest.approx(looks * each, rel=0.001)
    assert bill.open == 1_000_000
    assert bill.dollars == pytest.approx(sum(dollars.values()) - dollars["traces"] - dollars["mails"])
    # three million a month more each month, for a year
    assert bill.dollars_a_year == pytest.approx(36e6 * (730 / 168 * each + 0.00000025))


def test_what_waits_longer_costs_the_auditor_and_counts_as_open(made):
    short, long = bill_of(made, waiting_days=1), bill_of(made, waiting_days=10)
    assert (short.open, long.open) == (100_000, 1_000_000)
    changed = {a.what for a, b in zip(short.parts, long.parts, strict=True) if a.dollars != b.dollars}
    assert changed == {"auditor", "DynamoDB storage"}


def test_a_quota_is_used_by_what_there_is_at_once_and_in_the_busiest_second(made):
    bill = bill_of(made)
    used = {limit.quota.what: limit for part in bill.parts for limit in part.limits}
    a_second = 10 * 3e6 / (30 * 86400)
    assert used[quotas.OPEN_EXECUTIONS.what].share() == pytest.approx(1)
    assert used[quotas.STATE_TRANSITIONS.what].used == pytest.approx(8 * a_second)
    assert used[quotas.CALLS.what].used == pytest.approx(0.2 * a_second)
    assert used[quotas.STARTS.what].share(elsewhere=True) == pytest.approx(a_second / 150)
    # of 100 requests 97 wait for the provider, 8 of these in vain, and 7 then for the requester
    assert used[quotas.ANSWERS.what].used == pytest.approx(0.96 * a_second)
    assert used[quotas.RUN_SECONDS.what].used == pytest.approx((1e6 + 36e6 / 168) * month.LOOK_SECONDS)
    assert bill.met_at(used[quotas.OPEN_EXECUTIONS.what]) == pytest.approx(3e6)
    assert bill.met_at(used[quotas.STARTS.what], elsewhere=True) == pytest.approx(3e6 * 150 / a_second)
    first = next(part for part in bill.parts if part.what == "transitions").first
    assert first.quota is quotas.OPEN_EXECUTIONS


def test_every_quota_says_where_it_is_from_and_how_it_is_raised():
    every = [quota for quota in vars(quotas).values() if isinstance(quota, quotas.Quota)]
    assert {id(quota) for quota in every} == set(map(id, quotas.ALL))
    codes = [quota.code for quota in every if quota.code]
    assert len(codes) == len(set(codes))
    for quota in every:
        assert quota.page.startswith("https://docs.aws.amazon.com/")
        assert re.fullmatch(r"20\d\d-[01]\d", quota.compared)
        assert quota.elsewhere <= quota.value
        assert quota.remedy or quota.code, quota.what
        assert quota.code is None or re.fullmatch(r"L-[0-9A-F]{8}", quota.code[1])
    assert quotas.STARTS.increase(600) == (
        "aws service-quotas request-service-quota-increase --service-code states --quota-code L-1B55A735 "
        "--desired-value 600"
    )


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [(7, 7, "7"), (1234, 1300, "1,200"), (4_285_714, 4_300_000, "4.2 M"), (1.45e9, 1.5e9, "1,400 M")],
)
def test_numbers_are_rounded_to_the_safe_side(value, up, down):
    assert month.rounded(value) == up
    assert month.requests_in_words(value) == down


def test_the_page_has_what_the_command_says_of_four_sizes():
    shown = SCALE.partition("<!-- printed by make docs -->\n")[2].partition("<!-- end -->")[0]
    assert shown == month.markdown() + "\n", "docs/why/scale.md is out of date: run `make docs`"


def test_the_page_says_what_a_look_of_the_auditor_takes():
    """A third of a processor, and 10 ms a call, over what `make bench ARGS=--scale` printed."""
    runs = re.findall(r"^\| .+ ended \| ([\d,]+) \| [\d,]+ \| (.+?) \| ([\d.]+) s \|", SCALE, re.MULTILINE)
    assert runs
    for requests, calls, seconds in runs:
        asked = sum(int(count.replace(",", "")) for count in re.findall(r"([\d,]+) [A-Z]", calls))
        look = (3 * float(seconds) + 0.01 * asked) / int(requests.replace(",", ""))
        assert 0.5 < look / month.LOOK_SECONDS < 2


def test_the_page_says_what_would_make_a_request_cheaper():
    usage = recorded.read().stories[BY_NAME["accepted and released"]].usage
    gigabyte, transition = prices.LOG_GB.each / 1e9, prices.TRANSITION.each
    express = (1.00 / 1e6 + 0.5 * 64 / 1024 * 0.0000166667) * 1000
    saves = {
        "traces of X-Ray": 1000 * usage.traces * prices.TRACE.each,
        "`CheckDecision`": 1000 * transition,
        "`TimedOut`": 1000 * transition,
        "the release as an Express": 1000 * 3 * transition - express,
        "the first two states": 1000 * 1 * transition - express,
        "the machines' logs": 1000 * usage.machine_bytes * gigabyte,
        "the same in the class": 1000 * usage.machine_bytes * gigabyte / 2,
        "Lambda's START": 1000 * usage.lambda_bytes * gigabyte,
        "fewer lines": 1000 * usage.printed_bytes * gigabyte,
        "shorter": 1000 * usage.log_bytes * gigabyte * 0.06,
        "less memory": 1000 * usage.gb_seconds / 2 * prices.GB_SECOND.each,
    }
    told = dict(re.findall(r"^\| (.+?) \| \$(0\.\d{4})", SCALE.partition("## Cheaper")[2], re.MULTILINE))
    for begins, dollars in saves.items():
        (found,) = (float(value) for what, value in told.items() if what.startswith(begins))
        assert found == pytest.approx(dollars, abs=0.0002), begins


@pytest.mark.parametrize("width", [80, 200])
def test_a_month_fits_and_says_what_it_takes_for_granted(width):
    file = io.StringIO()
    month.print_month(Console(file=file, width=width, color_system=None), 5_000_000, 7, as_json=False)
    text = file.getvalue()
    # a command is a line of its own, to be copied
    lines = [line for line in text.splitlines() if not line.startswith("    ")]
    assert max(map(len, lines)) <= width
    assert "…" not in text
    words = " ".join(text.split())
    assert "Of 100 requests: 70 accepted and released, 8 declined" in words
    assert "With 5,000,000 a month 1,166,667 are open at once" in words
    assert (
        "\n    aws service-quotas request-service-quota-increase --service-code states --quota-code L-B8A5B662 "
        "--desired-value 2400000\n"
    ) in text
    assert "With tracing, traces: $112 more" in words
    assert "Nothing of this was measured on AWS." in words


@pytest.mark.thorough
def test_the_command_prints_a_month_for_programs_too():
    def printed(days):
        ended = CliRunner().invoke(app, ["cost", "--requests-per-month", "1000000", "--waiting-days", days, "--json"])
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    made = printed("0.5")
    assert (made["requestsPerMonth"], made["waitingDays"], made["open"]) == (1_000_000, 0.5, 16_667)
    assert made["dollars"] == pytest.approx(sum(part["dollars"] for part in made["parts"] if not part["option"]))
    (opened,) = (limit for part in made["parts"] for limit in part["limits"] if limit["code"] == "states/L-B8A5B662")
    assert opened["metAt"] == pytest.approx(60e6)
    assert [limit["metAt"] for part in printed("0")["parts"] for limit in part["limits"]].count(None) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--waiting-days", "3"], "give --requests-per-month"),
        (["--requests-per-month", "0"], "Input should be greater than or equal to 1"),
        (["--requests-per-month", "1000", "--waiting-days", "-1"], "Input should be greater than or equal to 0"),
        (["--requests-per-month", "1000", "--waiting-days", "nan"], "Input should be"),
    ],
)
def test_a_month_that_makes_no_sense_is_refused(arguments, says):
    ended = CliRunner().invoke(app, ["cost", *arguments], env={"COLUMNS": "200"})
    assert ended.exit_code == 2
    assert says in " ".join(ended.output.split())


# --- the metered run --------------------------------------------------------------------------------------------------


def test_a_function_that_always_starts_a_process_has_no_time_of_its_own():
    line = {"function": "f", "milliseconds": 3.2, "initialisation": 100.0}
    with pytest.raises(HourBankError, match="f had a new process for each call"):
        Functions([line, line])
    warm = [{"function": "f", "milliseconds": value} for value in (5.1, 4.2, 90.0)]
    functions = Functions([line, *warm])
    assert (functions.warm, functions.cold) == ({"f": 6}, {"f": 98})


TIMES = {"milliseconds", "gb_seconds", "cold_gb_seconds"}


def alike(measured, kept, *, about=()):
    """Where it is not, `make measured docs` brings measured.json and the page up to date."""
    assert measured.keys() == kept.keys()
    for key, value in measured.items():
        if isinstance(value, dict) and key != "states":
            alike(value, kept[key], about=about)
        elif key in about:
            assert value == pytest.approx(kept[key], rel=0.01), f"{key}: run `make measured docs`"
        elif key.endswith("bytes"):
            assert value == pytest.approx(kept[key], rel=0.05), f"{key}: run `make measured docs`"
        elif key not in TIMES:
            assert value == kept[key], f"{key}: run `make measured docs`"


def test_what_was_measured_is_kept_and_read_again():
    kept = json.loads(recorded.FILE.read_text(encoding="utf-8"))
    assert recorded.plain(recorded.measurement(kept)) == kept
    assert list(kept["stories"]) == [story.outcome for story in STORIES]


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
        assert made["idleMonth"][0]["count"] == "33"
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
        self.is_what_was_measured_last(measured, made["audits"])
        for what in ("metered", "auditor"):
            assert what in ended.stderr

    def is_what_was_measured_last(self, stories, audits):
        """But for times, which are a machine's, and for bytes that have a time or an id in them."""
        kept = recorded.plain(recorded.read())
        for name, path in stories.items():
            alike({"usage": path["usage"], "states": path["states"]}, kept["stories"][name])
        # what a segment of a table reads is rounded, and which records are in it is their ids', which are random
        alike(audits, {key: value for key, value in kept.items() if key != "stories"}, about=("read",))

    def test_one_that_is_interrupted_leaves_nothing(self):
        with subprocess.Popen(COST, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
            read_until(running, "deployed to it")
            everything = descendants(running.pid)
            assert everything
            running.send_signal(signal.SIGINT)
            assert running.stdout.read().endswith("interrupted; nothing is left running\n")
            assert running.wait(ENDLESS_SECONDS) == 128 + signal.SIGINT
        assert_gone(everything)
