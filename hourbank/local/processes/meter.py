"""What each invocation of a local function uses: loaded by `lambda_runtime` where `HOURBANK_METER` is set.

It must not import anything of this project. Write units are the engine's own figures, which the emulator has right: two
for each KB of each item of a transaction. It counts the check of a condition so too, where Amazon's own local engine
counts a read. Its figures for reads are not right (one for any item, none for a batch), so they are counted here by
AWS's rule, from the items that the engine gave:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

READ_UNIT = 4096
Image = Mapping[str, Mapping[str, Any]]


def size_of(item: Image) -> int:
    """Bytes of an item in DynamoDB's JSON.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html; values of the types
    that the tables' models do not have count as their JSON.
    """
    return sum(len(name.encode()) + size_of_value(*next(iter(value.items()))) for name, value in item.items())


def size_of_value(kind: str, value: Any) -> int:
    if kind == "S":
        return len(value.encode())
    if kind == "N":
        return math.ceil(len(value.lstrip("-").replace(".", "").strip("0")) / 2) + 1
    return 1 if kind in ("NULL", "BOOL") else len(json.dumps(value))


def read_units(items: Iterable[Image]) -> int:
    """Units of a consistent read of each; one that is not there, and is given empty, costs a unit as well."""
    return sum(max(1, math.ceil(size_of(item) / READ_UNIT)) for item in items)


def units_read(operation: str, asked: Mapping[str, Any], given: Mapping[str, Any]) -> float | None:
    """Return the units that a call has read; None if it is no read."""
    if operation == "GetItem":
        return read_units([given.get("Item", {})]) * share(asked)
    if operation in ("Scan", "Query"):
        # what a filter or a projection leaves out is read as well, which only the engine sees: nothing of ours pays so
        size = sum(map(size_of, given["Items"]))
        return max(1, math.ceil(size / READ_UNIT)) * share(asked)
    if operation == "BatchGetItem":
        units = 0.0
        for table, wanted in asked["RequestItems"].items():
            left = given.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
            items = given["Responses"].get(table, [])
            missing = len(wanted["Keys"]) - len(left) - len(items)
            units += (read_units(items) + missing) * share(wanted)
        return units
    if operation == "TransactGetItems":
        return 2 * read_units(one.get("Item") or {} for one in given["Responses"])
    return None


def share(asked: Mapping[str, Any]) -> float:
    return 1 if asked.get("ConsistentRead") else 0.5


class Meter:
    """Writes a line of JSON for each invocation; made before a handler is imported.

    A line has `function`, `in_execution` (or called by a stream or a schedule), `requests` (ids), `memory` (MB),
    `milliseconds`, `initialisation` (milliseconds that the process took before its first invocation; only that one has
    it), `read` and `write` (DynamoDB's request units), `refused` (calls that DynamoDB answered with an error), `events`
    (told to the bus), `printed` (bytes) and `metrics` (name and dimensions of each). Nothing of events and items is
    written down: they have task tokens in them.
    """

    def __init__(self, file: Path) -> None:
        self._began = time.perf_counter()
        import boto3

        self._file, self._is_first = file, True
        self._clear()
        sys.stdout = self  # type: ignore[assignment]  # Powertools keeps the stream that it finds at its import
        boto3.setup_default_session()
        events = boto3.DEFAULT_SESSION.events  # type: ignore[union-attr]
        events.register("provide-client-params.dynamodb.*", self._ask)
        events.register("after-call.dynamodb.*", self._count)
        events.register("after-call.events.PutEvents", self._count_events)

    def around(self, handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Return the handler, metered."""

        def metered(event: Any, context: Any) -> Any:
            started = time.perf_counter()
            self._clear()
            try:
                return handler(event, context)
            finally:
                ended = time.perf_counter()
                line = {
                    "function": context.function_name,
                    "in_execution": "execution" in event,
                    "requests": requests_of(event),
                    "memory": int(context.memory_limit_in_mb),
                    "milliseconds": (ended - started) * 1000,
                    **({"initialisation": (started - self._began) * 1000} if self._is_first else {}),
                    **self._used,
                }
                self._is_first = False
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")

        return metered

    def write(self, text: str) -> int:
        """Count what is printed, and pass it on."""
        self._used["printed"] += len(text.encode())
        if '"_aws"' in text:  # CloudWatch's embedded metric format
            line = json.loads(text)
            for told in line["_aws"]["CloudWatchMetrics"]:
                dimensions = {name: line[name] for name in sorted(told["Dimensions"][0])}
                self._used["metrics"] += [[metric["Name"], dimensions] for metric in told["Metrics"]]
        return sys.__stdout__.write(text)  # type: ignore[union-attr]

    def flush(self) -> None:
        """Pass it on."""
        sys.__stdout__.flush()  # type: ignore[union-attr]

    def _clear(self) -> None:
        self._used: dict[str, Any] = {"read": 0, "write": 0, "refused": 0, "events": 0, "printed": 0, "metrics": []}

    def _ask(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        context["asked"] = params
        if "ReturnConsumedCapacity" in model.input_shape.members:
            params["ReturnConsumedCapacity"] = "TOTAL"

    def _count(self, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        if "Error" in parsed:
            self._used["refused"] += 1
            return
        units = units_read(model.name, context["asked"], parsed)
        if units is not None:
            self._used["read"] += units
            return
        consumed = parsed["ConsumedCapacity"]
        self._used["write"] += sum(
            one["CapacityUnits"] for one in (consumed if isinstance(consumed, list) else [consumed])
        )

    def _count_events(self, parsed: dict[str, Any], **_: Any) -> None:
        self._used["events"] += len(parsed.get("Entries", []))


def requests_of(event: Mapping[str, Any]) -> list[str]:
    """The ids of the requests that an event is about: of a stream's records, or of an execution."""
    if "execution" in event:
        return [event["execution"]["Input"]["requestId"]]
    return [record["dynamodb"]["Keys"]["id"]["S"] for record in event.get("Records", [])]
