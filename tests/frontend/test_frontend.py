"""What the browser's side says again in TypeScript: frontend/test/vectors.json, which its own tests read too."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest

from handlers.bank import endings, requests
from handlers.bank.execution import REQUEST_PREFIX, execution_name
from handlers.bank.hours import is_legal
from hourbank.hours import parse_hours
from hourbank.names import ROOT

VECTORS: dict[str, Any] = json.loads((ROOT / "frontend/test/vectors.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("request_id", "name"), VECTORS["executionNames"].items())
def test_an_execution_has_the_name_that_the_browser_gives_it(request_id: str, name: str) -> None:
    assert execution_name(REQUEST_PREFIX, request_id) == name


@pytest.mark.parametrize(("hours", "legal"), VECTORS["hours"].items())
def test_hours_are_legal_where_the_browser_takes_them(hours: str, legal: bool) -> None:
    assert is_legal(Decimal(hours)) is legal


@pytest.mark.parametrize(("text", "hours"), VECTORS["typedHours"].items(), ids=ascii)
def test_hours_are_read_as_the_browser_reads_them(text: str, hours: str) -> None:
    assert parse_hours(text) == Decimal(hours)
    assert is_legal(parse_hours(text))


@pytest.mark.parametrize(("text", "sentence"), VECTORS["refusedHours"].items(), ids=ascii)
def test_hours_are_refused_in_the_browsers_words(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        parse_hours(text)


def test_the_browser_knows_each_status_and_which_are_ends() -> None:
    assert {status: not followers for status, followers in requests.TRANSITIONS.items()} == VECTORS["ended"]


def test_the_browser_knows_each_code_that_the_workflows_write() -> None:
    table = (*endings.ENDINGS.values(), endings.FAILED, endings.GONE)
    reasons = [*(reason for _, reason in table), *endings.TIME_OUTS.values(), endings.by_operator("in words")]
    codes = {reason.code for reason in (*reasons, endings.ID_USED_BEFORE, endings.PROVIDER_WITHDREW)}
    assert codes == set(VECTORS["failureCodes"])


@pytest.mark.parametrize("answer", VECTORS["answers"], ids=lambda answer: answer["act"])
def test_what_the_browser_writes_is_an_answer(answer: dict[str, Any]) -> None:
    request = {"status": answer["status"], "taskToken": "token"}
    assert not requests.is_answered(request)
    assert not requests.is_decided(request)

    request |= answer["writes"]
    assert requests.is_answered(request) or requests.is_decided(request)
    assert requests.answer_awaited(request) != "UNKNOWN"


def test_the_packages_licence_is_the_projects() -> None:
    assert (ROOT / "frontend/LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
