"""YAML as Pulumi's engine reads it: the scalars of gopkg.in/yaml.v3, which are neither YAML 1.1's nor JSON's.

So `yes` is a text and `1:30` too, `017` is 15, `1_000` is 1000, and a date without quotes becomes the text that Go
prints of a time. Its rules are in resolve.go; `tests/engine/test_reader.py` holds these against the engine.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import yaml

PLAIN = "tag:yaml.org,2002:plain"
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
INTEGERS = (
    (re.compile(r"([-+]?)0[bB]([01]+)"), 2),
    (re.compile(r"([-+]?)0[oO]?([0-7]+)"), 8),
    (re.compile(r"([-+]?)0[xX]([0-9a-fA-F]+)"), 16),
    (re.compile(r"([-+]?)([1-9][0-9]*|0)"), 10),
)
TIME = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:([Tt ])([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:\.([0-9]{1,9}))?(Z|[-+][0-9]{2}:[0-9]{2})?)?"
)
ESCAPED = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}


def load(content: bytes) -> Any:
    """The first document: texts, numbers, true and false, nothing, lists and maps with texts as keys.

    Raises
    ------
    yaml.YAMLError
        It is no YAML, or names a key twice.
    """
    loader = Loader(content)
    try:
        return loader.get_data() if loader.check_data() else None
    finally:
        loader.dispose()


def text_of(value: Any) -> str:
    """A value of the configuration as the engine hands it over.

    Raises
    ------
    ValueError
        It is a number that JSON does not have.
    """
    if value is None:
        return ""
    return value if isinstance(value, str) else json_of(value)


def json_of(value: Any) -> str:
    """JSON as Go writes it: keys in order, and with the characters that HTML minds escaped."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json_of(key)}:{json_of(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_of, value)) + "]"
    if isinstance(value, float):
        return number(value)
    return json.dumps(value, ensure_ascii=False).translate(ESCAPED)


def number(value: float) -> str:
    """A number with a fraction, or a large one, as Go writes it into JSON."""
    if not math.isfinite(value):
        raise ValueError(f"is {value}, which is no number")
    if value == 0:
        return "0"
    if 1e-6 <= abs(value) < 1e21:
        return f"{Decimal(repr(value)):f}".removesuffix(".0")
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"


def scalar(text: str) -> Any:
    """What is meant by a text without quotes."""
    if text in WORDS:
        return WORDS[text]
    if (found := TIME.fullmatch(text)) and (moment := time_of(found)):
        return moment
    plain = text.replace("_", "") if text[:1] in "+-0123456789" else text
    for form, base in INTEGERS:
        if whole := form.fullmatch(plain):
            value = int(whole[1] + whole[2], base)
            return value if -(2**63) <= value < 2**64 else float(value)
    if FLOAT.fullmatch(plain):
        value = float(plain)
        return value if math.isfinite(value) else text
    return text


def time_of(found: re.Match[str]) -> str | None:
    """How Go prints a time, on a machine that keeps UTC; none where that is no time to it."""
    letter, clock, fraction, zone = found[4], found.groups("0")[4:7], (found[8] or "").rstrip("0"), found[9]
    # only a time after T has a zone, and it must; one after a space must not
    if letter and (letter == " ") != (zone is None):
        return None
    try:
        moment = datetime(*map(int, (*found.groups()[:3], *clock)), tzinfo=UTC)
    except ValueError:
        return None
    offset = "+0000" if zone in (None, "Z") else str(zone).replace(":", "")
    name = "UTC" if zone in (None, "Z") or int(offset) == 0 else offset
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction and '.' + fraction} {offset} {name}"


class Loader(yaml.SafeLoader):
    """PyYAML's parser, with Go's idea of what a scalar means, and of a map."""


def construct(loader: Loader, tag: str, node: yaml.Node) -> Any:
    """A value of any tag: somebody's own means nothing here."""
    if isinstance(node, yaml.MappingNode):
        return construct_map(loader, node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.constructor.ConstructorError(None, None, f"there is no value for {tag}", node.start_mark)
    if tag == "tag:yaml.org,2002:binary":
        return loader.construct_yaml_binary(node).decode()
    return node.value if node.style or tag == "tag:yaml.org,2002:str" else scalar(node.value)


def construct_map(loader: Loader, node: yaml.MappingNode) -> dict[str, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key is not a text", key.start_mark)
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
        seen.add(key.value)
    loader.flatten_mapping(node)
    made = {}
    for key, item in node.value:
        name = loader.construct_object(key, deep=True)
        made[name if isinstance(name, str) else json_of(name)] = loader.construct_object(item, deep=True)
    return made


Loader.yaml_implicit_resolvers = {
    "<": [("tag:yaml.org,2002:merge", re.compile("<<$"))],
    None: [(PLAIN, re.compile(""))],
}
Loader.yaml_constructors = {}
Loader.yaml_multi_constructors = {"": construct}
