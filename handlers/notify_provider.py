"""WaitForProviderResponse: stores the task token, then asks the provider."""

from typing import Any

from handlers.aws import dynamodb
from handlers.aws.telemetry import logged
from handlers.bank import events, requests, waiting
from handlers.bank.execution import Execution


@logged
def handler(event: dict[str, Any], context: Any) -> None:
    """Nothing: the answer comes with the token."""
    run = Execution.of(event)
    request = waiting.enter(
        run, event["taskToken"], "AWAITING_PROVIDER", lambda _: ({requests.ASKED: dynamodb.now()}, ())
    )
    events.publish("ProviderAsked", request)
