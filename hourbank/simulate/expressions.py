"""DynamoDB's condition and update expressions, read once and kept: a world evaluates a few thousand of them a second.

Written from https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html, and compared with
DynamoDB Local by `tests/contention`. Reserved words are not known here: expressions of ours use placeholders.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact
from functools import lru_cache
from typing import Any, NamedTuple

Value = Mapping[str, Any]
"""An attribute's value in DynamoDB's JSON, such as ``{"N": "1.5"}``."""
Image = Mapping[str, Value]

_TOKEN = re.compile(r"\s*(<=|>=|<>|[=<>(),+\-.\[\]]|[:#]?\w+)")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_TYPES = ("N", "BS", "L", "B", "NULL", "M", "S", "SS", "NS", "BOOL")
LARGEST_EXPONENT, SMALLEST_EXPONENT = 125, -130
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_EXACT = Context(prec=38, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact])
_ANY = Context(prec=5000, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


class DynamoDBRefusal(Exception):
    """DynamoDB's "no": its code, its words, and the reasons of a cancelled transaction."""

    def __init__(self, code: str, message: str, reasons: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.reasons = code, message, reasons


def invalid(message: str) -> DynamoDBRefusal:
    """Return the refusal of what no item could make right."""
    return DynamoDBRefusal("ValidationException", message)


class Illegal(Exception):
    """An update that does not fit the item as it is."""


def number(text: str) -> str:
    """Return a number as DynamoDB answers it: plain digits, without zeros that say nothing.

    Raises
    ------
    Refusal
        For more than 38 digits, or a magnitude outside 1E-130 to 9.9E+125.
    """
    if not _NUMBER.fullmatch(text):
        raise invalid("A value provided cannot be converted into a number")
    return plain_digits(_ANY.create_decimal(text))


def plain_digits(value: Decimal) -> str:
    """Return the digits of a number that DynamoDB can store; see `number`."""
    if not value:
        return "0"
    if not value.is_finite() or value.adjusted() > LARGEST_EXPONENT:
        raise invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
    if value.adjusted() < SMALLEST_EXPONENT:
        raise invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
    try:
        return f"{value.normalize(_EXACT):f}"
    except Inexact:
        raise invalid("DynamoDB only supports precision up to 38 digits") from None


class Scope(NamedTuple):
    """What an expression is about: an item, and what its placeholders stand for."""

    item: Image
    names: Mapping[str, str]
    values: Mapping[str, Value]


Test = Callable[[Scope], bool]
Operand = Callable[[Scope], "Value | None"]
Path = tuple["str | int", ...]


@dataclass
class Expression:
    """One expression: what it does with an item, and which placeholders it uses."""

    names: set[str] = field(default_factory=set)
    values: set[str] = field(default_factory=set)
    holds: Test = lambda _: True
    steps: list[tuple[str, Path, Operand | None]] = field(default_factory=list)


class _Reader:
    """A recursive descent over one expression's tokens."""

    def __init__(self, text: str) -> None:
        self.text, self._tokens, position = text, [], 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if not match:
                raise invalid(f"Invalid expression: Syntax error; token: {text[position : position + 1]}")
            self._tokens.append(match[1])
            position = match.end()
        self._at = 0
        self.made = Expression()

    @property
    def next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, *wanted: str) -> str:
        token = self.next
        if not token or (wanted and token.upper() not in wanted):
            raise invalid(f'Invalid expression: Syntax error; token: "{token or "<EOF>"}", near: "{self.text}"')
        self._at += 1
        return token

    def skips(self, *wanted: str) -> bool:
        if self.next.upper() in wanted:
            self._at += 1
            return True
        return False

    # conditions

    def condition(self) -> Expression:
        self.made.holds = self._any_of()
        if self.next:
            self.take("<EOF>")
        return self.made

    def _any_of(self) -> Test:
        parts = [self._all_of()]
        while self.skips("OR"):
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else lambda scope: any(part(scope) for part in parts)

    def _all_of(self) -> Test:
        parts = [self._not()]
        while self.skips("AND"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda scope: all(part(scope) for part in parts)

    def _not(self) -> Test:
        if self.skips("NOT"):
            inner = self._not()
            return lambda scope: not inner(scope)
        if self.next == "(":
            self.take("(")
            inner = self._any_of()
            self.take(")")
            return inner
        return self._test()

    def _test(self) -> Test:
        if self.next in _FUNCTIONS:
            return self._function(self.take())
        left = self.operand()
        if self.skips("BETWEEN"):
            low, _, high = self.operand(), self.take("AND"), self.operand()
            return lambda scope: _is_between(left(scope), low(scope), high(scope))
        if self.skips("IN"):
            options = self._list()
            return lambda scope: any(
                a is not None and a == b for a in (left(scope),) for b in (o(scope) for o in options)
            )
        sign = self.take("=", "<>", "<", "<=", ">", ">=")
        right = self.operand()
        if sign in ("=", "<>"):
            return lambda scope: _is_same(left(scope), right(scope)) == (sign == "=")
        return lambda scope: _compare(sign, left(scope), right(scope))

    def _function(self, name: str) -> Test:
        arguments = self._list()
        test = _FUNCTIONS[name]
        return lambda scope: test(*(argument(scope) for argument in arguments))

    def _list(self) -> list[Operand]:
        self.take("(")
        found = [self.operand()]
        while self.skips(","):
            found.append(self.operand())
        self.take(")")
        return found

    def operand(self) -> Operand:
        if self.next.startswith(":"):
            placeholder = self.take()
            self.made.values.add(placeholder)
            return lambda scope: scope.values[placeholder]
        if self.next == "size":
            self.take()
            [argument] = self._list()
            return lambda scope: _size_of(argument(scope))
        if self.next in ("if_not_exists", "list_append"):
            name = self.take()
            first, second = self._list()
            if name == "if_not_exists":
                return lambda scope: first(scope) or second(scope)
            return lambda scope: {"L": [*_listed(first(scope)), *_listed(second(scope))]}
        path = self.path()
        return lambda scope: look(scope.item, path, scope.names)

    def path(self) -> Path:
        steps: list[str | int] = [self._name()]
        while self.next in (".", "["):
            if self.take() == ".":
                steps.append(self._name())
            else:
                steps.append(int(self.take()))
                self.take("]")
        return tuple(steps)

    def _name(self) -> str:
        name = self.take()
        if name.startswith("#"):
            self.made.names.add(name)
        elif not name[0].isalpha() and name[0] != "_":
            raise invalid(f'Invalid expression: Syntax error; token: "{name}"')
        return name

    # updates

    def update(self) -> Expression:
        while self.next:
            clause = self.take("SET", "REMOVE", "ADD", "DELETE").upper()
            self.made.steps += self._steps(clause)
        return self.made

    def _steps(self, clause: str) -> Iterator[tuple[str, Path, Operand | None]]:
        while True:
            path = self.path()
            if clause == "SET":
                self.take("=")
                yield clause, path, self._sum()
            else:
                yield clause, path, None if clause == "REMOVE" else self.operand()
            if not self.skips(","):
                return

    def _sum(self) -> Operand:
        left = self.operand()
        if self.next not in ("+", "-"):
            return left
        sign, right = self.take(), self.operand()
        return lambda scope: _added(left(scope), right(scope), sign)


def look(item: Image, path: Path, names: Mapping[str, str]) -> Value | None:
    """Return what an item has at a path, or None."""
    found: Any = item.get(_real(path[0], names))
    for step in path[1:]:
        if found is None:
            return None
        if isinstance(step, int):
            found = found["L"][step] if "L" in found and step < len(found["L"]) else None
        else:
            found = found.get("M", {}).get(_real(step, names))
    return found


def _real(step: str | int, names: Mapping[str, str]) -> str:
    return names.get(str(step), str(step))


def _is_same(left: Value | None, right: Value | None) -> bool:
    if left is None or right is None:
        return False
    [(kind, value)] = left.items()
    return kind in right and (set(value) == set(right[kind]) if kind in ("SS", "NS", "BS") else value == right[kind])


def _ordered(value: Value | None) -> tuple[str, Any]:
    [(kind, content)] = (value or {"": None}).items()
    if kind == "N":
        return kind, Decimal(content)
    return kind, content.encode("utf-8", "surrogatepass") if kind == "S" else content


def _compare(sign: str, left: Value | None, right: Value | None) -> bool:
    (kind, a), (other, b) = _ordered(left), _ordered(right)
    return kind == other and kind in ("N", "S", "B") and _COMPARE[sign](a, b)


def _is_between(value: Value | None, low: Value | None, high: Value | None) -> bool:
    return _compare(">=", value, low) and _compare("<=", value, high)


def _size_of(value: Value | None) -> Value | None:
    if value is None or not value.keys() & {"S", "B", "L", "M", "SS", "NS", "BS"}:
        return None
    [content] = value.values()
    return {"N": str(len(content))}


def _listed(value: Value | None) -> list[Value]:
    if value is None or "L" not in value:
        raise Illegal("An operand in the update expression has an incorrect data type")
    return value["L"]


def _added(left: Value | None, right: Value | None, sign: str = "+") -> Value:
    if left is None or right is None:
        raise Illegal("The provided expression refers to an attribute that does not exist in the item")
    if "N" not in left or "N" not in right:
        raise Illegal("An operand in the update expression has an incorrect data type")
    a, b = Decimal(left["N"]), Decimal(right["N"])
    try:
        return {"N": plain_digits(_ANY.add(a, b) if sign == "+" else _ANY.subtract(a, b))}
    except DynamoDBRefusal as refusal:
        raise Illegal(refusal.message) from None


def _has_type(value: Value | None, kind: Value) -> bool:
    if kind.get("S") not in _TYPES:
        raise invalid(f"Invalid ConditionExpression: Invalid attribute type name found; type: {kind.get('S')}")
    return value is not None and kind["S"] in value


def _begins(value: Value | None, start: Value) -> bool:
    return value is not None and any(
        value.get(kind, b"").startswith(start[kind]) for kind in ("S", "B") if kind in start and kind in value
    )


def _contains(value: Value | None, part: Value | None) -> bool:
    if value is None or part is None:
        return False
    [(kind, content)], [(part_kind, wanted)] = value.items(), part.items()
    if kind == "L":
        return part in content
    return wanted in content if kind in ("S" + part_kind[1:], part_kind, part_kind + "S") else False


_FUNCTIONS: dict[str, Callable[..., bool]] = {
    "attribute_exists": lambda value: value is not None,
    "attribute_not_exists": lambda value: value is None,
    "attribute_type": _has_type,
    "begins_with": _begins,
    "contains": _contains,
}


@lru_cache(maxsize=4096)
def condition(text: str) -> Expression:
    """Return a condition, a filter: `holds` says whether it does."""
    return _Reader(text).condition()


@lru_cache(maxsize=4096)
def update(text: str) -> Expression:
    """Return an update: `steps` are its clauses, each with the path and what is put there."""
    made = _Reader(text).update()
    paths = [path for _, path, _ in made.steps]
    if len(set(paths)) < len(paths):
        raise invalid("Invalid UpdateExpression: Two document paths overlap with each other")
    return made


def apply(made: Expression, scope: Scope) -> dict[str, Value]:
    """Return an item after an update; the item itself stays as it is.

    Raises
    ------
    Illegal
        If the item does not have what the update needs.
    """
    changed = dict(scope.item)
    for clause, path, operand in made.steps:
        if len(path) > 1:
            raise ValueError(f"an update of {path}: nothing of ours changes a part of an attribute")
        name, value = _real(path[0], scope.names), operand(scope) if operand else None
        if clause == "REMOVE":
            changed.pop(name, None)
        elif clause == "SET":
            if value is None:
                raise Illegal("The provided expression refers to an attribute that does not exist in the item")
            changed[name] = value
        elif clause == "ADD" and value is not None and "N" in value:
            changed[name] = _added(scope.item.get(name, {"N": "0"}), value)
        else:
            raise ValueError(f"{clause} of {value}: nothing of ours uses sets")
    return changed
