"""What `hourbank verify` prints and writes: progress on standard error, a table or JSON, and a report for an issue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.status import Status

from hourbank.errors import HourBankError
from hourbank.terminal import put, say
from hourbank.verify import account, verdicts
from hourbank.verify.program import Program
from hourbank.verify.verdicts import Verdict


def verify(stack: str | None, region: str | None, *, as_json: bool = False, report: Path | None = None) -> bool:
    """Ask, tell, and return whether all was asked and holds.

    Parameters
    ----------
    stack : str, optional
        A stack that is deployed; without one, the program is asked about as a stack that nobody has.
    region : str, optional
        AWS's region; without one, the stack's own, or that of the environment or the profile.
    as_json : bool
        Print JSON instead of a table.
    report : Path, optional
        Where a report in Markdown goes, without account ids and tokens.

    Raises
    ------
    HourBankError
        There is no such stack, AWS lets nobody in, or the report cannot be written.
    """
    progress = Console(stderr=True)
    with progress.status("asking AWS") as status:
        program = account.program_here(stack, region)
        found = list(told(account.examine(program, is_deployed=stack is not None), status))
    print_all(program, found, as_json=as_json)
    if report is not None:
        write(report, verdicts.as_markdown(found, title(program, stack)))
    return verdicts.hold(found)


def told(found: Iterable[Verdict], status: Status) -> Iterator[Verdict]:
    """Say on the way what is being asked."""
    for number, verdict in enumerate(found, 1):
        status.update(f"{number} asked; {verdict.claim}")
        yield verdict


def title(program: Program, stack: str | None) -> str:
    of = f"stack {program.stack}" if stack else "before a deployment"
    return f"hourbank verify: {of}, {program.account.region}"


def print_all(program: Program, found: list[Verdict], *, as_json: bool) -> None:
    holds = verdicts.hold(found)
    if as_json:
        answer = {"region": program.account.region, "holds": holds, "claims": verdicts.as_json(found)}
        put(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
        return
    console = Console(highlight=False)
    say(console, (f"account {program.account.id} in {program.account.region}", "dim"))
    verdicts.show(console, found)
    wrong = sum(not verdicts.hold([verdict]) for verdict in found)
    ending = (
        (f"{len(found)} asked, all hold", "bold green") if holds else (f"{wrong} of {len(found)} do not", "bold red")
    )
    say(console, ending)


def write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HourBankError(f"{path} cannot be written: {error.strerror}") from None
