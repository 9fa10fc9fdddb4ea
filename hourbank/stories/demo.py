"""`hourbank demo`: play every story on this machine, show it live, then account for every hour."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from handlers.aws.dynamodb import now
from handlers.bank.hours import in_words
from hourbank import laws, names
from hourbank.drawing.lanes import Passage, lanes
from hourbank.drawing.pictures import DEFINITIONS
from hourbank.laws import Ledger
from hourbank.local import deploy, people
from hourbank.local.emulator import Emulator
from hourbank.local.tables import read_ledger
from hourbank.stories.stage import OLD_RECORDS, Performance, Stage, old_records
from hourbank.stories.stories import BALANCES, expected_balances
from hourbank.terminal import show, step, tick


def play(console: Console) -> bool:
    """Set up, play, report; True if every story ended as it must and no hour was lost."""
    began = time.monotonic()
    with ExitStack() as at_end:
        with step(console, "An emulator of AWS, on this machine only"):
            emulator = at_end.enter_context(Emulator())
        deployment, before = _set_up(console, emulator)
        stage = Stage(deployment)
        _show_live(console, stage, began)
        after = read_ledger(deployment.client("dynamodb"), deployment.tables)
        problems = _problems(deployment, stage, before, after)
        console.print()
        show(console, _ledger_table(before, after))
        show(console, _paths(console, stage.performances))
        for text, problem in problems:
            line = Text.assemble(("✗ ", "bold red"), (text + ": ", "bold"), problem) if problem else tick(text)
            show(console, _hanging(console, line))
        failed = [p for p in stage.performances if p.problem]
        ok = not failed and not any(problem for _, problem in problems)
        seconds = time.monotonic() - began
        console.print()
        if ok:
            console.print(f"[bold green]All stories ended as they must[/], in {seconds:.0f} s.", highlight=False)
            console.print(f"To play with it yourself: [bold]{names.command()} up[/], then in another terminal:")
            console.print(
                f"  [bold]{names.command()} request --from ana --to ben --hours 2[/]", highlight=False, soft_wrap=True
            )
        else:
            console.print(f"[bold red]{len(failed)} of {len(stage.performances)} stories ended otherwise.[/]")
            show(console, Text(f"The emulator's last words: {emulator.last_words()}"))
        return ok


def _set_up(console: Console, emulator: Emulator) -> tuple[deploy.Deployment, Ledger]:
    dynamodb = emulator.client("dynamodb")
    with step(console, "Amplify's four tables, and 100 requests from last year"):
        tables = deploy.create_tables(emulator)
        for record in old_records():
            people.submit(dynamodb, tables, record)
    with step(console, "The program, recorded for the stack `local` and deployed"):
        deployment = deploy.deploy(
            emulator,
            config={"hourbank:startRequestsFrom": now()},
        )
        deploy.start_a_function(deployment)
    with step(console, "People, to whom the bank grants their first hours"):
        deploy.grant_hours(deployment, BALANCES)
        before = read_ledger(dynamodb, tables)
    return deployment, before


def _hanging(console: Console, line: Text) -> Text:
    """Wrap a line so that what follows its first is indented."""
    if line.cell_len <= console.width:
        return line
    first, *rest = line.wrap(console, console.width - 4)
    return Text("\n").join([first, *(Text.assemble("    ", following) for following in rest)])


def _show_live(console: Console, stage: Stage, began: float) -> None:
    """Step the stage until every story has ended; without a terminal, a line for everything that happens."""
    count = len(stage.performances)
    seconds = next(p.story.seconds_to_answer for p in stage.performances if p.story.seconds_to_answer)
    console.print(
        f"\n{count} stories at once, beside {OLD_RECORDS} old records; "
        f"the request that nobody answers waits for {seconds} seconds",
        highlight=False,
    )
    if not console.is_terminal:

        def say(performance: Performance, what: str) -> None:
            since = time.monotonic() - began
            console.print(f"{since:5.1f} s  {performance.story.title}: {what}", soft_wrap=True)

        stage.play(say)
        return
    spinner = Spinner("dots", style="cyan")
    with Live(console=console, refresh_per_second=12, get_renderable=lambda: _progress(stage, spinner)):
        stage.play()


STYLES = {"COMPLETED": "green", "IN_PROGRESS": "green", "FAILED": "bold red", "NEGOTIATING": "yellow"}


def _progress(stage: Stage, spinner: Spinner) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False, expand=True)
    # only what is being done gives way on a narrow terminal, and no column moves while it changes
    table.add_column(width=1)
    title = max(len(performance.story.title) for performance in stage.performances)
    table.add_column(no_wrap=True, width=title, style="bold")
    table.add_column(no_wrap=True, width=len("AWAITING_PROVIDER"))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, justify="right", width=len("40.0 s"), style="dim")
    for performance in stage.performances:
        mark = Text("✗", "bold red") if performance.problem else Text("✓", "bold green")
        status = str(performance.record.get("status") or "")
        table.add_row(
            mark if performance.ended else spinner,
            performance.story.title,
            Text(status, STYLES.get(status, "cyan")),
            performance.problem or performance.doing,
            f"{performance.seconds:.1f} s" if performance.request_id else "",
        )
    return table


def _problems(deployment: deploy.Deployment, stage: Stage, before: Ledger, after: Ledger) -> list[tuple[str, str]]:
    """Return what was checked, and what is wrong with it (empty where nothing is)."""
    executions = [execution for p in stage.performances for execution in deployment.executions(p.request_id)]
    statuses = {execution["executionArn"]: execution["status"] for execution in executions}
    expected = expected_balances([p.story for p in stage.performances])
    wrong = [
        f"{name} has {in_words(after.balance(name))} h, not {in_words(hours)}"
        for name, hours in expected.items()
        if after.balance(name) != hours
    ]
    touched = sum(after.requests.get(request_id) != record for request_id, record in before.requests.items())
    books = [*laws.hours_lost(after), *laws.entries_that_do_not_add_up(after), *laws.grants_out_of_place(after)]
    return [
        (
            f"No hour was made or lost: {in_words(after.granted())} granted, {in_words(after.total())} after",
            "; ".join(books),
        ),
        (
            "No execution that has ended left hours held",
            "; ".join(laws.hours_held_for_nobody(after, statuses)),
        ),
        ("Everybody has what the stories say", "; ".join(wrong)),
        (
            f"The {len(before.requests)} requests from before the workflows are untouched",
            f"{touched} of them changed" if touched else "",
        ),
    ]


def _ledger_table(before: Ledger, after: Ledger) -> Table:
    table = Table(
        title="The ledger, in hours", title_style="bold", title_justify="left", box=None, padding=(0, 3, 0, 0)
    )
    for heading in ("", "before", "after", "change"):
        # on a narrow terminal names give way, and no digit does
        table.add_column(heading, justify="right" if heading else "left", no_wrap=bool(heading), header_style="dim")
    rows = [(name, before.balance(name), hours) for name, hours in sorted(after.spendable().items())]
    rows += [
        ("held in escrow", before.total_held(), after.total_held()),
        ("all together", before.total(), after.total()),
    ]
    for name, was, has in rows:
        change = has - was
        style = "green" if change > 0 else "red" if change < 0 else "dim"
        if name == "held in escrow":
            table.add_section()
        sign = "+" if change > 0 else ""
        table.add_row(name, in_words(was), in_words(has), Text(f"{sign}{in_words(change)}" if change else "·", style))
    return table


def _paths(console: Console, performances: Sequence[Performance]) -> Group:
    blocks: list[Text | Padding] = [Text("\nThe stories, and their ways through the states", "bold")]
    for number, performance in enumerate(performances, 1):
        story = performance.story
        mark = ("✗ ", "bold red") if performance.problem else ("✓ ", "bold green")
        asked = f"  {story.requester} → {story.provider}, {story.hours} h, {performance.seconds:.1f} s  "
        status, reason = str(performance.record.get("status")), performance.record.get("failureReason")
        ending = f"{status}: {reason}" if reason else status
        title = (f"{number} {story.title}", "bold")
        line = Text.assemble(mark, title, (asked, "dim"), (ending, STYLES.get(status, "cyan")))
        blocks.append(_hanging(console, line))
        if performance.problem:
            blocks.append(Padding(Text(performance.problem, "red"), (0, 0, 0, 4)))
    for machine, definition in DEFINITIONS.items():
        passages = [
            Passage(path, status, str(number))
            for number, performance in enumerate(performances, 1)
            for (name, path), status in zip(performance.paths, performance.statuses, strict=True)
            if name.startswith(machine)
        ]
        blocks += [Text(f"\n{machine}", "bold"), lanes(definition, passages)]
    blocks.append(Text())
    return Group(*blocks)
