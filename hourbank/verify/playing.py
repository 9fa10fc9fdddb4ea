"""The demo's stories, played on a stack that is deployed, by people of verify's own; and all of it removed again.

Everybody and every request of a run have ids that begin with `verify-` and the run's number, and so have the names of
executions. Its people get their hours from the bank, for a reason of verify's own. Nobody else's hours are touched:
what is read, written and removed is by these keys, and those of the grants' entries, alone.
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
from handlers.bank.ledger import GRANT, grant_id
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
REASON = "hourbank verify"
TOGETHER = "it is removed together with a request that is still there"
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
        self._env = env
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
            people.grant_hours(self.deployment.client("lambda"), self._env, self.balances, reason=REASON)
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
        after = self.ledger()
        executions = [one for p in self.stage.performances for one in self.deployment.executions(p.request_id)]
        statuses = {one["executionArn"]: one["status"] for one in executions}
        must = {self.name + who: hours for who, hours in self._expected().items()}
        wrong = [
            f"{who} has {in_words(after.balance(who))} h, not {in_words(hours)} h"
            for who, hours in must.items()
            if after.balance(who) != hours
        ]
        for law, problems in (
            ("no hour is made or lost", laws.made_or_lost(Ledger(), after)),
            ("the bank grants hours once for a reason, and gets none back", laws.grants_out_of_place(after)),
            ("hours go where the escrow's status says, once", laws.hours_of_others(after)),
            ("no execution that has ended left hours held", laws.hours_held_for_nobody(after, statuses)),
            ("no task token is kept outside of a wait", laws.tokens_outside_a_wait(after, statuses)),
            ("everybody has what the stories say", wrong),
        ):
            yield found(LAWS, law, "; ".join(problems), WHY)

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
            log=self._items("transactionLog", [*_entries(ids), *self._grants(self.people)]),
        )

    @staticmethod
    def _grants(who: Iterable[str]) -> list[str]:
        """Return the keys of the entries by which people got their hours."""
        return [f"{grant_id(one, REASON)}#{GRANT}" for one in who]

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
        """Remove what this run wrote, and say what is left, and why.

        People who share requests are removed at once, with these and all entries: no auditor ever sees some of it.
        """
        left = False
        try:
            for problem in self.hearing.end():
                yield found(REMOVED, "what listened to the bus", problem, "remove it by hand")
            self._let_end()
            for who, request_ids in self._groups():
                running = {one: why for one in request_ids if (why := self._still_runs(one))}
                if not running:
                    self._remove(who, request_ids)
                    continue
                left = True
                for one in request_ids:
                    yield self._left(f"request {one}", running.get(one, TOGETHER))
                for one in sorted(who):
                    yield self._left(f"balance of {one}", TOGETHER)
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

    def _groups(self) -> list[tuple[set[str], list[str]]]:
        """Return the run's people, each with those who share requests with them, and the ids of these requests."""
        groups: list[tuple[set[str], list[str]]] = [({one}, []) for one in self.people]
        for performance in self.stage.performances:
            if not performance.request_id:
                continue
            both = {performance.story.requester, performance.story.provider}
            shared = [group for group in groups if group[0] & both]
            who = set[str]().union(*(people for people, _ in shared))
            requests = [one for _, ids in shared for one in ids]
            groups = [group for group in groups if group not in shared] + [(who, [*requests, performance.request_id])]
        return groups

    def _still_runs(self, request_id: str) -> str:
        running = [one for one in self.deployment.executions(request_id) if one["status"] == "RUNNING"]
        return f"{running[0]['name']} of {running[0]['machine']} still runs" if running else ""

    def _remove(self, who: Iterable[str], request_ids: Sequence[str]) -> None:
        keys = {
            "serviceRequest": request_ids,
            "escrow": request_ids,
            "userBalance": sorted(who),
            "transactionLog": [*_entries(request_ids), *self._grants(who)],
        }
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


def _entries(request_ids: Iterable[str]) -> list[str]:
    """Return the keys of all entries that requests may have in the log."""
    return [f"{one}#{entry}" for one in request_ids for entry in ENTRIES]
