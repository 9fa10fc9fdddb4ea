"""How what an operator asked for is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

from handlers.bank.hours import in_words
from hourbank.operate.remedies import Trouble
from hourbank.terminal import in_hours, say


def live(text: Callable[[], str]) -> Live:
    """A line that says what goes on, while it goes on; on standard error, and at a terminal only."""
    spinner = Spinner("dots")

    def render() -> Spinner:
        spinner.update(text=text())
        return spinner

    return Live(get_renderable=render, console=Console(stderr=True), transient=True, refresh_per_second=8)


def print_findings(console: Console, findings: Sequence[Trouble], or_else: str = "none") -> None:
    """Print a line on each finding and one on each remedy."""
    if not findings:
        if or_else:
            say(console, (or_else, "dim"))
        return
    say(console, (f"{'hours':>8}  request", "dim"))
    for finding in findings:
        since = f", since {finding.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if finding.since else ""
        about = f"  {finding.request_id}  {finding.what}"
        say(console, (f"{in_words(finding.hours):>8}", "bold"), about, (since, "dim"))
        for remedy in finding.remedies:
            print_remedy(console, *remedy)


def in_rows(findings: Iterable[Trouble]) -> Iterator[dict[str, Any]]:
    """Return the findings as rows of JSON."""
    for finding in findings:
        yield {
            "kind": finding.kind,
            "requestId": finding.request_id,
            "hours": finding.hours,
            "what": finding.what,
            "since": finding.since,
            "remedies": [remedy._asdict() for remedy in finding.remedies],
        }


def print_remedy(console: Console, command: str, use: str) -> None:
    say(console, " " * 10, (f"{command}  " if command else "", "cyan"), (f"# {use}", "dim"))


def print_total(console: Console, findings: Iterable[Trouble], none: str) -> None:
    """Print how many requests are concerned and the hours at stake, those of each request once."""
    by_request = {finding.request_id: finding.hours for finding in findings}
    if by_request:
        total = sum(by_request.values(), Decimal(0))
        say(console, (f"{many(len(by_request), 'request')}, {in_hours(total)} at stake", "bold red"))
    elif none:
        say(console, (none, "bold green"))


def many(number: int, what: str, plural: str = "") -> str:
    return f"{number} {what if number == 1 else plural or f'{what}s'}"
