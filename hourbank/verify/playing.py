"""The demo's stories, played on a stack that is deployed, by people of verify's own; and all of it removed again.

Everybody and every request of a run have ids that begin with `verify-` and the run's number, and so have the names of
executions. Nobody else's hours are touched: what is read, written and removed is by these keys alone.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from components.models import MODELS
from handlers.bank.case import ENTRIES
from handlers.bank.hours import in_words
from hourbank import laws
from hourbank.account.stack import error_in_words
from hourbank.errors import HourBankError
from hourbank.laws import Item, Ledger
from hourbank.local import people
from hourbank.local.deployment import Deployment
from hourbank.local.patience import Patience
from hourbank.local.tables import plain
from hourbank.stories.stage import ENDS, Performance, Stage
from hourbank.stories.stories import BALANCES, DEMO, Story, expected_balances
from hourbank.terminal import one_line
from hourbank.verify.account import client
from hourbank.verify.events import Hearing
from hourbank.verify.program import Program
from hourbank.verify.verdicts import Verdict, found

ENDED, LAWS, REMOVED = "stories end as they must", "laws of the ledger, for verify's own people", "all is removed again"
PREFIX = "verify-"
LOOK_EVERY_SECONDS = 1.0
# for what an interrupted story left waiting: people say no, and each execution has seconds to do
ENDING_SECONDS = 90
WHY = "`hourbank show REQUEST_ID --stack NAME` tells a request's story, while it is there; see the function's log"

Say = Callable[[Performance, str], None]


@dataclass(frozen=True)
class OnAws(Deployment):
    """A stack where the user's settings lead."""

    clients: Callable[[str], Any] = field(default_factory=lambda: cache(client), compare=False)

    def client(self, service: str) -> Any:
        """Return the client of a service, made once."""
        return self.clients(service)

    def executions(self, request_id: str) -> list[dict[str, Any]]:
        """Return those with the request's names: a stack may have more than anybody should list."""
        return self.named_executions(request_id)


def deployment_of(program: Program) -> OnAws:
    return OnAws(
        endpoint="",
        tables=dict(program.tables),
        outputs={
            "serviceRequestWorkflowArn": program.machine(f"ServiceRequestWorkflow-{program.stack}"),
            "escrowManagementWorkflowArn": program.machine(f"EscrowManagementWorkflow-{program.stack}"),
        },
    )


def shortest_seconds(program: Program) -> int:
    """How long a request must at least give its provider on this stack."""
    variables = program.recording.named("validateServiceRequest").inputs["environment"]["variables"]
    return int(variables["MINIMUM_RESPONSE_TIMEOUT_SECONDS"])


def in_words_of(why: BaseException) -> str:
    """Say why a run did not come to its end."""
    if isinstance(why, BotoCoreError | ClientError):
        return error_in_words(why)
    return one_line(why) if isinstance(why, Exception) else "interrupted"


def of_a_run(stories: Sequence[Story], run: str, seconds: int) -> list[Story]:
    """Return stories with people of this run, in which nobody answers for as short a time as the stack allows."""
    return [
        replace(
            story,
            requester=f"{run}{story.requester}",
            provider=f"{run}{story.provider}",
            seconds_to_answer=story.seconds_to_answer and max(seconds, story.seconds_to_answer),
        )
        for story in stories
    ]


class Run:
    """One run: who takes part, what is played, and what is left to remove."""

    def __init__(
        self,
        deployment: Deployment,
        stories: Sequence[Story] = DEMO,
        *,
        env: str,
        seconds: int,
        patience: Patience | None = None,
    ) -> None:
        self.name = f"{PREFIX}{uuid.uuid4().hex[:8]}-"
        self.deployment = deployment
        self._dynamodb = deployment.client("dynamodb")
        self._patience = patience or Patience(ENDING_SECONDS)
        own = of_a_run(stories, self.name, seconds)
        self.balances = {f"{self.name}{who}": hours for who, hours in BALANCES.items()}
        self.people = sorted({*self.balances, *(who for story in own for who in (story.requester, story.provider))})
        self.stage = Stage(deployment, own, prefix=self.name, look_every=LOOK_EVERY_SECONDS)
        machine = deployment.outputs["serviceRequestWorkflowArn"]
        self.hearing = Hearing(deployment.client, env, machine, self.name)

    def play(self, say: Say) -> Iterator[Verdict]:
        """Play all, judge, and remove all whatever happens; what could not be removed is said last.

        Raises
        ------
        HourBankError
            It did not come to its end, and something could not be removed: the line says what.
        """
        try:
            self.hearing.begin()
            people.give_hours(self._dynamodb, self.deployment.tables, self.balances)
            self.stage.play(say)
            verdicts = [*self.judged(), *self.hearing.judged(self.stage.performances)]
        except BaseException as why:
            if left := [verdict.problem for verdict in self.removed() if verdict.problem]:
                raise HourBankError("; ".join([in_words_of(why), *left])) from why
            raise
        yield from verdicts
        yield from self.removed()

    # ---- judging

    def judged(self) -> Iterator[Verdict]:
        """Say of each story whether it ended as it must, and of each law whether it holds for these people."""
        for performance in self.stage.performances:
            yield found(ENDED, performance.story.title, performance.problem, WHY)
        before, after = self._before(), self.ledger()
        executions = [one for p in self.stage.performances for one in self.deployment.executions(p.request_id)]
        statuses = {one["executionArn"]: one["status"] for one in executions}
        must = {self.name + who: hours for who, hours in self._expected().items()}
        wrong = [
            f"{who} has {in_words(after.balance(who))} h, not {in_words(hours)} h"
            for who, hours in must.items()
            if after.balance(who) != hours
        ]
        for law, problems in (
            ("no hour is made or lost", laws.made_or_lost(before, after)),
            ("hours go where the escrow's status says, once", laws.hours_of_others(after)),
            ("no execution that has ended left hours held", laws.hours_held_for_nobody(after, statuses)),
            ("no task token is kept outside of a wait", laws.tokens_outside_a_wait(after, statuses)),
            ("everybody has what the stories say", wrong),
        ):
            yield found(LAWS, law, "; ".join(problems), WHY)

    def _before(self) -> Ledger:
        return Ledger(balances={who: {"availableBalance": hours} for who, hours in self.balances.items()})

    def _expected(self) -> Mapping[str, Decimal]:
        length = len(self.name)
        return expected_balances(
            [replace(p.story, requester=p.story.requester[length:], provider=p.story.provider[length:])
             for p in self.stage.performances]
        )  # fmt: skip

    def ledger(self) -> Ledger:
        """Read what there is of this run."""
        ids = [p.request_id for p in self.stage.performances if p.request_id]
        return Ledger(
            requests=self._items("serviceRequest", ids),
            escrows=self._items("escrow", ids),
            balances=self._items("userBalance", self.people),
            log=self._items("transactionLog", [f"{one}#{entry}" for one in ids for entry in ENTRIES]),
        )

    def _items(self, table: str, keys: Sequence[str]) -> dict[str, Item]:
        """Read items by their keys, at most 100."""
        name, key = self.deployment.tables[table], MODELS[table].hash_key
        items: dict[str, Item] = {}
        asked = {name: {"Keys": [{key: {"S": one}} for one in keys], "ConsistentRead": True}} if keys else {}
        while asked:
            answer = self._dynamodb.batch_get_item(RequestItems=asked)
            items |= {one[key]["S"]: plain(one) for one in answer["Responses"].get(name, ())}
            asked = answer.get("UnprocessedKeys", {})
        return items

    # ---- removing

    def removed(self) -> Iterator[Verdict]:
        """Remove what this run wrote, each request with its escrow and entries at once; say what is left, and why."""
        left: set[str] = set()
        try:
            for problem in self.hearing.end():
                yield found(REMOVED, "what listened to the bus", problem, "remove it by hand")
            self._let_end()
            for performance in self.stage.performances:
                if (request_id := performance.request_id) and (why := self._remove_request(request_id)):
                    left |= {performance.story.requester, performance.story.provider}
                    yield self._left(f"request {request_id}", why)
            for who in self.people:
                if who in left:
                    yield self._left(f"balance of {who}", "its request is still there")
                    continue
                self._delete({"userBalance": [who]})
        except (BotoCoreError, ClientError, KeyboardInterrupt) as error:
            why = "interrupted" if isinstance(error, KeyboardInterrupt) else error_in_words(error)
            yield self._left(f"something with an id that begins with {self.name}", why)
            return
        if not left:
            yield Verdict(claim=REMOVED, what=f"what begins with {self.name}")

    @staticmethod
    def _left(what: str, why: str) -> Verdict:
        remedy = "remove it by hand from the four tables, once its execution has ended"
        return found(REMOVED, what, f"{what} was not removed: {why}", remedy)

    def _remove_request(self, request_id: str) -> str:
        if running := [one for one in self.deployment.executions(request_id) if one["status"] == "RUNNING"]:
            return f"{running[0]['name']} of {running[0]['machine']} still runs"
        log = [f"{request_id}#{entry}" for entry in ENTRIES]
        self._delete({"serviceRequest": [request_id], "escrow": [request_id], "transactionLog": log})
        return ""

    def _delete(self, keys: Mapping[str, Iterable[str]]) -> None:
        self._dynamodb.transact_write_items(
            TransactItems=[
                {
                    "Delete": {
                        "TableName": self.deployment.tables[table],
                        "Key": {MODELS[table].hash_key: {"S": one}},
                    }
                }
                for table, all_of_it in keys.items()
                for one in all_of_it
            ]
        )

    def _let_end(self) -> None:
        """Say no in each request that still waits for somebody, and wait until no execution of the run goes on."""
        waiting = {p.request_id for p in self.stage.performances if p.request_id}
        said: set[tuple[str, str]] = set()
        while waiting:
            records = self._items("serviceRequest", sorted(waiting))
            for request_id, record in records.items():
                status = str(record.get("status"))
                if (request_id, status) not in said:
                    said.add((request_id, status))
                    self._say_no(request_id, status)
            waiting = {one for one in waiting if self._goes_on(one, records.get(one, {}))}
            if self._patience.is_over((sorted(said), sorted(waiting))):
                return
            if waiting:
                time.sleep(LOOK_EVERY_SECONDS)

    def _say_no(self, request_id: str, status: str) -> None:
        if status in laws.WAITING:
            people.requester_says(self._dynamodb, self.deployment.tables, request_id, "CANCELLED")
        elif status == "IN_PROGRESS":
            people.provider_says(self._dynamodb, self.deployment.tables, request_id, "WITHDRAWN")

    def _goes_on(self, request_id: str, record: Mapping[str, Any]) -> bool:
        """Whether anything may still happen: one that has not begun will, as soon as the stream is read."""
        if record and record.get("status") not in ENDS:
            return True
        return any(one["status"] == "RUNNING" for one in self.deployment.executions(request_id))
