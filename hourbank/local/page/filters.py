"""DynamoDB's expressions of Amplify's filters and conditions, as AppSync's $util.transform makes them.

https://docs.aws.amazon.com/appsync/latest/devguide/transformation-helpers-in-utils-transform.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hourbank.local import people

_COMPARE = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_CALL = {"beginsWith": "begins_with", "contains": "contains", "notContains": "NOT contains"}
_TYPES = {
    "binary": "B",
    "binarySet": "BS",
    "bool": "BOOL",
    "list": "L",
    "map": "M",
    "number": "N",
    "numberSet": "NS",
    "string": "S",
    "stringSet": "SS",
    "_null": "NULL",
}


class NotUnderstoodError(Exception):
    """A filter or condition says nothing that could be put into an expression."""


class FilterExpressions:
    """Expressions of one request, and the names and values that stand in them."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def parameters(self) -> dict[str, Any]:
        """Return what a request takes beside its expressions."""
        names = {"ExpressionAttributeNames": self._names} if self._names else {}
        values = {"ExpressionAttributeValues": people.item(self._values)} if self._values else {}
        return names | values

    def all_of(self, *conditions: Mapping[str, Any] | None) -> str:
        """Return the expression in which all of Amplify's filters or conditions hold; empty if they say nothing.

        Raises
        ------
        NotUnderstoodError
            If a test lacks what it compares with.
        """
        return _joined("AND", [self._of(condition) for condition in conditions if condition])

    def equals(self, name: str, value: Any) -> str:
        """Return the expression that an attribute has a value."""
        return f"{self._name(name)} = {self._value(value)}"

    def update(self, values: Mapping[str, Any]) -> str:
        """Return the update that stores values and removes those that are None; one is stored at least."""
        stored = [self.equals(name, value) for name, value in values.items() if value is not None]
        removed = [self._name(name) for name, value in values.items() if value is None]
        return f"SET {', '.join(stored)}" + (f" REMOVE {', '.join(removed)}" if removed else "")

    def _of(self, condition: Mapping[str, Any]) -> str:
        parts = []
        for name, test in condition.items():
            if test is None:
                continue
            if name in ("and", "or"):
                parts.append(_joined(name.upper(), [self._of(one) for one in test if one]))
            elif name == "not":
                inner = self._of(test)
                parts.append(inner and f"NOT ({inner})")
            elif test:
                parts.append(self._tests(self._name(name), test))
        return _joined("AND", parts)

    def _tests(self, path: str, tests: Mapping[str, Any]) -> str:
        return _joined("AND", [self._test(path, operator, value) for operator, value in tests.items()])

    def _test(self, path: str, operator: str, value: Any) -> str:
        if operator in _COMPARE:
            return f"{path} {_COMPARE[operator]} {self._value(value)}"
        if value is None or value == {} or (operator == "between" and len(value) != 2):
            raise NotUnderstoodError(operator)
        if operator in _CALL:
            return f"{_CALL[operator]}({path}, {self._value(value)})"
        if operator == "attributeExists":
            return f"attribute_exists({path})" if value else f"attribute_not_exists({path})"
        if operator == "attributeType":
            return f"attribute_type({path}, {self._value(_TYPES[value])})"
        if operator == "between":
            return f"{path} BETWEEN {self._value(value[0])} AND {self._value(value[1])}"
        return self._tests(f"size({path})", value)

    def _name(self, name: str) -> str:
        self._names[f"#{name}"] = name
        return f"#{name}"

    def _value(self, value: Any) -> str:
        name = f":v{len(self._values)}"
        self._values[name] = value
        return name


def _joined(word: str, parts: list[str]) -> str:
    # DynamoDB refuses parentheses that change nothing
    parts = [part for part in parts if part]
    return parts[0] if len(parts) == 1 else f" {word} ".join(f"({part})" for part in parts)
