"""ProcessNegotiation: fixes the provider's offer, stores the task token, then asks the requester."""

from typing import Any

from handlers.aws.dynamodb import Item
from handlers.aws.telemetry import logged
from handlers.bank import events, hours, waiting
from handlers.bank.errors import IllegalOffer
from handlers.bank.execution import Execution


@logged
def handler(event: dict[str, Any], context: Any) -> None:
    """Nothing: the answer comes with the token."""
    run = Execution.of(event)
    request = waiting.enter(run, event["taskToken"], "NEGOTIATING", fix_offer)
    events.publish("RequesterAsked", request)


def fix_offer(request: Item) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The offer as it stands now is what the requester is shown; an answer from before is not an answer to it."""
    offer = request.get("counterOfferHours")
    if not hours.is_legal(offer):
        raise IllegalOffer(f"The counter-offer must be {hours.LEGAL}")
    attributes: dict[str, Any] = {"offeredHours": offer}
    if request.get("requesterResponse") != "CANCELLED":
        attributes["requesterResponse"] = None
    return attributes, ("counterOfferHours", "requesterResponse")
