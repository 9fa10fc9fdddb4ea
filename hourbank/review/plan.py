"""`hourbank plan`: what a change of this project changes in what is deployed, as Markdown for a pull request.

Two versions are recorded, and compared resource by resource. Nothing is asked of AWS or of Pulumi's state: it says what
the program declares, not what has drifted.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hourbank.errors import HourBankError
from hourbank.names import PROJECT, stack_name
from hourbank.program import recorder
from hourbank.program.configuration import SECRET, UNKNOWN
from hourbank.program.recorder import Resource
from hourbank.program.resource_types import FUNCTION, MACHINE, RESOURCE_TYPES
from hourbank.review.clone import Commits, clone, extract, find, place, prefix
from hourbank.review.compare import ResourceChange, StackDifference, compare
from hourbank.review.costs import costs
from hourbank.review.markdown import Section, code, fit, folded, joined
from hourbank.review.rights import Names, sentences
from hourbank.review.values import MISSING, differing, from_to, value
from hourbank.review.versions import Version, nothing, read, unknown_in
from hourbank.review.workflows import less_caught, workflows

ALL = "all"
# What is never deployed.
LOCAL = "local"
MARKER = "<!-- hourbank plan -->"
UPGRADING = "docs/operate/upgrade.md"
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
    stack = stack_name(stack)
    stacks = tuple(name for name in recorder.STACKS if name != LOCAL) if stack == ALL else (stack,)
    if stack not in (ALL, *recorder.STACKS):
        raise HourBankError(f"there is no stack {stack}: the stacks are {', '.join(recorder.STACKS)}, or {ALL}")
    commits = find(base, head)
    names = [commits.before[:10], commits.after[:10] if commits.after else "the files as they are"]
    was_in, is_in = place(commits.before), place(commits.after) if commits.after else None
    if commits.after and is_in is None:
        raise HourBankError(f"{names[1]} does not have this program: name a head that has")
    with tempfile.TemporaryDirectory(prefix="hourbank-plan-") as folder, ThreadPoolExecutor(max_workers=2) as both:
        tree = extract(commits.after, is_in or "", Path(folder, "head")) if commits.after else clone()
        trees = [tree] if was_in is None else [tree, extract(commits.before, was_in, Path(folder, "base"))]
        unknown = [unknown_in(name, tree, stacks) for name, tree in zip(reversed(names), trees, strict=False)]
        # what one of the two does not show cannot be compared
        veils = {stack: {key: word for one in unknown for key, word in one[stack].items()} for stack in stacks}
        new, *olds = both.map(read, reversed(names), trees, [veils, veils])
        old = olds[0] if olds else nothing(names[0], stacks)
        return render(old, new, stacks, list(remarks(commits, was_in, is_in)))


def remarks(commits: Commits, was_in: str | None, is_in: str | None) -> Iterator[str]:
    """What there is to know of the two versions."""
    base = code(commits.before[:10])
    if not commits.have_common:
        yield f"The two have no commit in common: both are compared as they are, also in what {base} did by itself."
    if was_in is None:
        yield f"{base} does not have this program: all of it is new."
    elif was_in != (is_in if commits.after else prefix()):
        yield f"In {base} the program is in {code(was_in or './')}."


def render(before: Version, after: Version, stacks: Sequence[str], remarks: Sequence[str] = ()) -> str:
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
        *(line for remark in remarks for line in (remark, "")),
        *unopened(after, first),
    ]
    if not sections:
        lines.append(f"**No change** in what is deployed to {code(first)}.")
    else:
        lines.append(summary(differences[first], before, after))
    return fit("\n".join(lines) + "\n", sections, list(other_stacks(differences, before, after)))


def unopened(version: Version, stack: str) -> Iterator[str]:
    """What of a stack's configuration is unknown here, as only Pulumi can open it."""
    said = [f"{code(key)} {why}" for key, why in sorted(version.unknown.get(stack, {}).items())]
    if environments := version.environments.get(stack):
        said.append(f"{', '.join(map(code, environments))} of Pulumi ESC may set more")
    if said:
        yield f"Unknown here, as only Pulumi can open it: {'; '.join(said)}."
        yield ""


def summary(difference: StackDifference, before: Version, after: Version) -> str:
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
    if before.files != after.files and before.files and after.files:
        told.append("new code for every function")
    return "; ".join(told) + "."


def stack_sections(difference: StackDifference, stack: str) -> list[Section]:
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


def warnings(difference: StackDifference) -> Iterator[str]:
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


def unsafe(difference: StackDifference, names: Names) -> Iterator[str]:
    """Values that are dangerous to change."""
    for change in difference.changed:
        for path, old, new in change.values:
            if path.endswith("_TABLE_NAME") and MISSING not in (old, new):
                uses = "may use" if UNKNOWN in re.split(r"\W", f"{old} {new}") else "uses"
                who = names.of(change.before)
                yield f"The {who} {uses} another table: executions that wait go on with the old one."
            if path == "protect" and old:
                yield f"The {names.of(change.before)} is protected no longer."


def renamed(difference: StackDifference, names: Names) -> Iterator[str]:
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


def permissions(difference: StackDifference) -> Iterator[str]:
    yield from (f"- {line}" for line in sentences(difference.gained, gained=True))
    yield from (f"- {line}" for line in sentences(difference.lost, gained=False))


def resources(difference: StackDifference) -> Iterator[str]:
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


def value_lines(change: ResourceChange) -> Iterator[str]:
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
    yield from changed_values("Pulumi.yaml", before.project, after.project)
    for key in sorted({*before.keys, *after.keys}):
        was, now = before.keys.get(key), after.keys.get(key)
        if now is None and f"{PROJECT}:{key}" in after.project:
            continue  # given to every stack now
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
    yield from changed_values(f"Pulumi.{stack}.yaml", before.config[stack], after.config[stack])
    old, new = (version.environments.get(stack, ()) for version in (before, after))
    if old != new:
        yield f"- {code(f'Pulumi.{stack}.yaml')}, {code('environment')}: {from_to(list(old), list(new))}"


def changed_values(file: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """The values of a file; a secret says nothing but that it is another."""
    for path, old, new in differing(before, after):
        was, now = veiled(old), veiled(new)
        how = "a secret is encrypted anew, and may be another" if was == now else from_to(was, now)
        yield f"- {code(file)}, {code(path)}: {how}"


def veiled(given: Any) -> Any:
    """A value in which a secret says nothing but that it is one."""
    if isinstance(given, dict):
        return {key: veiled(inner) for key, inner in given.items()}
    if isinstance(given, list):
        return [veiled(inner) for inner in given]
    return "a secret" if isinstance(given, str) and given.startswith(SECRET) else given


def archive(before: Version, after: Version) -> Iterator[str]:
    """The archive that every function runs from; a version that the program refuses has none to compare."""
    if before.files == after.files or not (before.files and after.files):
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


def other_stacks(differences: Mapping[str, StackDifference], before: Version, after: Version) -> Iterator[str]:
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


def in_one(difference: StackDifference, before: Version, after: Version, stack: str) -> str:
    sections = [
        *stack_sections(difference, stack),
        Section(heading="Configuration", blocks=list(values(before, after, stack))),
    ]
    return "\n".join(f"**{part.heading}**\n\n{joined(part.blocks)}" for part in sections if part.blocks)
