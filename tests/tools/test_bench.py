"""`make bench`: what it does with its figures. The figures themselves are no test's business."""

import subprocess
import sys
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from bench import heat, router, scale
from bench.__main__ import (
    BEGIN,
    BEGIN_HEAT,
    BEGIN_OPERATORS,
    BEGIN_ROUTER,
    END,
    LIST_USED,
    NOISE,
    PAGE,
    ROOT,
    SCALE_PAGE,
    Handler,
    Report,
    Result,
    handlers,
    markdown,
    run,
    skipped,
    update,
)
from handlers.bank.cursor import SHARES
from hourbank.program import cloudformation

REPORT = Report(
    {"cores": 2, "processor": "x86_64", "system": "Linux", "python": "3.13.1", "rounds": 5},
    [Result("evaluating", 1.234, "x", 1.5, "0.6 s / 0.5 s"), Result("requests", 5.85, "/ s")],
    [Handler("create_escrow", 50.4, 123.4, 200)],
)


@pytest.mark.parametrize(
    ("file", "place"),
    [
        (PAGE, BEGIN),
        (SCALE_PAGE, BEGIN),
        (SCALE_PAGE, BEGIN_OPERATORS),
        (SCALE_PAGE, BEGIN_ROUTER),
        (SCALE_PAGE, BEGIN_HEAT),
    ],
    ids=lambda what: str(what)[-20:],
)
def test_the_page_has_a_place_for_the_report_and_keeps_all_else(file: Path, place: str) -> None:
    page = file.read_text(encoding="utf-8")
    assert page.count(place) == 1
    written = update(page, markdown(REPORT), place)
    block = written.partition(place)[2].partition(END)[0]
    assert block == f"\n{markdown(REPORT)}\n"
    before, _, after = page.partition(place)
    assert written == f"{before}{place}{block}{END}{after.partition(END)[2]}"
    # and the next report takes the place of this one
    assert update(written, markdown(REPORT), place) == written
    with pytest.raises(SystemExit, match="has no place for the report"):
        update("a page", markdown(REPORT), place)


def test_the_report_says_on_what_it_was_measured_and_names_no_host() -> None:
    assert markdown(REPORT).splitlines() == [
        "Measured on 2 cores (x86_64), Linux, Python 3.13.1; medians of 5.",
        "",
        "| what | measured | promised |  |",
        "|---|---|---|---|",
        "| evaluating | 1.23 x | at most 1.5 x | 0.6 s / 0.5 s |",
        "| requests | 5.85 / s |  |  |",
        "",
        "| handler | import, beyond boto3 | of boto3's own | source that it loads |",
        "|---|---|---|---|",
        "| create_escrow | 50 ms | 0.25 x | 123 KB |",
    ]


@pytest.mark.parametrize(
    ("measured", "target", "missed"), [(1.5, 1.5, False), (1.5 * (1 + NOISE) + 0.01, 1.5, True), (99, None, False)]
)
def test_a_promise_is_missed_by_more_than_noise(measured: float, target: float | None, missed: bool) -> None:
    assert Result("", measured, "x", target).missed is missed


@pytest.mark.thorough
def test_made_up_tables_have_no_fault_but_those_that_are_planted() -> None:
    size = scale.Size(past=300, waiting=20, in_progress=10)
    assert scale.play("", size, SHARES, share=True).found == {}
    planted = scale.Size(past=300, waiting=20, in_progress=10, faults=frozenset({3, 25, 100, 200}))
    run = scale.play("", planted, SHARES, share=True)
    assert run.looked_at == SHARES * 30 + 300
    # the open ones at once, those of the past in the hour of their share
    # of which the log, kind by kind, has the entry that does not fit
    places = {number: 330 * scale.KINDS.index("ESCROW_REFUND") + number for number in (100, 200)}
    expected = {3: 0, 25: 0} | {number: (place - scale.HOUR) % SHARES for number, place in places.items()}
    assert run.found == {scale.id_of(number): hour for number, hour in expected.items()}


def test_what_can_still_change_costs_the_same_however_long_the_past_is() -> None:
    short, long = (scale.Size(past=past, waiting=250, in_progress=10) for past in (100, 1_000_000))
    one, other = (scale.play("", size, 1, share=False) for size in (short, long))
    assert (one.calls, one.units, one.looked_at) == (other.calls, other.units, 260)


@pytest.mark.parametrize(
    ("argument", "status", "says"),
    [("--rounds=0", 2, "--rounds: at least 1"), ("--help", 0, f"a promise is missed by {NOISE:.0%}")],
)
def test_what_is_asked_for_is_understood_or_not(argument: str, status: int, says: str) -> None:
    command = [sys.executable, "-m", "bench", argument]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == status
    assert says in " ".join((ended.stdout + ended.stderr).split())


@pytest.mark.thorough
def test_what_runs_in_processes_of_its_own_is_measured() -> None:
    assert skipped(1).measured > 0
    assert "pulumi_aws.sfn" in run(LIST_USED)
    # one function of the archive stands for all
    whole, one = zipfile.ZipFile(BytesIO(cloudformation.archive_bytes())), BytesIO()
    with zipfile.ZipFile(one, "w") as written:
        for name in whole.namelist():
            is_function = name.count("/") == 1 and b"def handler(" in whole.read(name)
            if name == "handlers/create_escrow.py" or not is_function:
                written.writestr(name, whole.read(name))
    (handler,) = handlers(1, one.getvalue())
    assert (handler.name, handler.milliseconds > 0, handler.kilobytes > 1) == ("create_escrow", True, True)


@pytest.mark.thorough
def test_the_routers_own_work_is_measured_without_a_network() -> None:
    assert 0 < router.own_work() < 1000


@pytest.mark.thorough
def test_a_burst_is_missed_where_one_is_lost_or_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "own_work", lambda: 2.0)
    monkeypatch.setattr(router, "REQUESTS", 100)
    way = router.measure(100, lambda _: None)
    assert not way.is_missed
    # batches one after the other are there for comparison alone
    assert [(row.shards, row.at_once) for row in way.rows] == [(1, 1), (1, 10), (4, 10)] * 2
    assert all(len(row.words) == len(router.HEADINGS) for row in (*way.rows, way.unwaiting))
    for change in ({"given_up": 1}, {"never_started": 1}, {"late": 11.0}):
        late = replace(way, rows=[*way.rows[:-1], replace(way.rows[-1], **change)])
        assert late.is_missed
    assert router.markdown(way).splitlines()[0].startswith("The router's own work for a request is 2.00 ms")


def test_executions_that_meet_on_one_item_all_come_through() -> None:
    """A hundred at once, on an item that is busy for a tenth of a second with each."""
    row = heat.row(0.1, 100)
    assert row.failed == 0 and row.tries > 5 and row.seconds > 100 * 0.1
    assert len(row.words) == len(heat.DERIVED)


@pytest.mark.thorough
def test_without_tries_at_random_moments_some_would_fail() -> None:
    """What the retrier is for: four runs of the function, at fixed pauses, on an item that is busy for long."""
    without = heat.derived(0.5, 150, heat.retriers(without="Contended"))[0]
    assert without["failed"] > 10 and without["runs"] == 4
    assert heat.derived(0.5, 150, heat.retriers())[0]["failed"] == 0


@pytest.mark.thorough
@pytest.mark.parametrize(("busy", "at_once"), [(0.01, 1000), (0.05, 1000), (0.1, 300)])
def test_many_at_once_all_come_through(busy: float, at_once: int) -> None:
    counts, seconds = heat.derived(busy, at_once, heat.retriers())
    assert counts["failed"] == 0
    assert seconds > at_once * busy, "one after the other"
