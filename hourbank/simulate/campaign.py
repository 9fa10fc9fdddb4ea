"""Every path, every fault: `hourbank simulate`, or `make simulate`.

First each path of both workflows with one fault at each point that a fault can strike, then pairs of faults, then
longer runs of several people with faults at random. A run is known by its story, its faults and its repair, or by its
seed; `--again` and `--seed` play one again and tell what happened.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hourbank.errors import HourBankError
from hourbank.simulate import granting
from hourbank.simulate.cases import (
    FAMILIES,
    GRANTS,
    PAIRED,
    Replay,
    Result,
    WrongWithoutFaultError,
    grant,
    grants,
    in_silence,
    pairs,
    play,
    single_faults,
    singles,
    story_named,
    wander,
)
from hourbank.simulate.faults import (
    KINDS,
    REPAIRS,
)
from hourbank.simulate.paths import missing_levers, stories
from hourbank.simulate.program import definition_of
from workflows import WORKFLOWS


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
        return list({"singles": singles, "pairs": pairs, "grants": grants}[job.what](*job.arguments))


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
    for family in ("nothing goes wrong", *FAMILIES, GRANTS, "pairs of faults", "longer runs at random"):
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
    granted = [story for story in granting.STORIES if only in story]
    if not names and not granted:
        raise HourBankError(f"--only: no path has {only!r} in its name")
    for machine, workflow in WORKFLOWS.items():
        for missing in missing_levers(machine, definition_of(workflow)):
            raise HourBankError(missing)
    jobs = single_jobs(names, share, turn)
    jobs += [Job("grants", (name,)) for name in granted]
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
        if case.story in granting.STORIES and all(fault.kind in granting.KINDS for fault in case.faults):
            return grant(case)
        story_named(case.story)
    except (ValueError, StopIteration):
        case = None
    if case is None or case.repair not in REPAIRS or any(fault.kind not in KINDS for fault in case.faults):
        raise HourBankError(f"--again: {words!r} is no run: give the words that a violation was told with")
    try:
        return play(case, single_faults(story_named(case.story))[1])
    except WrongWithoutFaultError as wrong:
        return wrong.result
