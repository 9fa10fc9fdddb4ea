"""Lambda's event filtering, as far as patterns on a DynamoDB stream use it.

Written from https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html: a pattern's leaf is a list of
alternatives; all fields must match; `{"exists": false}` matches where the field is missing.
"""

from collections.abc import Mapping
from typing import Any

_MISSING = object()


def matches(pattern: Mapping[str, Any], record: Any) -> bool:
    """Return whether a stream record passes a pattern such as ``{"dynamodb": {"NewImage": {"id": ...}}}``.

    Raises
    ------
    ValueError
        For a kind of comparison that is not emulated here.
    """
    for name, expected in pattern.items():
        actual = record.get(name, _MISSING) if isinstance(record, Mapping) else _MISSING
        if isinstance(expected, Mapping):
            if not matches(expected, actual):
                return False
        elif not any(_alternative(alternative, actual) for alternative in expected):
            return False
    return True


def _alternative(alternative: Any, actual: Any) -> bool:
    if isinstance(alternative, Mapping):
        if list(alternative) != ["exists"]:
            raise ValueError(f"a filter uses {alternative}, which the tests do not emulate")
        # only leaves exist: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
        return (actual is not _MISSING and not isinstance(actual, Mapping)) == alternative["exists"]
    return actual is not _MISSING and actual == alternative
