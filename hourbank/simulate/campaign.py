"""Every path, every fault: `hourbank simulate`, or `make simulate`.

First each path of both workflows with one fault at each point that a fault can strike, then pairs of faults, then
longer runs of several people with faults at random. A run is known by its story, its faults and its repair, or by its
seed; `--again` and `--seed` play one again and tell what happened.
"""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import random
import signal
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple
from unittest import mock

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hourbank.errors import HourBankError
from hourbank.simulate.faults import (
    AFTER,
    AT_THE_END,
    BESIDE,
    CALL,
    COLLIDING,
    FOR_GOOD,
    FULL,
    HARMLESS,
    INVOCATION,
    KINDS,
    MEANWHILE,
    ODD_ANSWERED,
    ODD_CREATED,
    ODD_KINDS,
    PAUSE,
    RECORD,
    REPAIRS,
    STOPS,
    STREAM,
    SUBMITTED,
    WAITING,
    WRITES,
    ZOMBIES,
    Fault,
)
from hourbank.simulate.paths import PathStory, missing_levers, stories
from hourbank.simulate.program import REGION, definition_of
from hourbank.simulate.run import Simulation, outcome
from hourbank.simulate.wandering import Wander, shortest
from workflows import WORKFLOWS

# whose AWS the handlers see
NOBODY = {
    "AWS_ACCESS_KEY_ID": "simulated",
    "AWS_SECRET_ACCESS_KEY": "simulated",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
# what the table says about each family of faults
FAMILIES = {
    "a function fails once": tuple(INVOCATION),
    "a function fails for good": tuple(kind + FOR_GOOD for kind in INVOCATION),
    "a function given up for dead writes later": tuple(ZOMBIES),
    "a function is killed at a call": ("killed", "killed-after"),
    "a call is refused, in conflict, lost or repeated": tuple(kind for kind in CALL if kind.startswith("call")),
    "calls are refused or in conflict for good": ("call-refused!", "call-conflict!"),
    "the stream loses, doubles, delays or reorders": RECORD,
    "an execution is stopped or expires": (*STOPS, *WAITING),
    "people answer, change or clear meanwhile": tuple(k for k in MEANWHILE if k.startswith(("prov", "req", "offer"))),
    "the request is deleted or replaced, hours are spent": ("deleted", "replaced", "spent"),
    "a second execution, or an operator, meanwhile": (
        "started-too",
        "released-too",
        "ordered-release",
        "ordered-refund",
    ),
    "a deploy meanwhile; nulls in every optional field": ("deploy", *SUBMITTED),
    "a field holds anything, of any type and size": ODD_KINDS,
    "a record is near 400 KB": ("full", "filled", "filled-almost"),
    "a malformed row lies beside": ("beside",),
    "a name is free again, an id is asked with anew": ("names-freed", "collides", *AFTER),
    "the stream is not read, for good or for two days": STREAM,
    "the world goes on in a retry's pause": tuple(PAUSE),
}
FAMILY = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}

# the stories whose faults are also tried in pairs
PAIRED = (
    "CheckProviderResponse.ACCEPTED",
    "CheckProviderResponse.REJECTED",
    "WaitForProviderResponse.States.Timeout>CheckProviderResponse.TIMED_OUT",
    "WaitForProviderResponse.States.Timeout>CheckProviderResponse.ACCEPTED",
    "CheckProviderResponse.COUNTER_OFFER>CheckRequesterResponse.ACCEPTED",
    "CheckDecision.RELEASE",
    "CheckDecision.REFUND",
)
COARSE = (
    "result-lost", "raises!", "zombie", "stopped", "call-lost", "killed", "call-conflict", "record-lost",
    "record-twice", "deleted", "provider-declines", "requester-clears", "requester-cancels", "deploy",
)  # fmt: skip


class Replay(NamedTuple):
    """One run: what `--again` takes."""

    story: str
    faults: tuple[Fault, ...]
    repair: str = "redrive"

    def __str__(self) -> str:
        return " ".join([self.story, *map(str, self.faults), self.repair])

    @classmethod
    def of(cls, words: str) -> Replay:
        """Return the case that `str` gave these words for."""
        story, *faults, repair = words.split()
        return cls(story, tuple(Fault.of(fault) for fault in faults), repair)


@dataclass(frozen=True)
class Result:
    """What a run was like.

    Attributes
    ----------
    name, family
        What plays it again; the row of the table that it counts in.
    problems, trace
        What was wrong, and what led there; both are empty where all was right.
    was_loud
        Whether something failed that had to be repaired.
    invocations, calls
        How many calls of functions, and to AWS, it took.
    """

    name: str
    family: str
    problems: tuple[str, ...]
    was_loud: bool
    invocations: int
    calls: int
    trace: tuple[str, ...] = ()


def play(case: Replay, without: dict[str, Any] | None = None, **changes: Any) -> Result:
    """Play a case; after one harmless fault, the end must be as `without` it."""
    simulation = Simulation(story_named(case.story), case.faults, repair=case.repair, **changes)
    problems = simulation.play()
    if without is not None and len(case.faults) == 1 and is_harmless(simulation) and not problems:
        ended = outcome(simulation)
        problems = [
            f"a harmless fault changed {name}: {ended[name]}, without it {expected}"
            for name, expected in without.items()
            if ended[name] != expected
        ]
    return result_of(case, simulation, problems)


def result_of(case: Replay, simulation: Simulation, problems: Sequence[str]) -> Result:
    """Return what a run that has ended was like."""
    kinds = [fault.kind for fault in case.faults]
    family = FAMILY[kinds[0]] if len(kinds) == 1 else "pairs of faults" if kinds else "nothing goes wrong"
    trace = tuple(simulation.trace) if problems else ()
    sizes = len(simulation.invocations), len(simulation.calls)
    return Result(str(case), family, tuple(problems), simulation.was_loud, *sizes, trace)


def is_harmless(simulation: Simulation) -> bool:
    """Whether the faults may leave no trace."""
    return all(fault.kind in HARMLESS and not is_telling(simulation, fault) for fault in simulation.faults)


def is_telling(simulation: Simulation, fault: Fault) -> bool:
    """Whether a fault may change the end: a wait that times out at once, a zombie that does what the story forbids."""
    if fault.kind not in ("hangs", "times-out", "zombie"):
        return False
    state = simulation.invocations[fault.at].state
    if fault.kind == "zombie":
        return bool(state in simulation.levers and simulation.levers[state].fails)
    return state in ("WaitForProviderResponse", "ProcessNegotiation")


def story_named(name: str) -> PathStory:
    return next(story for story in stories() if f"{story}" == name)


# --- which faults -----------------------------------------------------------------------------------------------------


class WrongWithoutFaultError(AssertionError):
    """A story is wrong although nothing has gone wrong; `result` tells how."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"{result.name} without a fault: {list(result.problems)}")
        self.result = result


def single_faults(story: PathStory, **changes: Any) -> tuple[list[Fault], dict[str, Any]]:
    """Return each fault at each point that the story passes, and what the story ends with.

    Raises
    ------
    WrongWithoutFaultError
        If it is wrong by itself.
    """
    plain = Simulation(story, **changes)
    if problems := plain.play():
        raise WrongWithoutFaultError(result_of(Replay(str(story), ()), plain, problems))
    faults = [Fault(kind) for kind in SUBMITTED]
    for number, invocation in enumerate(plain.invocations):
        faults += [Fault(kind + often, number) for kind in INVOCATION for often in ("", FOR_GOOD)]
        if invocation.state:
            faults += [Fault(kind, number) for kind in STOPS]
            faults += [Fault(kind, number, later) for kind in ZOMBIES for later in (0, 1, 2, 3, AT_THE_END)]
    for number, call in enumerate(plain.calls):
        kinds = (*CALL, "call-refused!", "call-conflict!", *meanwhile(story))
        faults += [Fault(kind, number) for kind in kinds if "conflict" not in kind or call.operation in WRITES]
    faults += [Fault(kind, number) for kind in RECORD for number in range(len(plain.records))]
    faults += [Fault(kind, number) for kind in STREAM for number in range(len(plain.records))]
    writes = [
        n for n, call in enumerate(plain.calls) if call.operation in (*WRITES, "PutEvents") and call.invocation.state
    ]
    faults += [
        Fault(f"pause-{kind}", number, more)
        for kind in meanwhile(story)
        if f"pause-{kind}" in PAUSE
        for number in writes
        for more in (0, 1)
    ]
    faults += of_data(str(story), len(plain.calls))
    faults += [Fault(kind, number) for kind in WAITING for number in range(len(plain.waits))]
    return faults, outcome(plain)


def of_data(story: str, calls: int) -> Iterator[Fault]:
    """Yield what records can hold: a part of all that there is for each story, so that all of it is tried often."""
    turn = zlib.crc32(story.encode())
    yield from (Fault("full", number) for number in range(len(FULL)))
    yield from (Fault(kind) for kind in AFTER)
    yield Fault("collides", turn % len(COLLIDING))
    yield from (Fault("odd-created", number) for number in range(turn % 6, len(ODD_CREATED), 6))
    yield from (Fault("beside", number) for number in range(turn % 8, len(BESIDE), 8))
    for number in range(turn % 2, len(ODD_ANSWERED), 2):
        yield Fault("odd-answered", (turn + 7 * number) % calls, number)


def meanwhile(story: PathStory) -> Iterator[str]:
    """Yield what others may do while a story runs, as far as it can make a difference there."""
    is_begun = story.machine == "EscrowManagementWorkflow" or story.path[-1] == ("StartServiceExecution", "Next")
    only_then = ("released-too", "ordered-release", "ordered-refund", "provider-withdraws", "requester-confirms")
    yield from (kind for kind in MEANWHILE if is_begun or kind not in only_then)


def singles(name: str, share: tuple[int, int] = (0, 1), **changes: Any) -> Iterator[Result]:
    """Play a story with each single fault, or with every n-th of them from the k-th on, for a share of (k, n).

    One that is wrong without any fault is all there is to say.
    """
    try:
        faults, without = single_faults(story_named(name), **changes)
    except WrongWithoutFaultError as wrong:
        yield wrong.result
        return
    for number, fault in enumerate(faults):
        if number % share[1] == share[0]:
            # each way to finish what failed in turn
            yield play(Replay(name, (fault,), REPAIRS[number % len(REPAIRS)]), without, **changes)


def pairs(name: str, seed: int, count: int) -> Iterator[Result]:
    """Play a story with some pairs of faults, drawn with a seed."""
    try:
        faults = [fault for fault in single_faults(story_named(name))[0] if fault.kind in COARSE]
    except WrongWithoutFaultError:
        return  # `singles` says so
    dice = random.Random(f"{seed} {name}")
    all_pairs = list(combinations(faults, 2))
    for first, second in dice.sample(all_pairs, min(count, len(all_pairs))):
        yield play(Replay(name, (first, second), dice.choice(REPAIRS)))


def wander(seed: int) -> Result:
    """Play the longer run of a seed; where something is wrong, the shortest that shows it."""
    run = Wander(seed)
    problems = run.play()
    if problems:
        run = shortest(run)
        problems = run.play()
    trace = tuple(run.trace) if problems else ()
    return Result(f"seed {seed}", "longer runs at random", tuple(problems), False, run.invocations, run.calls, trace)


# --- all of it --------------------------------------------------------------------------------------------------------


class Job(NamedTuple):
    """What one process does at a time: `what` names a function of this module, with its arguments."""

    what: str
    arguments: tuple[Any, ...]


def single_jobs(names: Sequence[str], share: int, turn: int) -> list[Job]:
    """Cut every n-th single fault of each story into jobs.

    Each path begins elsewhere, so that all kinds of faults are among a share; the n turns have each fault once.
    """
    return [
        Job("singles", (name, ((number + turn + part) % (4 * share), 4 * share)))
        for number, name in enumerate(names)
        for part in range(0, 4 * share, share)
    ]


def work(job: Job) -> list[Result]:
    """Do one job in silence."""
    with in_silence():
        if job.what == "wander":
            return [wander(seed) for seed in range(*job.arguments)]
        return list({"singles": singles, "pairs": pairs}[job.what](*job.arguments))


@contextmanager
def in_silence() -> Iterator[None]:
    """Keep what handlers print to oneself, and a person's own AWS away from them."""
    own = {name for name in os.environ if name.startswith("AWS_")}
    with mock.patch.dict(os.environ, NOBODY), redirect_stdout(io.StringIO()):
        for name in own - NOBODY.keys():
            del os.environ[name]
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


@dataclass
class Tally:
    """What the runs so far were like."""

    runs: dict[str, int] = field(default_factory=dict)
    loud: dict[str, int] = field(default_factory=dict)
    violations: dict[str, list[Result]] = field(default_factory=dict)
    invocations: int = 0
    calls: int = 0

    def add(self, result: Result) -> None:
        family = result.family
        self.runs[family] = self.runs.get(family, 0) + 1
        self.loud[family] = self.loud.get(family, 0) + result.was_loud
        self.invocations += result.invocations
        self.calls += result.calls
        if result.problems:
            self.violations.setdefault(family, []).append(result)

    def shortest(self) -> Result | None:
        """Return the violation that is the shortest story."""
        wrong = [result for results in self.violations.values() for result in results]
        return min(wrong, key=lambda result: (len(result.trace), result.name), default=None)


def table(tally: Tally, paths: int, seconds: float) -> Table:
    """Return what was run as a table."""
    total, wrong = sum(tally.runs.values()), sum(map(len, tally.violations.values()))
    made = Table(
        box=box.MARKDOWN,
        title=f"{paths} paths x faults: {total} runs, {tally.invocations} calls of functions, "
        f"{tally.calls} calls to AWS, {seconds:.0f} s",
        title_justify="left",
    )
    made.add_column("what goes wrong")
    for name in ("runs", "failed loudly, then repaired", "violations"):
        made.add_column(name, justify="right")
    for family in ("nothing goes wrong", *FAMILIES, "pairs of faults", "longer runs at random"):
        if runs := tally.runs.get(family):
            loud = "" if family.startswith("longer") else str(tally.loud[family])
            made.add_row(family, str(runs), loud, str(len(tally.violations.get(family, []))))
    made.add_row("all", str(total), str(sum(tally.loud.values())), str(wrong))
    return made


def tell(console: Console, result: Result) -> None:
    """Print the story of a run that went wrong."""
    how = "--seed " + result.name.split()[1] if result.name.startswith("seed ") else f"--again '{result.name}'"
    console.print(f'\nthe shortest story that shows a violation; again: make simulate ARGS="{escape(how)}"')
    for line in result.trace:
        console.print(f"  {escape(line)}", soft_wrap=True)
    for problem in result.problems:
        console.print(f"[red]{escape(problem)}[/red]", soft_wrap=True)


def simulate(
    console: Console,
    *,
    pair_count: int = 300,
    wander_count: int = 500,
    draw: int = 0,
    share: int = 1,
    turn: int = 0,
    only: str = "",
    processes: int | None = None,
) -> bool:
    """Try every fault at every point of every path, say what broke, and return whether nothing did.

    Parameters
    ----------
    pair_count, wander_count, draw
        How many pairs of faults a story that has them, how many longer runs at random, and what both are drawn with.
    share, turn
        Only every `share`-th of the single faults of each path, from the `turn`-th on: all turns are all faults.
    only
        Only stories whose name contains this.
    processes
        How many; None: one a core.

    Raises
    ------
    HourBankError
        If no story's name contains `only`, or a way out of a state has no lever.
    """
    names = [str(story) for story in stories() if only in str(story)]
    if not names:
        raise HourBankError(f"--only: no path has {only!r} in its name")
    for machine, workflow in WORKFLOWS.items():
        for missing in missing_levers(machine, definition_of(workflow)):
            raise HourBankError(missing)
    jobs = single_jobs(names, share, turn)
    jobs += [Job("pairs", (name, draw, pair_count)) for name in PAIRED if name in names and pair_count]
    jobs += [
        Job("wander", (start, min(start + 20, draw + wander_count))) for start in range(draw, draw + wander_count, 20)
    ]
    began, tally = time.monotonic(), Tally()
    told = began
    with multiprocessing.get_context("spawn").Pool(processes, _leave_interrupts) as pool, console.status("") as status:
        for number, results in enumerate(pool.imap_unordered(work, jobs), 1):
            for result in results:
                tally.add(result)
                if result.problems:
                    console.print(f"[red]violation[/red] {escape(result.name)}", soft_wrap=True)
            progress = f"{number} of {len(jobs)} jobs, {sum(tally.runs.values())} runs"
            status.update(progress)
            if not console.is_terminal and time.monotonic() - told > 60:
                told = time.monotonic()
                console.print(progress)
    console.print(table(tally, len(names), time.monotonic() - began))
    if wrong := tally.shortest():
        tell(console, wrong)
    return wrong is None


def _leave_interrupts() -> None:
    """Let Ctrl-C end the process that a person sees, and that one its helpers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def replay(console: Console, *, seed: int | None = None, again: str = "") -> bool:
    """Play the longer run of a seed again, or one run as a violation names it; tell it, and whether it was right."""
    with in_silence():
        result = wander(seed) if seed is not None else play_again(again)
    if result.problems:
        tell(console, result)
    else:
        console.print(f"{result.name}: no violation", highlight=False)
    return not result.problems


def play_again(words: str) -> Result:
    """Play the case of these words.

    Raises
    ------
    HourBankError
        If they are no case.
    """
    try:
        case = Replay.of(words)
        story_named(case.story)
    except (ValueError, StopIteration):
        case = None
    if case is None or case.repair not in REPAIRS or any(fault.kind not in KINDS for fault in case.faults):
        raise HourBankError(f"--again: {words!r} is no run: give the words that a violation was told with")
    try:
        return play(case, single_faults(story_named(case.story))[1])
    except WrongWithoutFaultError as wrong:
        return wrong.result
