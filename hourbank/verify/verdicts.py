"""What verify found: a verdict on each thing that was asked, the claims that they settle, and how both are told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from hourbank.account.checks import Outcome
from hourbank.account.stack import error_in_words
from hourbank.terminal import say

ACCOUNT_ID = re.compile(r"(?<!\d)\d{12}(?!\d)")
# of one claim, in what people read: where AWS knows no such call, all of them fail alike
MOST_TOLD = 20
# AWS's are of hundreds of characters without a space; nothing else that verify prints is
TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{100,}")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One thing that was asked.

    Attributes
    ----------
    claim : str
        What it settles, with others.
    what : str
        What was asked.
    problem : str
        What does not hold, or why it could not be asked; empty where it holds.
    remedy : str
        What to do.
    """

    claim: str
    what: str
    outcome: Outcome = Outcome.FITS
    problem: str = ""
    remedy: str = ""


def found(claim: str, what: str, problem: str, remedy: str = "") -> Verdict:
    """Return a verdict: that it holds, where there is no problem."""
    if not problem:
        return Verdict(claim=claim, what=what)
    return Verdict(claim=claim, what=what, outcome=Outcome.MISS, problem=problem, remedy=remedy)


def asked(claim: str, ask: Callable[[], Iterable[Verdict]], remedy: str) -> Iterator[Verdict]:
    """Ask, and say so where AWS does not answer: the rest is asked all the same."""
    try:
        yield from ask()
    except (BotoCoreError, ClientError) as error:
        yield Verdict(
            claim=claim, what="the rest", outcome=Outcome.UNSEEN, problem=error_in_words(error), remedy=remedy
        )


def hold(verdicts: Iterable[Verdict]) -> bool:
    """Whether nothing is wrong, and all was asked: what was not asked is not verified."""
    return all(verdict.outcome in (Outcome.FITS, Outcome.NOTE) for verdict in verdicts)


def by_claim(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    claims: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        claims.setdefault(verdict.claim, []).append(verdict)
    return claims


def counted(verdicts: Sequence[Verdict]) -> str:
    """Return `12`, or `11 of 12` where one does not hold."""
    held = sum(verdict.outcome in (Outcome.FITS, Outcome.NOTE) for verdict in verdicts)
    return str(held) if held == len(verdicts) else f"{held} of {len(verdicts)}"


def worst(verdicts: Iterable[Verdict]) -> Outcome:
    outcomes = {verdict.outcome for verdict in verdicts}
    order = (Outcome.MISS, Outcome.UNSEEN, Outcome.NOTE)
    return next((outcome for outcome in order if outcome in outcomes), Outcome.FITS)


def show(console: Console, verdicts: Iterable[Verdict]) -> None:
    """Print a line on each claim, and under it what does not hold and what to do."""
    claims = by_claim(verdicts)
    for claim, all_of_it in claims.items():
        mark, colour = worst(all_of_it).value
        say(console, (mark, colour), f" {claim}: {counted(all_of_it)}")
        troubles = [verdict for verdict in all_of_it if verdict.problem]
        for verdict in troubles[:MOST_TOLD]:
            say(console, "    ", (f"{verdict.what}: {verdict.problem}", verdict.outcome.value[1]))
        if len(troubles) > MOST_TOLD:
            say(console, "    ", f"and {len(troubles) - MOST_TOLD} more: see --json")
        for remedy in dict.fromkeys(verdict.remedy for verdict in all_of_it if verdict.remedy):
            say(console, "    ", (f"→ {remedy}", "cyan"))


def as_json(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Return each claim: `claim`, `holds`, how many were `asked`, and its `problems`."""
    return [
        {
            "claim": claim,
            "holds": hold(all_of_it),
            "asked": len(all_of_it),
            "problems": [
                {"what": one.what, "outcome": one.outcome.name, "problem": one.problem, "remedy": one.remedy}
                for one in all_of_it
                if one.problem
            ],
        }
        for claim, all_of_it in by_claim(verdicts).items()
    ]


def without_secrets(text: str) -> str:
    """Return a text for others to read: without account ids and task tokens."""
    return TOKEN.sub("TOKEN", ACCOUNT_ID.sub("ACCOUNT", text))


def in_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def as_markdown(verdicts: Iterable[Verdict], title: str) -> str:
    """Return a report as a user can put it into an issue: no account id, no token."""
    claims = by_claim(verdicts)
    lines = [f"## {title}", "", "| | claim | asked |", "|---|---|---|"]
    lines += [
        f"| {worst(all_of_it).value[0]} | {in_cell(claim)} | {counted(all_of_it)} |"
        for claim, all_of_it in claims.items()
    ]
    troubles = [one for all_of_it in claims.values() for one in [one for one in all_of_it if one.problem][:MOST_TOLD]]
    if troubles:
        lines += ["", "| | what | what does not hold | what to do |", "|---|---|---|---|"]
        lines += [
            f"| {one.outcome.value[0]} | {in_cell(one.what)} | {in_cell(one.problem)} | {in_cell(one.remedy)} |"
            for one in troubles
        ]
    return without_secrets("\n".join(lines) + "\n")
