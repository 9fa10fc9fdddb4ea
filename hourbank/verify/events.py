"""What people are told of verify's stories: the bus's events, heard by a rule and a queue of the run's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from handlers.bank.events import TOLD
from hourbank.account.bus import SOURCE, Listener
from hourbank.account.checks import Outcome
from hourbank.account.stack import error_in_words
from hourbank.local.patience import Patience
from hourbank.stories.stage import Performance
from hourbank.verify.verdicts import Verdict, found

CLAIM = "people are told what happens, on the bus"
WHY = "the function that tells it has a log; the contract is in handlers/bank/events.py"
RIGHTS = "the rights are in docs/review/policies/verify.json"
# what verify puts on the bus itself, to know when the rule has begun to work: nobody else's rule is for it
TRIAL = "hourbank.verify"
# a new rule works after a short while, and what was told comes at once
HEARS_WITHIN_SECONDS = 90
# the state that tells, and the event: to whom, the contract says
TELLING = {
    "WaitForProviderResponse": "ProviderAsked",
    "ProcessNegotiation": "RequesterAsked",
    "StartServiceExecution": "ServiceStarted",
}
# an event, the role and the id of who is told, and the status
Told = tuple[str, str, str, str]


def must_be_told(performance: Performance) -> set[Told]:
    """Return what people must be told of a story that has ended, by the states that it passed."""
    story = performance.story
    people = {"requester": story.requester, "provider": story.provider}
    events = [TELLING[state] for _, states in performance.paths for state in states if state in TELLING]
    told = {(event, role, people[role], TOLD[event][0]) for event in events for role in TOLD[event][1]}
    end = {("RequestEnded", role, people[role], story.status) for role in people}
    # the provider of a request that ends before it is asked hears nothing of it
    return told | {one for one in end if events or one[1] == "requester"}


class Hearing:
    """Hears what a run's stories tell.

    Parameters
    ----------
    client : callable
        Returns the client of a service.
    env : str
        The stack.
    machine : str
        An ARN in the stack's account and region.
    run : str
        What the ids of the run's requests begin with: no other's event is heard.
    patience : Patience, optional
        When to give up where nothing comes.
    """

    def __init__(
        self, client: Callable[[str], Any], env: str, machine: str, run: str, patience: Patience | None = None
    ) -> None:
        self._client, self._run = client, run
        self.patience = patience or Patience(HEARS_WITHIN_SECONDS)
        pattern = {"source": [SOURCE, TRIAL], "detail": {"requestId": [{"prefix": run}]}}
        self._listener = Listener(client, env, machine, pattern)
        self._heard: list[dict[str, Any]] = []
        self._deaf = "it was not tried"

    def begin(self) -> None:
        """Listen, and wait until an event of verify's own has come; where that is not possible, `judged` says why."""
        try:
            self._listener.subscribe()
            self._try()
            while not self._listener.look():
                if self.patience.is_over():
                    self._deaf = f"a rule on {self._listener.bus} brought nothing for {self.patience.seconds:.0f} s"
                    return
                self._try()
        except (BotoCoreError, ClientError) as error:
            self._deaf = error_in_words(error)
        else:
            self._deaf = ""

    def _try(self) -> None:
        detail = json.dumps({"requestId": f"{self._run}trial"})
        trial = {"EventBusName": self._listener.bus, "Source": TRIAL, "DetailType": "Trial", "Detail": detail}
        self._client("events").put_events(Entries=[trial])

    def judged(self, performances: Sequence[Performance]) -> Iterator[Verdict]:
        """Say of each story that ended as it must whether people were told all of it, and nothing else."""
        must = {one.request_id: must_be_told(one) for one in performances if not one.problem}
        try:
            if not self._deaf:
                self._hear(must)
        except (BotoCoreError, ClientError) as error:
            self._deaf = error_in_words(error)
        if self._deaf:
            problem = f"not heard: {self._deaf}"
            yield Verdict(claim=CLAIM, what="the bus", outcome=Outcome.UNSEEN, problem=problem, remedy=RIGHTS)
            return
        for performance in performances:
            if performance.request_id in must:
                problem = self._problem(performance.request_id, must[performance.request_id])
                yield found(CLAIM, performance.story.title, problem, WHY)

    def _hear(self, must: dict[str, set[Told]]) -> None:
        """Look until there is nothing more, and all that must be there is, or will not come."""
        while True:
            news = self._listener.look()
            self._heard += news
            lacks = any(told - self._told(request_id).keys() for request_id, told in must.items())
            if not news and (not lacks or self.patience.is_over(len(self._heard))):
                return

    def _told(self, request_id: str) -> dict[Told, set[Any]]:
        """What people were told of a request, with the ids of the events that told it."""
        told: dict[Told, set[Any]] = {}
        for event in self._heard:
            detail = event["detail"]
            if event["source"] == SOURCE and detail["requestId"] == request_id:
                role, who, status = (str(detail.get(name)) for name in ("role", "userId", "status"))
                one = (event["detail-type"], role, who, status)
                told.setdefault(one, set()).add(detail.get("eventId"))
        return told

    def _problem(self, request_id: str, must: set[Told]) -> str:
        told = self._told(request_id)
        problems = [f"{in_words(one)} was not told" for one in sorted(must - told.keys())]
        problems += [f"{in_words(one)} was told, and must not be" for one in sorted(told.keys() - must)]
        ids = [one for each in told.values() for one in each]
        if None in ids or len(set(ids)) != len(told) or len(ids) != len(told):
            problems.append("what is told once has not one eventId of its own")
        return "; ".join(problems)

    def end(self) -> list[str]:
        """Listen no more, and say what could not be removed."""
        return self._listener.remove()


def in_words(told: Told) -> str:
    event, role, who, status = told
    return f"{event} to {who} as the {role} ({status})"
