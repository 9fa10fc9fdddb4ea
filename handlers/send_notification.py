"""sendNotification: mails people what the bus tells them. An example of a consumer, deployed where the stack asks.

The bus and the queue both deliver at least once: an eventId that was mailed is dropped. A mail that SES took while the
function was ended before it could note so is sent again.
"""

import functools
import json
import re
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from botocore.exceptions import ClientError

from handlers.aws import environment
from handlers.aws.dynamodb import client
from handlers.aws.telemetry import logger
from handlers.texts import mail

# longer than an execution can be redriven, which tells what it told again
REMEMBERED_SECONDS = 30 * 24 * 60 * 60

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """``{"batchItemFailures": [...]}``: what the queue must deliver again."""
    return process_partial_response(event=event, record_handler=notify_record, processor=processor, context=context)


def notify_record(record: Any, lambda_context: Any) -> None:
    try:
        event = json.loads(record.body)
        logger.set_correlation_id(event["detail"]["requestId"])
        notify(event, lambda_context)
    except Exception as error:
        # By name alone: the message of an AWS error can quote an address.
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        logger.error("Not mailed: it will be delivered again", error=code)
        raise


def notify(event: dict[str, Any], context: Any) -> None:
    """Mails an event as EventBridge brings it, once."""
    config = IdempotencyConfig(
        expires_after_seconds=REMEMBERED_SECONDS,
        lambda_context=context,
        # an id is what a client typed: two with one MD5 can be made
        hash_function="sha256",
    )
    once = idempotent_function(tell, data_keyword_argument="event_id", persistence_store=mailed(), config=config)
    once(event_id=event["detail"]["eventId"], event=event)


@functools.cache
def mailed() -> DynamoDBPersistenceLayer:
    return DynamoDBPersistenceLayer(table_name=environment.mailed_table(), boto3_client=client("dynamodb"))


def tell(event_id: str, event: dict[str, Any]) -> None:
    kind, detail = event["detail-type"], event["detail"]
    # An execution that began before people had events of their own tells without a role.
    role = detail.get("role") or ("provider" if kind == "ProviderAsked" else "requester")
    person = person_of(detail["userId"])
    address = person.get("email") if person.get("email_verified") == "true" else None
    text = mail(kind, role, detail["status"], person.get("locale", ""))
    if not address or not text:
        logger.info("Nothing to mail", reason="no text" if address else "no verified address", event_id=event_id)
        return
    client("sesv2").send_email(
        FromEmailAddress=environment.notify_from(),
        Destination={"ToAddresses": [address]},
        Content={
            "Simple": {
                "Subject": {"Data": text.subject, "Charset": "UTF-8"},
                "Body": {"Text": {"Data": text.text, "Charset": "UTF-8"}},
            }
        },
    )
    logger.info("Mailed", event_id=event_id)


def person_of(user_id: str) -> dict[str, str]:
    """The attributes of the pool's user with this ``sub``; empty for nobody, and for somebody who may not sign in.

    By ListUsers: AdminGetUser asks for a username, which is the sub only where people sign in with an alias.
    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListUsers.html
    """
    # A providerId is what a client typed: never the filter's syntax, nor a call that Cognito refuses.
    # On a laptop a sub is a person's name.
    if not re.fullmatch(r"\w[\w .-]{0,127}", user_id):
        return {}
    answer = client("cognito-idp").list_users(UserPoolId=environment.user_pool(), Filter=f'sub = "{user_id}"', Limit=1)
    return {
        attribute["Name"]: attribute["Value"]
        for user in answer["Users"]
        if user.get("Enabled")
        for attribute in user["Attributes"]
    }
