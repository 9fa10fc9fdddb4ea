"""What `make measured` measured last: a month's bill is worked out from it in a moment, the same on every machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hourbank.cost.measure import Measurement, Played, Usage
from hourbank.stories.stories import STORIES

FILE = Path(__file__).with_name("measured.json")
AUDITS = ("idle_audit", "idle_week", "audit")


def plain(measurement: Measurement) -> dict[str, Any]:
    """A measurement as plain values, each story by what becomes of it."""
    values = {key: value for key, value in vars(measurement).items() if key not in ("stories", *AUDITS)}
    return {
        "stories": {story.outcome: asdict(played) for story, played in measurement.stories.items()},
        **{key: asdict(getattr(measurement, key)) for key in AUDITS},
        **values,
    }


def measurement(document: Mapping[str, Any]) -> Measurement:
    """The way back of `plain`."""
    stories = {
        story: Played(states=played["states"], usage=Usage(**played["usage"]))
        for story in STORIES
        for played in [document["stories"][story.outcome]]
    }
    values: dict[str, Any] = {**document, "stories": stories, **{key: Usage(**document[key]) for key in AUDITS}}
    return Measurement(**values)


def read() -> Measurement:
    """Return what was measured last."""
    return measurement(json.loads(FILE.read_text(encoding="utf-8")))


def write(measured: Measurement) -> None:
    """Keep what was measured."""
    FILE.write_text(json.dumps(plain(measured), indent=1) + "\n", encoding="utf-8")
