"""What a change of the definitions changes in the price of a request, and of a month."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hourbank.cost import paths, prices
from hourbank.review.compare import StackDifference
from hourbank.review.markdown import code
from hourbank.review.versions import DeclaredStack
from hourbank.stories.stories import STORIES, Story
from workflows import WORKFLOWS


def costs(difference: StackDifference) -> Iterator[str]:
    """What each path takes, by the definitions alone: states entered, functions called, and the price of both."""
    rows = [(story.outcome, price_of(difference.before, story), price_of(difference.after, story)) for story in STORIES]
    if any(before != after for _, before, after in rows):
        table = [
            "| a request that is … | transitions | calls | $ per 1,000 |",
            "|---|---|---|---|",
            *(
                f"| {name} | {moved(old, new, 0)} | {moved(old, new, 1)} | {moved(old, new, 2)} |"
                for name, old, new in rows
            ),
            "",
            "Transitions and the workflows' calls alone, by the definitions; `hourbank cost` measures the rest.",
        ]
        yield "\n".join(table)
    idle = [
        sum(len(stack.of_type(type_)) * price.each for type_, price in prices.MONTHLY.items())
        for stack in (difference.before, difference.after)
    ]
    if idle[0] != idle[1]:
        yield f"Alarms and dashboards cost ${idle[1]:.2f} a month, ${idle[0]:.2f} before."


def price_of(stack: DeclaredStack, story: Story) -> tuple[str, str, str]:
    """Transitions, calls and dollars of the path of a story; where the definition has no such path, why."""
    transitions = calls = 0
    for machine, ways in zip(WORKFLOWS, (story.request_ways, story.release_ways), strict=True):
        if ways is None:
            continue
        definition = stack.definition(machine)
        if definition is None:
            return "-", "-", f"there is no {machine}"
        try:
            passed = paths.walk(definition, ways)
        except paths.NoSuchWayError as error:
            return "-", "-", code(str(error)).replace("|", r"\|")
        transitions += len(passed)
        calls += paths.calls(definition, passed)
    dollars = transitions * prices.TRANSITION.each + calls * prices.INVOCATION.each
    return str(transitions), str(calls), f"{dollars * 1000:.4f}"


def moved(before: Sequence[str], after: Sequence[str], which: int) -> str:
    old, new = before[which], after[which]
    return new if old == new else f"{old} → **{new}**"
