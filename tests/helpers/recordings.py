"""The program as tests read it: each stack with each configuration is evaluated once in a process."""

import json
from collections.abc import Iterator, Mapping
from functools import cache

import pytest

from hourbank.export import parameterised
from hourbank.program.recorder import Recording, record
from workflows import WORKFLOWS


def recorded(stack: str, config: Mapping[str, str] | None = None) -> Recording:
    """Return what `record` does: everybody's, so nobody changes it. A test that patches something calls `record`."""
    return _recorded(stack, json.dumps(dict(config or {}), sort_keys=True))


@cache
def _recorded(stack: str, config: str) -> Recording:
    return record(stack, config=json.loads(config))


@pytest.fixture(scope="module", autouse=True)
def exports_recorded_once() -> Iterator[None]:
    """A file that imports this shares the recordings of exports among its tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parameterised, "record", _exported)
        yield


_exported = cache(parameterised.record)


def called_versions(recording: Recording) -> set[str | None]:
    """The logical ids of the versions in a template: of the functions that a definition calls."""
    return {recording.named(name).version_id for workflow in WORKFLOWS.values() for name in workflow.FUNCTIONS}
