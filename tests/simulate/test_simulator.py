"""The part of `make simulate` that every change can afford, and what the simulator itself promises."""

from __future__ import annotations

import itertools
import subprocess
import sys
from decimal import Decimal

import pytest
from rich.console import Console

from handlers.aws.dynamodb import Change
from hourbank import names
from hourbank.errors import HourBankError
from hourbank.simulate.campaign import Tally, play_again, simulate, single_jobs, table, tell
from hourbank.simulate.cases import FAMILY, Replay, in_silence, pairs, play, singles, story_named, wander
from hourbank.simulate.faults import KINDS, MEANWHILE, PAUSE, WAITING, Fault
from hourbank.simulate.paths import LEVERS, stories
from hourbank.simulate.run import Simulation
from hourbank.simulate.wandering import Wander, shortest

ACCEPTED = "CheckProviderResponse.ACCEPTED"
RELEASE = "CheckDecision.RELEASE"
SHARE = 100


@pytest.mark.thorough
@pytest.mark.parametrize(("number", "story"), list(enumerate(map(str, stories()))), ids=map(str, stories()))
def test_a_share_of_all_faults_on_each_path(number: int, story: str) -> None:
    with in_silence():
        wrong = [
            (result.name, result.problems) for result in singles(story, (number % SHARE, SHARE)) if result.problems
        ]
    assert wrong == []


@pytest.mark.thorough
@pytest.mark.parametrize("story", [ACCEPTED, RELEASE, "CheckDecision.REFUND"])
def test_some_pairs_of_faults(story: str) -> None:
    with in_silence():
        wrong = [(result.name, result.problems) for result in pairs(story, 0, 12) if result.problems]
    assert wrong == []


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(0, 20, 10))
def test_some_longer_runs(seed: int) -> None:
    with in_silence():
        wrong = [(result.name, result.problems) for result in map(wander, range(seed, seed + 10)) if result.problems]
    assert wrong == []


def test_the_turns_of_a_share_are_all_faults_once() -> None:
    faults = range(1000)

    def struck(turn: int) -> list[tuple[str, int]]:
        jobs = [job.arguments for job in single_jobs(["a", "b"], 6, turn)]
        return [(name, fault) for name, (first, step) in jobs for fault in faults if fault % step == first]

    turns = [struck(turn) for turn in range(6)]
    assert sorted(itertools.chain.from_iterable(turns)) == [(name, fault) for name in "ab" for fault in faults]
    assert all(len(turn) > 300 for turn in turns)


def test_a_path_that_is_wrong_without_a_fault_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.bank.ledger.require", lambda *_: None)
    monkeypatch.setattr(Change, "at_least", lambda change, attribute, number: change.exists())
    with in_silence():
        [result] = singles("EscrowHours.InsufficientBalance")
        assert not list(pairs("EscrowHours.InsufficientBalance", 0, 3))
        assert result.name == "EscrowHours.InsufficientBalance redrive" and result.trace
        assert play_again(result.name).problems == result.problems
    assert result.family == "nothing goes wrong"


def test_a_path_that_is_not_there_is_refused() -> None:
    with pytest.raises(HourBankError, match="no path has 'NOSUCHPATH' in its name"):
        simulate(Console(), only="NOSUCHPATH")


def test_nothing_is_tried_while_a_way_lacks_its_lever(monkeypatch: pytest.MonkeyPatch) -> None:
    stories()  # as they are, for all other tests
    monkeypatch.delitem(LEVERS, ("CheckProviderResponse", "ACCEPTED"))
    with pytest.raises(HourBankError, match="how an execution leaves CheckProviderResponse by ACCEPTED"):
        simulate(Console(), only="CheckProviderResponse.REJECTED", share=400, pair_count=0, wander_count=0)


def test_every_fault_is_in_the_table() -> None:
    assert FAMILY.keys() == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_strikes_somewhere(kind: str) -> None:
    """A fault at a point that has it is told in the trace; one that does nothing would prove nothing."""
    story = RELEASE if kind in MEANWHILE else ACCEPTED
    at = (
        2
        if kind in PAUSE
        else {"call-conflict": 2, "call-conflicts": 2, "call-conflict!": 2, **dict.fromkeys(WAITING, 0)}.get(kind, 1)
    )
    with in_silence():
        simulation = Simulation(story_named(story), (Fault(kind, at),))
        simulation.play()
    if kind in ("explicit-nulls", "pending"):
        assert simulation.end.requests["r1"]["status"] == "IN_PROGRESS"
    else:
        assert kind.removesuffix("!") in "\n".join(simulation.trace) or simulation._refused


@pytest.mark.parametrize(
    "case",
    [
        Replay(ACCEPTED, (Fault("raises!", 3), Fault("zombie", 2, 99)), "REFUND"),
        Replay("CheckDecision.Default", (Fault("deleted", 12),)),
    ],
)
def test_a_run_is_known_by_its_name(case: Replay) -> None:
    assert Replay.of(str(case)) == case


def test_a_seed_does_the_same_again() -> None:
    with in_silence():
        first, second = Wander(7), Wander(7)
        assert first.play() == second.play() == []
    assert first.trace == second.trace
    assert len(first.trace) > 80


def test_a_violation_is_told_with_its_shortest_story(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Change, "at_least", lambda change, attribute, number: change.exists())
    monkeypatch.setattr("handlers.bank.ledger.require", lambda *_: None)
    tally = Tally()
    with in_silence():
        tally.add(play(Replay(ACCEPTED, (Fault("spent", 6),))))
        tally.add(play(Replay("EscrowHours.InsufficientBalance", ())._replace(faults=(Fault("deploy", 3),))))
        long = next(run for run in map(Wander, range(50)) if run.play())
        short = shortest(long)
    assert len(short.steps) < 6 < len(long.steps)
    console = Console(width=150, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    console.print(table(tally, 1, Decimal(1)))
    wrong = tally.shortest()
    assert wrong is not None
    tell(console, wrong)
    said = console.export_text()
    assert "make simulate ARGS=\"--again '" in said
    assert "violations" in said
    assert "overdrawn" in said


def command(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run `hourbank simulate` in a process of its own, which `before` prepares."""
    start = "sys.argv = ['hourbank', 'simulate', *sys.argv[1:]]\nfrom hourbank.cli import main\nmain()"
    code = f"import sys\n{before}\n{start}"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.thorough
def test_the_command_plays_a_run_again() -> None:
    told = command("--again", f"{ACCEPTED} raises@2 redrive")
    assert (told.returncode, told.stdout, told.stderr) == (0, f"{ACCEPTED} raises@2 redrive: no violation\n", "")
    assert command("--seed", "7").stdout == "seed 7: no violation\n"


@pytest.mark.thorough
def test_the_command_prints_its_table_as_markdown() -> None:
    told = command(
        "--only", "CheckDecision.Default", "--share", "400", "--pairs", "0", "--wander", "1", "--processes", "1"
    )
    assert (told.returncode, told.stderr) == (0, ""), told.stderr
    lines = [line.rstrip() for line in told.stdout.splitlines() if line.startswith("|")]
    assert lines[0].startswith("| what goes wrong") and set(lines[1]) == {"|", "-"} and lines[-1].startswith("| all ")


def test_where_moto_is_missing_one_line_says_how_to_install_it() -> None:
    hide = "import importlib.util as u\nfind = u.find_spec\n"
    hide += "u.find_spec = lambda name, *more: None if name == 'moto' else find(name, *more)"
    told = command("--seed", "1", before=hide)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == (
        f"hourbank: simulating needs moto, which is not installed here: `{names.to_install('simulate')}` does it\n"
    )


def test_the_help_asks_for_no_moto() -> None:
    told = command("--help", before="sys.modules['moto'] = None")
    assert told.returncode == 0 and "--again" in told.stdout


@pytest.mark.thorough
def test_what_is_no_run_is_refused_in_one_line() -> None:
    for words in (
        "nonsense",
        f"{ACCEPTED} nosuchfault@1 redrive",
        "NoStory raises@1 redrive",
        f"{ACCEPTED} raises@x redrive",
    ):
        told = command("--again", words)
        assert (
            told.returncode == 1 and told.stderr.startswith("hourbank: --again: ") and told.stderr.count("\n") == 1
        ), told
