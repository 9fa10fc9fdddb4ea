"""The stage: plays stories on a deployment, all at once.

It only looks at the tables and at Step Functions, and writes only what people may write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from handlers.aws.dynamodb import date_time
from hourbank.local import people
from hourbank.local.deployment import Deployment
from hourbank.local.patience import STALLED_SECONDS, Patience
from hourbank.local.tables import plain
from hourbank.stories.stories import BALANCES, DEMO, Story, Turn

OLD_RECORDS = 100
LOOK_EVERY_SECONDS = 0.1
# Between the starts of two stories, so that they share Lambda processes instead of starting a set each.
STAGGER_SECONDS = 0.7
ENDS = frozenset({"COMPLETED", "REJECTED", "DECLINED", "CANCELLED", "TIMED_OUT", "FAILED"})


@dataclass
class Performance:
    """A story while it is played.

    Attributes
    ----------
    seen : list of str
        The request's statuses, each once, as far as they were noticed.
    paths : list
        Machine and states of each of its executions, in the order of their start; set when it has ended.
    statuses : list of str
        Of the same executions.
    problem : str
        Why it did not end as it must; empty otherwise.
    """

    story: Story
    starts_at: float
    request_id: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    turns_done: int = 0
    doing: str = "waits for its turn"
    seen: list[str] = field(default_factory=list)
    submitted: float = 0.0
    seconds: float = 0.0
    ended: bool = False
    paths: list[tuple[str, list[str]]] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    problem: str = ""


def old_records() -> list[dict[str, Any]]:
    """Return requests as they were in the table before the workflows: pending for years, with hours to hold."""
    names = list(BALANCES)
    created = datetime.now(UTC) - timedelta(days=365)
    return [
        people.request_record(
            requester=names[number % len(names)],
            provider=names[(number + 1) % len(names)],
            hours=Decimal(1),
            service="from before the workflows",
            created=date_time(created + timedelta(hours=number)),
        )
        for number in range(OLD_RECORDS)
    ]


class Stage:
    """Plays stories on a deployment, all at once; `step` is called until it returns False.

    Parameters
    ----------
    patience : float
        Seconds without anything new, after which what has not ended never will: a problem of those stories.
    prefix : str
        What the ids of the requests begin with.
    look_every : float
        Seconds between two looks of `play`: an account has few looks at executions a second for all who look.
    """

    def __init__(
        self,
        deployment: Deployment,
        stories: Sequence[Story] = DEMO,
        *,
        patience: float = STALLED_SECONDS,
        prefix: str = "",
        look_every: float = LOOK_EVERY_SECONDS,
    ) -> None:
        self.deployment = deployment
        self._patience = Patience(patience)
        self._prefix, self._look_every = prefix, look_every
        start = time.monotonic()
        self.performances = [
            Performance(story, starts_at=start + number * STAGGER_SECONDS) for number, story in enumerate(stories)
        ]
        self._dynamodb = deployment.client("dynamodb")

    def play(self, say: Callable[[Performance, str], None] = lambda _performance, _what: None) -> list[Performance]:
        """Play all to their ends, and tell `say` what happens."""
        while self.step(say):
            time.sleep(self._look_every)
        return self.performances

    def step(self, say: Callable[[Performance, str], None]) -> bool:
        """Look once, let people do what is due, tell `say` what happened; True while a story is still being played."""
        now = time.monotonic()
        for performance in self.performances:
            if not performance.request_id and now >= performance.starts_at:
                self._submit(performance, say)
        self._refresh()
        is_over = self._patience.is_over([(p.record.get("status"), p.turns_done, p.ended) for p in self.performances])
        for performance in self.performances:
            if performance.request_id and not performance.ended:
                performance.seconds = now - performance.submitted
                self._advance(performance, say, is_over=is_over)
        return not all(performance.ended for performance in self.performances)

    def _submit(self, performance: Performance, say: Callable[[Performance, str], None]) -> None:
        story = performance.story
        record = people.request_record(
            requester=story.requester,
            provider=story.provider,
            hours=story.hours,
            service=story.service,
            seconds_to_answer=story.seconds_to_answer,
        )
        if self._prefix:
            # without a dash: what ends in one and digits is no part of an execution's name
            record["id"] = self._prefix + record["id"].replace("-", "")
        # known before it is there: whoever removes it, also when this is interrupted, must find it
        performance.request_id = record["id"]
        people.submit(self._dynamodb, self.deployment.tables, record)
        performance.submitted = time.monotonic()
        performance.doing = f"{story.requester} asks {story.provider} for {story.service}, {story.hours} h"
        say(performance, performance.doing)

    def _refresh(self) -> None:
        live = {p.request_id: p for p in self.performances if p.request_id and not p.ended}
        if not live:
            return
        table = self.deployment.tables["serviceRequest"]
        keys = [{"id": {"S": request_id}} for request_id in live]
        answer = self._dynamodb.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
        for item in answer["Responses"][table]:
            record = plain(item)
            live[record["id"]].record = record

    def _advance(self, performance: Performance, say: Callable[[Performance, str], None], *, is_over: bool) -> None:
        story, status = performance.story, performance.record.get("status")
        if status and status not in performance.seen:
            performance.seen.append(status)
            say(performance, status)
        if performance.turns_done < len(story.turns):
            turn = story.turns[performance.turns_done]
            if status == turn.status:
                self._take(performance, turn)
                say(performance, performance.doing)
        elif status == story.status:
            self._end(performance)
        if not performance.ended:
            performance.problem = self._stuck(performance, is_over=is_over)
            performance.ended = bool(performance.problem)

    def _take(self, performance: Performance, turn: Turn) -> None:
        story, tables = performance.story, self.deployment.tables
        if turn.who == "provider":
            people.provider_says(
                self._dynamodb, tables, performance.request_id, turn.response, counter_offer=turn.counter_offer
            )
        else:
            people.requester_says(self._dynamodb, tables, performance.request_id, turn.response)
        performance.turns_done += 1
        performance.doing = f"{story.provider if turn.who == 'provider' else story.requester} {turn.words}"

    def _end(self, performance: Performance) -> None:
        """End the story when its executions have, and compare the states they passed."""
        executions = self.deployment.executions(performance.request_id)
        if any(execution["status"] == "RUNNING" for execution in executions):
            return
        performance.ended = True
        performance.paths = [(e["machine"], self.deployment.path(e["executionArn"])) for e in executions]
        performance.statuses = [e["status"] for e in executions]
        failed = next((e for e in executions if e["status"] != "SUCCEEDED"), None)
        passed = iter(state for _, path in performance.paths for state in path)
        missing = [state for state in performance.story.states if state not in passed]  # consumes: keeps the order
        if failed:
            performance.problem = _failure(failed)
        elif missing:
            performance.problem = f"its executions did not pass {missing[0]}"

    def _stuck(self, performance: Performance, *, is_over: bool) -> str:
        """Return why the story cannot end as it must any more, in words; empty while it still can."""
        status, story = performance.record.get("status"), performance.story
        if is_over:
            waited = f"after {performance.seconds:.0f} s"
        elif status in ENDS and status != story.status:
            waited = "at the end"
        else:
            return ""
        problem = f"expected {story.status}, saw {status or 'no status'} {waited}"
        if reason := performance.record.get("failureReason"):
            problem += f": {reason}"
        for execution in self.deployment.executions(performance.request_id):
            if execution["status"] == "FAILED":
                problem += f"; {_failure(execution)}"
        return problem


def _failure(execution: dict[str, Any]) -> str:
    return f"{execution['machine']} {execution['status']}, {execution.get('error')}: {execution.get('cause')}"
