"""Two versions of a stack, compared resource by resource."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hourbank.program.recorder import Resource
from hourbank.program.resource_types import known
from hourbank.review.markdown import code
from hourbank.review.rights import Names, Right, rights
from hourbank.review.values import MISSING, differing
from hourbank.review.versions import DeclaredStack, key_of


@dataclass(frozen=True, kw_only=True)
class ResourceChange:
    """A resource that is in both versions, and is not the same."""

    before: Resource
    after: Resource
    values: list[tuple[str, Any, Any]]
    """Path, old and new value, MISSING where there is none."""
    replaced: str = ""
    """Why it is replaced, in words; empty where it is changed in place."""


@dataclass(frozen=True, kw_only=True)
class StackDifference:
    """What differs between two versions of a stack."""

    before: DeclaredStack
    after: DeclaredStack
    added: list[Resource] = field(default_factory=list)
    removed: list[Resource] = field(default_factory=list)
    changed: list[ResourceChange] = field(default_factory=list)
    gained: set[Right] = field(default_factory=set)
    lost: set[Right] = field(default_factory=set)
    outputs: list[tuple[str, Any, Any]] = field(default_factory=list)

    @property
    def replaced(self) -> list[ResourceChange]:
        """The changes that replace."""
        return [change for change in self.changed if change.replaced]


def compare(before: DeclaredStack, after: DeclaredStack) -> StackDifference:
    """Compare a stack with itself as it was."""
    changed = [
        ResourceChange(before=before.resources[key], after=resource, values=values)
        for key, resource in sorted(after.resources.items())
        if key in before.resources and (values := list(differing(shape(before.resources[key]), shape(resource))))
    ]
    had, has = rights(before.resources.values()), rights(after.resources.values())
    return StackDifference(
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


def with_reasons(
    changed: Sequence[ResourceChange], before: DeclaredStack, after: DeclaredStack
) -> list[ResourceChange]:
    """Say which changes replace: by an input of their own, or because of what they belong to."""
    found = {key_of(change.after): replace(change, replaced=reason_of(change)) for change in changed}
    replaced = {f"${{{change.before.logical_id}}}": change.before for change in found.values() if change.replaced}
    for key in before.resources.keys() & after.resources.keys():
        resource = before.resources[key]
        owners = [replaced.get(str(resource.inputs.get(name))) for name in known(resource.type).replaced_by]
        change = found.get(key) or ResourceChange(before=resource, after=after.resources[key], values=[])
        if not change.replaced and (owner := next(filter(None, owners), None)):
            found[key] = replace(change, replaced=f"what it belongs to is replaced, {Names.of(owner)}")
    return [found[key] for key in sorted(found)]


def reason_of(change: ResourceChange) -> str:
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
