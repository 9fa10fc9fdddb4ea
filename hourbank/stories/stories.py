"""The stories of a request: who asks whom, what people then do and when, how it must end, and what every balance must
show for it. Each has the path that it takes through both workflows, which is what is priced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

BALANCES = {
    "ana": Decimal(20),
    "ben": Decimal(5),
    "chloé": Decimal("7.5"),
    "dai": Decimal(12),
    "ewa": Decimal(2),
    "farid": Decimal(10),
}
NEWCOMER = "gus"  # no balance yet: the first release creates it

# A state, and how it is left: an error that it catches, or what a Choice compares with.
Ways = Mapping[str, str]


@dataclass(frozen=True)
class Turn:
    """What a person does as soon as the request has a status: `provider` or `requester` gives `response`."""

    status: str
    who: str
    response: str
    counter_offer: Decimal | None = None

    @property
    def words(self) -> str:
        """What is done, to follow a name."""
        offer = f" of {self.counter_offer} h" if self.counter_offer is not None else ""
        return {
            "ACCEPTED": "accepts",
            "REJECTED": "declines",
            "COUNTER_OFFER": "makes a counter-offer",
            "WITHDRAWN": "withdraws",
            "CANCELLED": "cancels",
            "COMPLETED": "confirms the service",
        }[self.response] + offer


@dataclass(frozen=True, eq=False)
class Story:
    """A request from submission to its end.

    Attributes
    ----------
    hours : Decimal
        What the requester asks for.
    paid : Decimal
        What the provider must have been paid at the end; 0 where everything is given back.
    states : tuple of str
        The states that its executions must pass, in this order (others may lie between).
    outcome : str
        What becomes of it, to follow "a request that is".
    request_ways, release_ways : mapping
        The decisions on its way through ServiceRequestWorkflow, and through EscrowManagementWorkflow where it is
        started: `hourbank.cost.paths` finds the states that it passes.
    seconds_to_answer : int
        What the request gives people to answer; None for what the stack gives, which nobody can miss.
    """

    title: str
    requester: str
    provider: str
    service: str
    hours: Decimal
    turns: tuple[Turn, ...]
    status: str
    states: tuple[str, ...]
    outcome: str
    request_ways: Ways
    release_ways: Ways | None = None
    paid: Decimal = Decimal(0)
    seconds_to_answer: int | None = None


ACCEPTED = {"CheckProviderResponse": "ACCEPTED"}
OFFERED = {"CheckProviderResponse": "COUNTER_OFFER"}

RELEASED = Story(
    title="Accepted, completed and released",
    requester="ana",
    provider="ben",
    service="gardening",
    hours=Decimal(3),
    turns=(Turn("AWAITING_PROVIDER", "provider", "ACCEPTED"), Turn("IN_PROGRESS", "requester", "COMPLETED")),
    status="COMPLETED",
    states=("EscrowHours", "WaitForProviderResponse", "StartServiceExecution", "ProcessEscrowRelease"),
    paid=Decimal(3),
    outcome="accepted and released",
    request_ways=ACCEPTED,
    release_ways={"CheckDecision": "RELEASE"},
)
DECLINED = Story(
    title="Declined",
    requester="ben",
    provider="chloé",
    service="a bicycle repair",
    hours=Decimal(1),
    turns=(Turn("AWAITING_PROVIDER", "provider", "REJECTED"),),
    status="DECLINED",
    states=("WaitForProviderResponse", "RefundEscrow"),
    outcome="declined",
    request_ways={"CheckProviderResponse": "REJECTED"},
)
NOBODY_ANSWERS = Story(
    title="Nobody answers",
    requester="dai",
    provider="ewa",
    service="moving a piano",
    hours=Decimal(4),
    turns=(),
    status="TIMED_OUT",
    states=("WaitForProviderResponse", "TimeoutRequest", "TimedOut"),
    seconds_to_answer=5,
    outcome="timed out",
    request_ways={"WaitForProviderResponse": "States.Timeout", "CheckProviderResponse": "TIMED_OUT"},
)
OFFER_ACCEPTED = Story(
    title="Counter-offer, accepted and adjusted",
    requester="chloé",
    provider=NEWCOMER,
    service="French lessons",
    hours=Decimal("2.5"),
    turns=(
        Turn("AWAITING_PROVIDER", "provider", "COUNTER_OFFER", Decimal("3.25")),
        Turn("NEGOTIATING", "requester", "ACCEPTED"),
        Turn("IN_PROGRESS", "requester", "COMPLETED"),
    ),
    status="COMPLETED",
    states=("ProcessNegotiation", "AdjustEscrow", "StartServiceExecution", "ProcessEscrowRelease"),
    paid=Decimal("3.25"),
    outcome="counter-offer accepted and released",
    request_ways=OFFERED | {"CheckRequesterResponse": "ACCEPTED"},
    release_ways={"CheckDecision": "RELEASE"},
)
OFFER_DECLINED = Story(
    title="Counter-offer, declined",
    requester="farid",
    provider="ben",
    service="a cake",
    hours=Decimal(1),
    turns=(
        Turn("AWAITING_PROVIDER", "provider", "COUNTER_OFFER", Decimal(2)),
        Turn("NEGOTIATING", "requester", "REJECTED"),
    ),
    status="DECLINED",
    states=("ProcessNegotiation", "CheckRequesterResponse", "RefundEscrow"),
    outcome="counter-offer declined",
    request_ways=OFFERED | {"CheckRequesterResponse": "Default"},
)
CANCELLED = Story(
    title="Cancelled before an answer",
    requester="farid",
    provider="ana",
    service="babysitting",
    hours=Decimal(2),
    turns=(Turn("AWAITING_PROVIDER", "requester", "CANCELLED"),),
    status="CANCELLED",
    states=("WaitForProviderResponse", "RefundEscrow"),
    outcome="cancelled",
    request_ways={"CheckProviderResponse": "CANCELLED"},
)
WITHDRAWN = Story(
    title="Withdrawn while in progress",
    requester="ana",
    provider="farid",
    service="painting a fence",
    hours=Decimal(6),
    turns=(Turn("AWAITING_PROVIDER", "provider", "ACCEPTED"), Turn("IN_PROGRESS", "provider", "WITHDRAWN")),
    status="CANCELLED",
    states=("StartServiceExecution", "ValidateEscrowRelease", "RefundEscrow"),
    outcome="withdrawn",
    request_ways=ACCEPTED,
    release_ways={"CheckDecision": "REFUND"},
)
NOT_ENOUGH_HOURS = Story(
    title="Not enough hours",
    requester="ewa",
    provider="dai",
    service="tax advice",
    hours=Decimal(5),
    turns=(),
    status="REJECTED",
    states=("ValidateRequest", "RejectRequest"),
    outcome="not enough hours",
    request_ways={"ValidateRequest": "InsufficientBalance"},
)
INVALID = Story(
    title="Invalid",
    requester="ana",
    provider="ana",
    service="a favour to herself",
    hours=Decimal(1),
    turns=(),
    status="REJECTED",
    states=("ValidateRequest", "RejectRequest"),
    outcome="invalid",
    request_ways={"ValidateRequest": "ValidationFailed"},
)
# What usually happens first.
STORIES = (
    RELEASED,
    DECLINED,
    NOBODY_ANSWERS,
    OFFER_ACCEPTED,
    OFFER_DECLINED,
    CANCELLED,
    WITHDRAWN,
    NOT_ENOUGH_HOURS,
    INVALID,
)
# Those that the demo plays, in the order in which they begin: the longest first.
DEMO = (
    NOBODY_ANSWERS,
    RELEASED,
    OFFER_ACCEPTED,
    DECLINED,
    WITHDRAWN,
    CANCELLED,
    NOT_ENOUGH_HOURS,
)


def expected_balances(stories: Sequence[Story]) -> dict[str, Decimal]:
    """Return what each person must have after the stories."""
    balances = dict(BALANCES)
    for story in stories:
        if story.paid:
            balances[story.requester] -= story.paid
            balances[story.provider] = balances.get(story.provider, Decimal(0)) + story.paid
    return balances
