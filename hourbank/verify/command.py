"""What `hourbank verify` prints and writes: progress on standard error, a table or JSON, and a report for an issue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from hourbank.errors import HourBankError
from hourbank.stories.stage import Performance
from hourbank.terminal import print_json, put, say, show
from hourbank.verify import account, playing, verdicts
from hourbank.verify.program import Program
from hourbank.verify.verdicts import Verdict


def verify(
    stack: str | None,
    region: str | None,
    *,
    plays_stories: bool = False,
    as_json: bool = False,
    report: Path | None = None,
) -> bool:
    """Ask, tell, and return whether all was asked and holds.

    Parameters
    ----------
    stack : str, optional
        A stack that is deployed; without one, the program is asked about as a stack that nobody has.
    region : str, optional
        AWS's region; without one, the stack's own, or that of the environment or the profile.
    plays_stories : bool
        Play the demo's stories on the stack too.
    as_json : bool
        Print JSON instead of a table.
    report : Path, optional
        Where a report in Markdown goes, without account ids and tokens.

    Raises
    ------
    HourBankError
        There is no such stack, AWS lets nobody in, or the report cannot be written.
    """
    progress = Console(stderr=True, highlight=False)
    with progress.status("asking AWS") as status:
        program = account.program_here(stack, region)
        found = list(told(account.examine(program, is_deployed=stack is not None), status))
        performances: list[Performance] = []
        if plays_stories:
            run = playing.Run(
                playing.deployment_of(program), env=program.stack, seconds=playing.shortest_seconds(program)
            )
            performances = run.stage.performances
            try:
                found += run.play(teller(progress, status, performances))
            except BaseException as why:
                if not isinstance(why, HourBankError):
                    say(progress, "not played to the end; what verify wrote is removed")
                raise
    print_all(program, found, performances, as_json=as_json)
    if report is not None:
        write(report, verdicts.as_markdown(found, title(program, stack)) + in_markdown(performances))
    return verdicts.hold(found)


def teller(progress: Console, status: Status, performances: Sequence[Performance]) -> playing.Say:
    """Return what says how far the stories are: in one line at a terminal, else in a line for all that happens."""

    def tell(performance: Performance, what: str) -> None:
        title = performance.story.title
        if progress.is_terminal:
            ended = sum(one.ended for one in performances)
            status.update(Text(f"{ended} of {len(performances)} stories have ended; {title}: {what}"))
        else:
            say(progress, f"{title}: {what}")

    return tell


def way(performance: Performance) -> str:
    """Return the states that a story's executions passed."""
    return "; ".join(" → ".join(passed) for _, passed in performance.paths)


def ending(performance: Performance) -> str:
    return str(performance.record.get("status") or "no status")


def stories_table(performances: Iterable[Performance]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("", "story", "ended", "seconds", "way through the states"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left", overflow="fold")
    for one in performances:
        mark = Text("✗", "bold red") if one.problem else Text("✓", "green")
        table.add_row(mark, one.story.title, ending(one), f"{one.seconds:.0f}", Text(way(one)))
    return table


def in_markdown(performances: Sequence[Performance]) -> str:
    if not performances:
        return ""
    lines = ["", "| | story | ended | seconds | way through the states |", "|---|---|---|---:|---|"]
    lines += [
        f"| {'✗' if one.problem else '✓'} | {one.story.title} | {ending(one)} | {one.seconds:.0f} | {way(one)} |"
        for one in performances
    ]
    return verdicts.without_secrets("\n".join(lines) + "\n")


def told(found: Iterable[Verdict], status: Status) -> Iterator[Verdict]:
    """Say on the way what is being asked."""
    for number, verdict in enumerate(found, 1):
        status.update(f"{number} asked; {verdict.claim}")
        yield verdict


def title(program: Program, stack: str | None) -> str:
    of = f"stack {program.stack}" if stack else "before a deployment"
    return f"hourbank verify: {of}, {program.account.region}"


def print_all(program: Program, found: list[Verdict], performances: Sequence[Performance], *, as_json: bool) -> None:
    holds = verdicts.hold(found)
    if as_json:
        text = StringIO()
        stories = [
            {
                "story": one.story.title,
                "requestId": one.request_id,
                "ended": ending(one),
                "seconds": round(one.seconds, 1),
                "problem": one.problem,
                "ways": [states for _, states in one.paths],
            }
            for one in performances
        ]
        rows, region = verdicts.as_json(found), program.account.region
        print_json(Console(file=text), stack=program.stack, region=region, ok=holds, rows=rows, stories=stories)
        put(verdicts.without_secrets(text.getvalue()))
        return
    console = Console(highlight=False)
    say(console, (str(program.account), "dim"))
    verdicts.show(console, found)
    if performances:
        console.print()
        show(console, stories_table(performances))
        console.print()
    wrong = f"{sum(not verdicts.hold([verdict]) for verdict in found)} of {len(found)} do not hold"
    last = (f"{len(found)} asked, all hold", "bold green") if holds else (wrong, "bold red")
    say(console, last)


def write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HourBankError(f"{path} cannot be written: {error.strerror}") from None
