"""`hourbank plan`: what a change of this project changes in what is deployed, as Markdown for a pull request.

Two versions are recorded, and compared resource by resource. Nothing is asked of AWS or of Pulumi's state: it says what
the program declares, not what has drifted.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from hourbank.cost import paths, prices
from hourbank.drawing import diagram, graph
from hourbank.drawing.flow import ANY_ERROR, flow_of, word_of
from hourbank.drawing.graph import Cause
from hourbank.errors import HourBankError
from hourbank.program import recorder
from hourbank.program.recorder import Resource
from hourbank.program.resource_types import ALARM, DASHBOARD, FUNCTION, MACHINE, RESOURCE_TYPES, known
from hourbank.review.rights import Names, Right, code, rights, sentences
from hourbank.review.versions import ROOT, Stack, Version, extract, find, key_of, read
from hourbank.stories.stories import STORIES, Story
from workflows import WORKFLOWS

ALL = "all"
# What is never deployed.
LOCAL = "local"
MARKER = "<!-- hourbank plan -->"
# GitHub takes 65,536 characters for a comment, tools/comment.py posts 60,000, and each section says what it leaves out.
LONGEST = 58_000
LONGEST_VALUE = 90
MAY_CATCH = ("Task", *graph.GROUPS)
CATCHES_NOTHING = "catches nothing: an error"
CATCHES_SOME = "does not catch every error: an error"
UPGRADING = "docs/operate/upgrade.md"
# What is paid for by the month, whatever happens.
MONTHLY = {DASHBOARD: prices.DASHBOARD, ALARM: prices.ALARM}
# Said in a section of their own.
ELSEWHERE = {"definition": "Workflows", "policy": "Permissions", "assumeRolePolicy": "Permissions"}


def plan(base: str, head: str | None, stack: str) -> str:
    """Compare two versions of this project.

    Parameters
    ----------
    base
        A branch, tag or commit: what is compared with is where the head left it.
    head
        The same; without it, the files as they are.
    stack
        A stack's name, or `all` that are deployed to AWS.

    Raises
    ------
    HourBankError
        A version is not there, or cannot be recorded.
    """
    stacks = tuple(name for name in recorder.STACKS if name != LOCAL) if stack == ALL else (stack,)
    if stack not in (ALL, *recorder.STACKS):
        raise HourBankError(f"there is no stack {stack}: the stacks are {', '.join(recorder.STACKS)}, or {ALL}")
    before, after = find(base, head)
    with tempfile.TemporaryDirectory(prefix="hourbank-plan-") as folder:
        trees = [extract(before, Path(folder, "base")), extract(after, Path(folder, "head")) if after else ROOT]
        names = [before[:10], after[:10] if after else "the files as they are"]
        with ThreadPoolExecutor(max_workers=2) as both:
            old, new = both.map(read, names, trees, [stacks, stacks])
    return render(old, new, stacks)


# --- the comparison ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Change:
    """A resource that is in both versions, and is not the same."""

    before: Resource
    after: Resource
    values: list[tuple[str, Any, Any]]
    """Path, old and new value, MISSING where there is none."""
    replaced: str = ""
    """Why it is replaced, in words; empty where it is changed in place."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What differs between two versions of a stack."""

    before: Stack
    after: Stack
    added: list[Resource] = field(default_factory=list)
    removed: list[Resource] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    gained: set[Right] = field(default_factory=set)
    lost: set[Right] = field(default_factory=set)
    outputs: list[tuple[str, Any, Any]] = field(default_factory=list)

    @property
    def replaced(self) -> list[Change]:
        """The changes that replace."""
        return [change for change in self.changed if change.replaced]


MISSING = object()


def compare(before: Stack, after: Stack) -> Difference:
    """Compare a stack with itself as it was."""
    changed = [
        Change(before=before.resources[key], after=resource, values=values)
        for key, resource in sorted(after.resources.items())
        if key in before.resources and (values := list(differing(shape(before.resources[key]), shape(resource))))
    ]
    had, has = rights(before.resources.values()), rights(after.resources.values())
    return Difference(
        before=before,
        after=after,
        added=[resource for key, resource in sorted(after.resources.items()) if key not in before.resources],
        removed=[resource for key, resource in sorted(before.resources.items()) if key not in after.resources],
        changed=with_reasons(changed, before, after),
        gained={right for right in has - had if not right.is_part_of(had)},
        lost={right for right in had - has if not right.is_part_of(has)},
        outputs=list(differing(before.outputs, after.outputs)),
    )


def shape(resource: Resource) -> dict[str, Any]:
    """All that counts of a resource; JSON in its inputs is read."""

    def read_json(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("{"):
            try:
                return json.loads(value)
            except ValueError:
                return value
        return value

    inputs = {name: read_json(value) for name, value in resource.inputs.items()}
    return inputs | {"component": resource.parent, "protect": resource.protect}


def differing(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The values that differ, by their path, such as `environment.variables.EVENT_BUS_NAME`."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            inner = f"{path}.{key}" if path else key
            yield from differing(before.get(key, MISSING), after.get(key, MISSING), inner)
    elif before != after:
        yield path, before, after


def with_reasons(changed: Sequence[Change], before: Stack, after: Stack) -> list[Change]:
    """Say which changes replace: by an input of their own, or because of what they belong to."""
    found = {key_of(change.after): replace(change, replaced=reason_of(change)) for change in changed}
    replaced = {f"${{{change.before.logical_id}}}": change.before for change in found.values() if change.replaced}
    for key in before.resources.keys() & after.resources.keys():
        resource = before.resources[key]
        owners = [replaced.get(str(resource.inputs.get(name))) for name in known(resource.type).replaced_by]
        change = found.get(key) or Change(before=resource, after=after.resources[key], values=[])
        if not change.replaced and (owner := next(filter(None, owners), None)):
            found[key] = replace(change, replaced=f"what it belongs to is replaced, {Names.of(owner)}")
    return [found[key] for key in sorted(found)]


def reason_of(change: Change) -> str:
    type_ = known(change.before.type)
    for path, old, new in change.values:
        # to set what the provider takes anyway replaces nothing
        default = type_.defaults.get(path, MISSING)
        if path in type_.replaced_by and {default if given is MISSING else given for given in (old, new)} != {default}:
            if MISSING in (old, new) and default is MISSING:
                return f"its {code(path)} is {'set' if old is MISSING else 'no longer set'}, unless that is the default"
            return f"its {code(path)} changes"
        if path == "component":
            return "it is another component's, unless that is given an alias"
    return ""


# --- Markdown ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the comment: a heading, and blocks that are left out whole where there is no room."""

    heading: str
    blocks: list[str]


def render(before: Version, after: Version, stacks: Sequence[str]) -> str:
    """The comment."""
    first = stacks[0]
    differences = {stack: compare(before.stacks[stack], after.stacks[stack]) for stack in stacks}
    sections = [
        *stack_sections(differences[first], first),
        Section(heading="Configuration", blocks=[*keys(before, after), *values(before, after, first)]),
        Section(heading="Code of the functions", blocks=list(archive(before, after))),
        Section(heading="Packages", blocks=list(packages(before, after))),
    ]
    sections = [section for section in sections if section.blocks]
    lines = [
        MARKER,
        f"## What this changes in {code(first)}",
        "",
        f"From {code(before.name)} to {code(after.name)}, as the program declares it: nothing was asked of AWS.",
        "",
    ]
    if not sections:
        lines.append(f"**No change** in what is deployed to {code(first)}.")
    else:
        lines.append(summary(differences[first], before, after))
    return fit("\n".join(lines) + "\n", sections, list(other_stacks(differences, before, after)))


def summary(difference: Difference, before: Version, after: Version) -> str:
    if difference.before.refused or difference.after.refused:
        return "The program refuses this stack."
    replaced = len(difference.replaced)
    parts = [
        f"{len(difference.added)} added",
        f"{len(difference.changed) - replaced} changed",
        f"{replaced} replaced",
        f"{len(difference.removed)} removed",
    ]
    parts[:] = [f"**{part}**" if not part.startswith("0 ") else part for part in parts]
    told = [f"Resources: {', '.join(parts)}"]
    if difference.gained or difference.lost:
        told.append(f"rights: {len(difference.gained)} gained, {len(difference.lost)} lost")
    if before.files != after.files:
        told.append("new code for every function")
    return "; ".join(told) + "."


def stack_sections(difference: Difference, stack: str) -> list[Section]:
    """What differs in one stack."""
    if refused := difference.after.refused or difference.before.refused:
        which = "now refuses" if difference.after.refused else "refused before"
        if difference.before.refused == difference.after.refused:
            which = "refuses, before and after,"
        return [Section(heading="Refused", blocks=[f"The program {which} the stack {code(stack)}: {code(refused)}"])]
    return [
        Section(heading="Before this is deployed", blocks=[f"- {line}" for line in warnings(difference)]),
        Section(heading="Permissions", blocks=list(permissions(difference))),
        Section(heading="Workflows", blocks=list(workflows(difference))),
        Section(heading="Cost", blocks=list(costs(difference))),
        Section(heading="Resources", blocks=list(resources(difference))),
    ]


def warnings(difference: Difference) -> Iterator[str]:
    """What an operator must know first: docs/operate/upgrade.md has the reasons."""
    if any(right.is_wide for right in difference.gained):
        yield "⚠️ Rights are gained for more than named actions on a named resource, or by anybody: see Permissions."
    names = Names(difference.before.resources.values())
    for resource in difference.removed:
        yield from losses(resource, "removed", names)
    for change in difference.replaced:
        yield from losses(change.before, "replaced", names)
    yield from less_caught(difference)
    if difference.lost:
        yield f"Rights are lost: executions that wait may need them for up to 74 days ({UPGRADING})."
    yield from unsafe(difference, names)
    yield from renamed(difference, names)


def less_caught(difference: Difference) -> Iterator[str]:
    """The states that end an execution now, by an error that nothing catches or an answer that no rule is for."""
    for machine in sorted(resource.name for resource in difference.after.of_type(MACHINE)):
        were = unguarded(difference.before.definition(machine))
        for name, left in unguarded(difference.after.definition(machine)).items():
            if were.get(name) not in (left, CATCHES_NOTHING):
                yield f"State {code(name)} of {code(machine)} {left} ends the execution, hours held."


def unsafe(difference: Difference, names: Names) -> Iterator[str]:
    """Values that are dangerous to change."""
    for change in difference.changed:
        for path, old, new in change.values:
            if path.endswith("_TABLE_NAME") and MISSING not in (old, new):
                yield f"The {names.of(change.before)} uses another table: executions that wait go on with the old one."
            if path == "protect" and old:
                yield f"The {names.of(change.before)} is protected no longer."


def renamed(difference: Difference, names: Names) -> Iterator[str]:
    """What is removed, and added under another name in the program but the same name on AWS."""
    gone = {(resource.type, name): resource for resource in difference.removed if (name := resource.inputs.get("name"))}
    for resource in difference.added:
        if same := gone.get((resource.type, resource.inputs.get("name"))):
            yield (
                f"The {names.of(same)} is {code(resource.name)} now, with its name on AWS: Pulumi would make the new "
                "one first, and fail. Give it an alias."
            )


def losses(resource: Resource, how: str, names: Names) -> Iterator[str]:
    """What it means for executions that a resource is removed or replaced."""
    named = names.of(resource)
    if resource.protect:
        yield f"The {named} is {how}, and protected: `pulumi up` will refuse."
    if resource.type == MACHINE:
        yield f"The {named} is {how}: its executions end at their next state, hours held."
    if resource.type == FUNCTION:
        yield f"The {named} is {how}: all its versions go with it, those that waiting executions call too."
    user = names.users.get(resource.logical_id, "")
    if user.startswith("workflow"):
        yield f"The role of the {user} is {how}: executions that run need the old one."


def permissions(difference: Difference) -> Iterator[str]:
    yield from (f"- {line}" for line in sentences(difference.gained, gained=True))
    yield from (f"- {line}" for line in sentences(difference.lost, gained=False))


def workflows(difference: Difference) -> Iterator[str]:
    """Each definition that differs: state by state, and as a picture."""
    machines = {resource.name for stack in (difference.before, difference.after) for resource in stack.of_type(MACHINE)}
    for machine in sorted(machines):
        before, after = difference.before.definition(machine) or {}, difference.after.definition(machine) or {}
        if before == after:
            continue
        yield f"**{code(machine)}**"
        lines = list(states(before, after))
        yield "\n".join(lines)
        merged, classes = diagram.compared(
            before or {"States": {}, "StartAt": ""}, after or {"States": {}, "StartAt": ""}
        )
        if any(said in ("added", "removed", "changed") for said in classes.values()):
            yield fenced("mermaid", diagram.mermaid(merged, classes=classes))


def states(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What differs state by state, also inside of a Parallel or a Map."""
    were, now = graph.places(before), graph.places(after)
    for path, old, new in differing({**before, "States": None}, {**after, "States": None}):
        yield f"- {code(path)}: {from_to(old, new)}"
    for name in sorted({*were, *now}):
        if name not in were:
            yield f"- {titled(name, now[name])} is added: {', '.join(inside(name, now[name].state))}"
        elif name not in now:
            yield f"- {titled(name, were[name])} is removed"
        else:
            yield from changed_state(name, were[name], now[name])


def titled(name: str, place: graph.Place) -> str:
    """Such as "state `A`", or "state `A` in `B`"."""
    return f"state {code(name)} in {code(place.within)}" if place.within else f"state {code(name)}"


def changed_state(name: str, before: graph.Place, after: graph.Place) -> Iterator[str]:
    title = titled(name, after)
    if before.within != after.within:
        yield f"- {title}: it was {f'in {code(before.within)}' if before.within else 'in no other state'}"
    were, now = without_insides(before.state), without_insides(after.state)
    for path, old, new in differing(were, now):
        led = [] if path not in ("Catch", "Choices") else list(leads(path, were, now))
        yield from (f"- {title}: {line}" for line in led)
        if not led or others(path, were, now):
            yield f"- {title}, {code(path)}: {from_to(old, new)}"


def without_insides(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state without the states inside of it, which are compared by themselves; branches by their number."""
    inner = [{key: part for key, part in inside.items() if key != "States"} for inside in graph.insides(state)]
    if not inner:
        return dict(state)
    if state["Type"] == "Parallel":
        return {**state, "Branches": {str(number): branch for number, branch in enumerate(inner, 1)}}
    return {**state, "ItemProcessor" if "ItemProcessor" in state else "Iterator": inner[0]}


def inside(name: str, state: Mapping[str, Any]) -> Iterator[str]:
    """What there is to know of a new state."""
    yield code(state["Type"])
    if call := graph.called(state):
        yield f"calls {code(call)}"
    drawn = flow_of({"States": {name: state}}).states[name]
    if drawn.kind == "group":
        yield from map(words, drawn.notes)
    elif drawn.notes:
        yield words(" ".join(drawn.notes))
    elif "TimeoutSeconds" in state:
        yield f"{code('TimeoutSeconds')} {value(state['TimeoutSeconds'])}"
    if state["Type"] in MAY_CATCH and "Catch" not in state:
        yield "catches nothing"


def words(text: str) -> str:
    """Words of flow's as they are, and as code what may have come from a definition."""
    return text if re.fullmatch(r"[a-z0-9 ,:-]+", text) else code(text)


# Of a state, by what differs: which of its ways say so.
CAUSES = {"Catch": Cause.CATCH, "Choices": Cause.CHOICE}


def leading(key: str, state: Mapping[str, Any]) -> dict[str, str]:
    """Where the ways of a state lead by its Catch or its Choices, by their words; the first of each counts."""
    ways = [way for way in graph.ways(state) if way.cause is CAUSES[key]]
    return {word_of(way, state): str(way.target) for way in reversed(ways)}


def leads(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Which errors or answers lead elsewhere than before."""
    led, lead = leading(key, before), leading(key, after)
    for word in dict.fromkeys([*reversed(led), *reversed(lead)]):
        old, new = led.get(word), lead.get(word)
        if old == new:
            continue
        if new is None:
            yield f"{words(word)} no longer leads to {code(str(old))}"
        elif old is None:
            yield f"{words(word)} now leads to {code(new)}"
        else:
            yield f"{words(word)} now leads to {code(new)}, no longer to {code(old)}"


def others(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether more differs in the ways that both versions have than where they lead, such as their order."""
    both = leading(key, before).keys() & leading(key, after).keys()

    def kept(state: Mapping[str, Any]) -> list[tuple[str, Any]]:
        return [
            (word, {name: part for name, part in way.rule.items() if name not in ("Next", "ErrorEquals")})
            for way in graph.ways(state)
            if way.cause is CAUSES[key] and (word := word_of(way, state)) in both
        ]

    return kept(before) != kept(after)


def unguarded(definition: Mapping[str, Any] | None) -> dict[str, str]:
    """What ends an execution in a state of the machine, with nothing done about it; endings have nothing to do.

    Inside of a Parallel or a Map an error ends all of it, so it is this which must catch.
    """
    left = {}
    for name, state in (definition or {}).get("States", {}).items():
        if state["Type"] == "Choice" and "Default" not in state:
            left[name] = "has no Default: what no rule is for"
        elif state["Type"] in MAY_CATCH and not graph.ends(state) and ANY_ERROR not in leading("Catch", state):
            left[name] = CATCHES_SOME if state.get("Catch") else CATCHES_NOTHING
    return left


def costs(difference: Difference) -> Iterator[str]:
    """What each path takes, by the definitions alone: states entered, functions called, and the price of both."""
    rows = [(story.outcome, price(difference.before, story), price(difference.after, story)) for story in STORIES]
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
        sum(len(stack.of_type(type_)) * price.each for type_, price in MONTHLY.items())
        for stack in (difference.before, difference.after)
    ]
    if idle[0] != idle[1]:
        yield f"Alarms and dashboards cost ${idle[1]:.2f} a month, ${idle[0]:.2f} before."


def price(stack: Stack, story: Story) -> tuple[str, str, str]:
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


def resources(difference: Difference) -> Iterator[str]:
    """Every resource that is added, removed, replaced or changed, and what of it."""
    for mark, what, found in (("➕", "added", difference.added), ("➖", "removed", difference.removed)):
        for resource in found:
            named = f" ({code(str(resource.inputs['name']))})" if "name" in resource.inputs else ""
            # what these types are is in no other section
            inputs = resource.inputs.items() if what == "added" and resource.type not in RESOURCE_TYPES else ()
            lines = [
                f"  - {code(path)}: {value(given)}"
                for path, given in sorted(inputs)
                if path not in ("name", *ELSEWHERE)
            ]
            yield "\n".join([f"- {mark} {Names.of(resource)} is {what}{named}", *lines])
    for change in difference.replaced:
        head = f"- 🔁 {Names.of(change.before)} is **replaced**: {change.replaced}"
        yield "\n".join([head, *value_lines(change)])
    alike: dict[tuple[str, ...], list[str]] = {}
    for change in difference.changed:
        if not change.replaced:
            alike.setdefault(tuple(value_lines(change)), []).append(Names.of(change.before))
    for lines, names in alike.items():
        head = f"- ✏️ {names[0]} changes" if len(names) == 1 else f"- ✏️ {len(names)} change alike: {', '.join(names)}"
        yield "\n".join([head, *lines])
    for path, old, new in difference.outputs:
        yield f"- output {code(path)}: {from_to(old, new)}"


def value_lines(change: Change) -> Iterator[str]:
    said: set[str] = set()
    for path, old, new in change.values:
        top = path.split(".")[0]
        if top not in ELSEWHERE:
            yield f"  - {code(path)}: {from_to(old, new)}"
        elif top not in said:
            said.add(top)
            yield f"  - {code(top)}: see {ELSEWHERE[top]}"


def keys(before: Version, after: Version) -> Iterator[str]:
    """The keys that Pulumi.yaml declares."""
    for key in sorted({*before.keys, *after.keys}):
        was, now = before.keys.get(key), after.keys.get(key)
        if now is None:
            yield f"- key {code(key)} is removed: a stack that sets it is refused"
        elif was is None:
            default = f"default {value(now['default'])}" if "default" in now else "**required**"
            yield f"- key {code(key)} is added: {code(now.get('type', 'string'))}, {default}"
        else:
            for path, old, new in differing(was, now):
                if path != "description":
                    yield f"- key {code(key)}, {code(path)}: {from_to(old, new)}"


def values(before: Version, after: Version, stack: str) -> Iterator[str]:
    """What a stack's file sets."""
    for path, old, new in differing(flat(before.config[stack]), flat(after.config[stack])):
        yield f"- {code(f'Pulumi.{stack}.yaml')}, {code(path)}: {from_to(old, new)}"


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A stack's values; a secret says nothing but that it is another."""
    return {
        key: f"a secret ({given['secure'][-6:]})" if isinstance(given, Mapping) and "secure" in given else given
        for key, given in config.items()
    }


def archive(before: Version, after: Version) -> Iterator[str]:
    """The archive that every function runs from."""
    if before.files == after.files:
        return
    grown = after.archive_bytes - before.archive_bytes
    yield (
        f"Every function gets a new version, and both workflows call it; executions that wait finish on the old. "
        f"The archive: {before.archive_bytes:,} → {after.archive_bytes:,} bytes ({grown:+,})."
    )
    lines = []
    for name in sorted({*before.files, *after.files}):
        old, new = before.files.get(name), after.files.get(name)
        if old != new:
            how = "added" if old is None else "removed" if new is None else "changed"
            size = len(new or b"") - len(old or b"")
            lines.append(f"- {code(name)} {how} ({size:+,} bytes)")
    yield "\n".join(lines) if len(lines) <= 20 else folded(f"{len(lines)} files", "\n".join(lines))


def packages(before: Version, after: Version) -> Iterator[str]:
    """What uv.lock moves. Both versions were recorded with what is installed here."""
    lines = [f"- {code(path)}: {from_to(old, new)}" for path, old, new in differing_packages(before, after)]
    if lines:
        yield (
            "`uv.lock` moves packages. Both versions were recorded with those installed here, so what a package "
            "changes by itself, in the archive or in what is declared, is not seen."
        )
        yield "\n".join(lines) if len(lines) <= 20 else folded(f"{len(lines)} packages", "\n".join(lines))


def differing_packages(before: Version, after: Version) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*before.packages, *after.packages}):
        old, new = before.packages.get(name, MISSING), after.packages.get(name, MISSING)
        if old != new:
            yield name, old, new


def other_stacks(differences: Mapping[str, Difference], before: Version, after: Version) -> Iterator[str]:
    """The stacks after the first: what differs there, folded, unless it is nothing, or the same."""
    first, *others = differences
    same = in_one(differences[first], before, after, first)
    for stack in others:
        body = in_one(differences[stack], before, after, stack)
        if not body:
            yield f"{code(stack)}: no change."
        elif body.replace(f"-{stack}", f"-{first}") == same:
            yield f"{code(stack)}: the same as {code(first)}."
        else:
            title = summary(differences[stack], before, after).replace("**", "")
            yield folded(f"{stack}: {title[0].lower()}{title[1:]}", body)


def in_one(difference: Difference, before: Version, after: Version, stack: str) -> str:
    sections = [
        *stack_sections(difference, stack),
        Section(heading="Configuration", blocks=list(values(before, after, stack))),
    ]
    return "\n".join(f"**{part.heading}**\n\n{joined(part.blocks)}" for part in sections if part.blocks)


def folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def fenced(language: str, body: str) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", body)), default=0))
    return f"{fence}{language}\n{body.rstrip()}\n{fence}"


def from_to(old: Any, new: Any) -> str:
    if old is MISSING:
        return f"{value(new)}, new"
    if new is MISSING:
        return f"{value(old)}, no longer"
    before, after = text_of(old), text_of(new)
    if max(len(before), len(after)) > LONGEST_VALUE:  # what both begin with is not what is looked for
        same = max(0, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))) - 25)
        before, after = (f"… {text[same:]}" if same else text for text in (before, after))
    return f"{value(before)} → {value(after)}"


def text_of(given: Any) -> str:
    return given if isinstance(given, str) else json.dumps(given, sort_keys=True, ensure_ascii=False)


def value(given: Any) -> str:
    """A value as code, shortened in its middle."""
    text = text_of(given)
    if len(text) > LONGEST_VALUE:
        text = f"{text[: LONGEST_VALUE - 30]} … {text[-25:]}"
    return code(text)


def fit(head: str, sections: Iterable[Section], folded_stacks: Sequence[str]) -> str:
    """All of it, or as many whole blocks as a comment takes, and how many are left out."""
    text = head
    left = LONGEST - len(head) - 200
    for section in sections:
        text += f"\n### {section.heading}\n\n"
        kept, cut = [], 0
        for block in section.blocks:
            if len(block) + 2 <= left and not cut:
                kept.append(block)
                left -= len(block) + 2
            else:
                cut += 1
        text += joined(kept)
        left -= len(section.heading) + 60
        if cut:
            text += f"\n… and {cut} more that a comment has no room for.\n"
    for block in folded_stacks:
        if len(block) + 2 <= left:
            text += f"\n{block}\n"
            left -= len(block) + 2
        else:
            text += "\nAnother stack is left out: a comment has no room for it.\n"
    return text


def joined(blocks: Sequence[str]) -> str:
    """The blocks, those of a list together."""
    text = ""
    for block in blocks:
        is_item = block.startswith("- ")
        gap = "" if not text or (is_item and text.rpartition("\n\n")[2].startswith("- ")) else "\n"
        text += f"{gap}{block}\n"
    return text
