"""Operators' looks at many requests: no table is read whole for what waits, and what helps is looked up for few."""

import io
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from rich.console import Console

from bench import scale
from handlers.bank import look
from hourbank.operate import executions, stuck
from hourbank.operate.audit import show_audit
from tests.operate.test_show import DEV


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many executions were described; each has failed."""
    calls: Counter[str] = Counter()

    def describe(arn: str) -> executions.DescribedExecution:
        calls["DescribeExecution"] += 1
        return executions.DescribedExecution(arn, "FAILED")

    for module in (executions, stuck):
        monkeypatch.setattr(module, "describe", describe, raising=False)
    monkeypatch.setattr(stuck, "variables", lambda _: {"PROVIDER_RESPONSE_TIMEOUT_SECONDS": "60"})
    return calls


@pytest.fixture
def made_up() -> Iterator[scale.MadeUp]:
    engine = scale.MadeUp(scale.Size(past=1_000_000, waiting=400, in_progress=0))
    with scale.asked(engine):
        yield engine


def test_what_is_stuck_is_found_without_the_past(made_up: scale.MadeUp, described: Counter[str]) -> None:
    seen: list[int] = []
    found = stuck.of_waits(DEV, scale.NOW, timedelta(days=14), 5, seen.append)
    assert len(found) == sum(seen) == 400
    assert described["DescribeExecution"] == 5 and [bool(one.remedies) for one in found].count(True) == 5
    assert made_up.calls.keys() == {"Query", "BatchGetItem"}


def test_an_audit_of_what_is_open_tells_as_many_as_are_asked_for(
    made_up: scale.MadeUp, described: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "listed", lambda *_: iter(()))
    monkeypatch.setattr(look, "execution_status", lambda _: "FAILED")
    out = Console(file=io.StringIO(), width=200)
    assert not show_audit(out, DEV, touch=False, only_open=True, limit=7)
    text = out.file.getvalue()
    assert "and 393 more, --limit shows more" in text and "400 requests read" in text
    assert described["DescribeExecution"] == 7
    assert "Scan" not in made_up.calls
