"""routeServiceRequest: reads the ServiceRequest table's stream, starts executions and delivers answers.

It looks at the new image only, never at the kind of event, and writes nothing itself: touching a record repairs
whatever was missed.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NotConnected

from handlers.aws import dynamodb, environment
from handlers.aws.dynamodb import Item, client, from_image
from handlers.aws.telemetry import count, logger
from handlers.bank import requests
from handlers.bank.execution import LAST_NUMBER, RELEASE_PREFIX, REQUEST_PREFIX, described, execution_name, given_to

# A token that is late, used or unknown. AWS says TaskTimedOut for the first two.
_TOO_LATE = {"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"}


# Why a record is left alone, by what is to blame; the auditor looks after those that are left waiting.
WHY_IGNORED = requests.WHY_REFUSED | {
    "id": "Not started: the id is none that a record can have",
    "name": "Not started: all names that were tried are those of executions that ended with the work still to do",
}

# Of the function's time, what one call can take that is not answered: three tries of seven seconds, and their pauses.
_ONE_CALL_MILLISECONDS = 25_000

processor = BatchProcessor(event_type=EventType.DynamoDBStreams, raise_on_entire_batch_failure=False)


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """``{"batchItemFailures": [...]}``: what Lambda must deliver again."""
    return process_partial_response(event=event, record_handler=route_record, processor=processor, context=context)


class OutOfTime(Exception):
    """The function's time does not suffice for another call."""


def route_record(record: Any, lambda_context: Any) -> None:
    image = record.raw_event["dynamodb"].get("NewImage")
    if not image:
        return
    try:
        route_in_time(from_image(image), lambda_context)
    except Exception as error:
        # By name alone: the message of an AWS error can quote a task token. Ours about a setting cannot.
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        if isinstance(error, requests.IllegalSetting):
            code = str(error)
        logger.error("Not routed: it will be delivered again", error=code)
        raise


def route_in_time(request: Item, context: Any) -> None:
    """Routes, again and again where AWS is too busy, while there is time: of deliveries there are few.

    Raises
    ------
    OutOfTime
        There is none left; what comes later in the batch is not tried either.
    """
    for attempt in itertools.count():
        if context.get_remaining_time_in_millis() < _ONE_CALL_MILLISECONDS:
            raise OutOfTime
        try:
            route(request)
        except (ClientError, HTTPClientError, NotConnected) as error:
            if not _is_passing(error):
                raise
            dynamodb.pause(attempt)
        else:
            return


def _is_passing(error: Exception) -> bool:
    """Whether the same call may succeed in a moment."""
    if not isinstance(error, ClientError):
        return True
    return dynamodb.is_throttled(error) or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500


def route(request: Item) -> None:
    """Does what the record asks for, if anything."""
    if not dynamodb.is_key(request.get("id")):
        ignore("id")
        return
    logger.set_correlation_id(request["id"])
    match requests.asks_for(request):
        case ("START", _):
            start(environment.request_workflow(), REQUEST_PREFIX, request["id"], requests.is_due)
        case ("DELIVER", answer):
            deliver(request["taskToken"], answer)
        case ("FINISH", _):
            start(environment.release_workflow(), RELEASE_PREFIX, request["id"], requests.is_decided)
        case ("REFUSE", reason):
            ignore(reason)


def ignore(reason: str) -> None:
    """Leaves a record alone for what it is: once, because it would be refused each time that it is delivered."""
    logger.warning(WHY_IGNORED[reason])
    count("RequestIgnored", reason=reason)


def start(machine_arn: str, prefix: str, request_id: str, is_still: Callable[[Item], bool]) -> None:
    """Starts the request's execution, or the next one where an earlier one ended with the work still to do."""
    for number in _numbers():
        name = execution_name(prefix, request_id, number)
        try:
            client("stepfunctions").start_execution(
                stateMachineArn=machine_arn, name=name, input=json.dumps({"requestId": request_id})
            )
        except client("stepfunctions").exceptions.ExecutionAlreadyExists:
            request = requests.load(request_id)
            if request is None or not is_still(request) or _is_running(machine_arn, name, request_id):
                return
        else:
            logger.info("Started", execution=name)
            return
    ignore("name")


def _numbers() -> Iterator[int]:
    """1, 2, 3, ..., then any: whoever uses up names beforehand must not make the stream's other records wait."""
    yield from range(1, 10)
    yield from random.sample(range(10, LAST_NUMBER + 1), 10)


def _is_running(machine_arn: str, name: str, request_id: str) -> bool:
    """Whether the execution of this name runs, and for this request: whoever may start one may take any name."""
    execution_arn = f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
    execution = described(execution_arn)
    return execution["status"] == "RUNNING" and given_to(execution.get("input")).get("requestId") == request_id


def deliver(task_token: str, answer: str) -> None:
    """Passes an answer on to the execution that waits; one that waits no more is left alone."""
    try:
        client("stepfunctions").send_task_success(taskToken=task_token, output=json.dumps({"answer": answer}))
        logger.info("Delivered", answer=answer)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _TOO_LATE:
            raise
        logger.info("Not delivered: nobody waits for this answer any more", answer=answer)
        count("LateAnswer")
