"""Records that the stream's reader gave up on.

The records of the stream can have a task token in them: nothing of them is shown but ids. Nothing is changed here.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import NamedTuple

from handlers.aws.dynamodb import client
from handlers.bank.case import Case
from handlers.bank.missed import is_missed, missed_in_words
from hourbank.account.stack import Stack
from hourbank.operate.executions import load_cases
from hourbank.operate.remedies import Trouble, touch

# How long the queue hides a message that is looked at, should this process not live to show it again.
HIDDEN_SECONDS = 60
# GetRecords may give empty pages; a batch has at most 25 records.
_MOST_PAGES = 100


class Failure(NamedTuple):
    """What Lambda queued about a batch of stream records that the router could not process; not the records."""

    condition: str
    arrived: datetime | None
    size: int
    place: dict[str, str]


def of_stream(stack: Stack, limit: int) -> tuple[list[Trouble], list[str], bool]:
    """Return the requests whose records were given up on and are still to be processed, a line on each message of the
    queue, and whether there are more messages than ``limit``.
    """
    failures, more = peek(stack, limit)
    lines: list[str] = []
    pending: dict[str, Case] = {}
    for failure in failures:
        records = f"{failure.size} record{'s' if failure.size != 1 else ''}"
        line = f"{failure.arrived:%Y-%m-%d %H:%M} UTC, " if failure.arrived else ""
        line += f"{records} ({failure.condition}): "
        ids = resolve(failure)
        if ids is None:
            lines.append(line + "no longer in the stream; `audit --touch` finds what they asked for")
            continue
        cases = load_cases(ids)
        due = {id_: case for id_, case in cases.items() if case.request and is_missed(case.request)}
        pending |= due
        done = (
            f"{', '.join(sorted(cases.keys() - due.keys()))} has nothing left to do"
            if cases.keys() - due.keys()
            else ""
        )
        lines.append(line + ", ".join(filter(None, (*due, done))))
    return (
        [
            Trouble(
                kind="STREAM",
                what=missed_in_words(case.request or {}),
                request_id=id_,
                hours=case.held,
                remedies=touch(stack),
            )
            for id_, case in pending.items()
        ],
        lines,
        more,
    )


def peek(stack: Stack, limit: int) -> tuple[list[Failure], bool]:
    """Return what the queue says, and whether there is more; every message is there again for others at once."""
    queue, sqs, seen = queue_url(stack), client("sqs"), {}
    try:
        while len(seen) <= limit:
            answer = sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=HIDDEN_SECONDS, WaitTimeSeconds=1
            )
            if not answer.get("Messages"):
                break
            seen |= {message["MessageId"]: message for message in answer["Messages"]}
    finally:
        handles = [message["ReceiptHandle"] for message in seen.values()]
        for start in range(0, len(handles), 10):
            entries = [
                {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                for number, handle in enumerate(handles[start : start + 10])
            ]
            sqs.change_message_visibility_batch(QueueUrl=queue, Entries=entries)
    return [failure_of(message["Body"]) for message in list(seen.values())[:limit]], len(seen) > limit


def queue_url(stack: Stack) -> str:
    """Return the address of the queue of failures."""
    url: str = client("sqs").get_queue_url(QueueName=stack.queue)["QueueUrl"]
    return url


def failure_of(body: str) -> Failure:
    """Return what a message of the queue says.

    Its form: https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
    """
    try:
        message = json.loads(body)
        batch = message["DDBStreamBatchInfo"]
        return Failure(
            condition=message["requestContext"]["condition"],
            arrived=datetime.fromisoformat(batch["approximateArrivalOfFirstRecord"]).astimezone(UTC),
            size=batch["batchSize"],
            place={name: batch[name] for name in ("streamArn", "shardId", "startSequenceNumber", "endSequenceNumber")},
        )
    except (KeyError, TypeError, ValueError):
        return Failure("not a message of Lambda's", None, 0, {})


def resolve(failure: Failure) -> list[str] | None:
    """Return the ids of the requests whose records these were; None where the stream (24 hours) has lost them."""
    if not failure.place:
        return None
    streams, found, last = client("dynamodbstreams"), [], int(failure.place["endSequenceNumber"])
    gone = (
        streams.exceptions.ExpiredIteratorException,
        streams.exceptions.ResourceNotFoundException,
        streams.exceptions.TrimmedDataAccessException,
    )
    try:
        iterator = streams.get_shard_iterator(
            StreamArn=failure.place["streamArn"],
            ShardId=failure.place["shardId"],
            ShardIteratorType="AT_SEQUENCE_NUMBER",
            SequenceNumber=failure.place["startSequenceNumber"],
        ).get("ShardIterator")
        for _ in range(_MOST_PAGES):
            if not iterator:
                break
            page = streams.get_records(ShardIterator=iterator)
            for record in page["Records"]:
                if int(record["dynamodb"]["SequenceNumber"]) > last:
                    return found
                if (request_id := record["dynamodb"]["Keys"]["id"]["S"]) not in found:
                    found.append(request_id)
                if int(record["dynamodb"]["SequenceNumber"]) == last:
                    return found
            iterator = page.get("NextShardIterator")
    except gone:
        return None
    return found or None
