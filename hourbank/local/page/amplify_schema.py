"""What Amplify makes of amplify/schema.graphql: who may do what with each field, and the API's own schema.

How Amplify reads the directives is taken from the resolvers and the schema that its transformer generates;
`make schema` compares them. What is not known here is refused: a rule that was not understood must not pass for one
that lets nobody in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import graphql
from graphql.language import ast

from hourbank.errors import HourBankError
from hourbank.names import ROOT

FILE = ROOT / "amplify" / "schema.graphql"
QUERIES = ("get", "list")
TIMES = ("createdAt", "updatedAt")

_COMPARED = "ne: {0} eq: {0} le: {0} lt: {0} ge: {0} gt: {0} between: [{0}]"
_WORDS = "contains: {0} notContains: {0} beginsWith: {0} size: ModelSizeInput"
_STORED = "attributeExists: Boolean attributeType: ModelAttributeTypes"
# The types that are in every API of Amplify's.
_COMMON = f"""
scalar AWSDateTime
enum ModelAttributeTypes {{ binary binarySet bool list map number numberSet string stringSet _null }}
enum ModelSortDirection {{ ASC DESC }}
input ModelSizeInput {{ {_COMPARED.format("Int")} }}
input ModelBooleanInput {{ ne: Boolean eq: Boolean {_STORED} }}
input ModelIntInput {{ {_COMPARED.format("Int")} {_STORED} }}
input ModelFloatInput {{ {_COMPARED.format("Float")} {_STORED} }}
input ModelIDInput {{ {_COMPARED.format("ID")} {_WORDS.format("ID")} {_STORED} }}
input ModelStringInput {{ {_COMPARED.format("String")} {_WORDS.format("String")} {_STORED} }}
"""


Claims = Mapping[str, Any]
"""What a caller's token says."""


class Rule(NamedTuple):
    """One owner's rule of an @auth directive."""

    owner: str
    """The field of the record that names the owner."""
    claim: str
    """What of the caller's token it is compared with."""
    operations: frozenset[str]

    def covers(self, operation: str) -> bool:
        """Whether the rule is about an operation; `read` is about get and list, too."""
        return operation in self.operations or (operation in QUERIES and "read" in self.operations)

    def is_owner(self, record: Mapping[str, Any], caller: Claims) -> bool:
        """Whether the caller, by the claims of their token, is who the record names."""
        claim = caller.get(self.claim)
        return claim is not None and record.get(self.owner) == claim


@dataclass(frozen=True)
class AmplifyModel:
    """A type with @model.

    Attributes
    ----------
    name, key : str
        The type's name, and the field that is the table's key.
    operations : dict
        The API's names by operation (get, list, create, update), without those that the schema takes away.
    types : dict
        Each declared field's type, as it is written.
    rules : tuple of Rule
        The model's.
    defaults : dict
        What Amplify writes at creation into a field of which the client says nothing, or null.
    field_rules : dict
        Each declared field's: its own, which replace the model's, else the model's.
    """

    name: str
    key: str
    operations: dict[str, str]
    types: dict[str, str]
    rules: tuple[Rule, ...]
    defaults: dict[str, str]
    field_rules: dict[str, tuple[Rule, ...]]

    @cached_property
    def all_rules(self) -> frozenset[Rule]:
        """The model's rules and its fields'."""
        return frozenset(rule for rules in self.field_rules.values() for rule in rules)

    def allowed(self, operation: str, record: Mapping[str, Any], caller: Claims) -> set[str]:
        """Return the fields for which the caller has the operation, where `record` says who owns them."""
        return {
            field
            for field, rules in self.field_rules.items()
            if any(rule.covers(operation) and rule.is_owner(record, caller) for rule in rules)
        }

    def readers_differ(self, field: str) -> bool:
        """Whether others read the field than read the model."""

        def readers(rules: tuple[Rule, ...]) -> set[tuple[str, str]]:
            return {(rule.owner, rule.claim) for rule in rules if rule.covers("get")}

        return readers(self.field_rules[field]) != readers(self.rules)


def load() -> tuple[list[AmplifyModel], str]:
    """Return the models of the schema, and the schema of the API that Amplify makes of it.

    Raises
    ------
    HourBankError
        If something in it is not known here.
    """
    try:
        document = graphql.parse(FILE.read_text(encoding="utf-8"))
    except graphql.GraphQLError as error:
        raise HourBankError(f"amplify/{FILE.name}: {error.message}") from None
    models = [_model(node) for node in document.definitions if isinstance(node, ast.ObjectTypeDefinitionNode)]
    enums = [graphql.print_ast(node) for node in document.definitions if isinstance(node, ast.EnumTypeDefinitionNode)]
    return models, "\n".join([_COMMON, *enums, *_enum_filters(document, models), *_types(models), *_operations(models)])


def _model(node: ast.ObjectTypeDefinitionNode) -> AmplifyModel:
    name, directives = node.name.value, _directives(node)
    fields = {field.name.value: (field.type, _directives(field)) for field in node.fields}
    keys = [field for field, (_, given) in fields.items() if "primaryKey" in given]
    for needed in ("model", "auth"):
        if needed not in directives:
            raise HourBankError(f"{name}: the stand-in for Amplify knows no type without @{needed}")
    rules = _rules(directives["auth"], name)
    return AmplifyModel(
        name=name,
        key=keys[0] if keys else "id",
        operations=dict(_names(name, directives["model"])),
        types={field: graphql.print_ast(type_) for field, (type_, _) in fields.items()},
        rules=rules,
        defaults={field: given["default"]["value"] for field, (_, given) in fields.items() if "default" in given},
        field_rules={
            field: _rules(given["auth"], f"{name}.{field}") if "auth" in given else rules
            for field, (_, given) in fields.items()
        },
    )


def _directives(node: ast.ObjectTypeDefinitionNode | ast.FieldDefinitionNode) -> dict[str, dict[str, Any]]:
    return {
        directive.name.value: {
            argument.name.value: graphql.value_from_ast_untyped(argument.value) for argument in directive.arguments
        }
        for directive in node.directives
    }


def _names(model: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    defaults = {
        "queries": {"get": f"get{model}", "list": f"list{model}s"},
        "mutations": {operation: f"{operation}{model}" for operation in ("create", "update", "delete")},
    }
    for kind, names in defaults.items():
        chosen = given.get(kind, {})
        for operation, name in (names | chosen).items() if chosen is not None else ():
            if operation == "delete" and name is not None:
                raise HourBankError(f"{model}: the stand-in for Amplify deletes nothing, so say `delete: null`")
            if name is not None:
                yield operation, name


def _rules(auth: Mapping[str, Any], where: str) -> tuple[Rule, ...]:
    for rule in auth["rules"]:
        if (
            rule.keys() != {"allow", "ownerField", "identityClaim", "operations"}
            or rule["allow"] != "owner"
            or "::" in rule["identityClaim"]
        ):
            raise HourBankError(f"{where}: the stand-in for Amplify does not know the rule {rule}")
    return tuple(
        Rule(rule["ownerField"], rule["identityClaim"], frozenset(rule["operations"])) for rule in auth["rules"]
    )


def _enum_filters(document: graphql.DocumentNode, models: list[AmplifyModel]) -> Iterator[str]:
    queried = {type_ for model in models if model.operations for type_ in model.types.values()}
    for node in document.definitions:
        if isinstance(node, ast.EnumTypeDefinitionNode) and (name := node.name.value) in queried:
            yield f"input Model{name}Input {{ eq: {name} ne: {name} }}"


def _types(models: list[AmplifyModel]) -> Iterator[str]:
    for model in models:
        name, types = model.name, model.types
        nullable = {field: type_.rstrip("!") for field, type_ in types.items()}
        times = dict.fromkeys(TIMES, "AWSDateTime!")
        # Amplify adds the owner's field where a rule names one that is not declared
        owners = dict.fromkeys((rule.owner for rule in model.rules), "String")
        yield _declared(f"type {name}", times | owners | types)
        if "list" in model.operations:
            yield f"type Model{name}Connection {{ items: [{name}]! nextToken: String }}"
            yield _tests(f"Model{name}FilterInput", {"id": "ID"} | nullable)
        if "create" in model.operations:
            made_up = {"id": "ID"} if model.key == "id" else {}
            yield _declared(f"input Create{name}Input", types | made_up)
        if "update" in model.operations:
            yield _declared(f"input Update{name}Input", nullable | {model.key: types[model.key]})
        if model.operations.keys() - QUERIES:
            yield _tests(f"Model{name}ConditionInput", {f: t for f, t in nullable.items() if f != model.key})


def _tests(name: str, types: Mapping[str, str]) -> str:
    tests = {field: f"Model{type_}Input" for field, type_ in types.items()}
    times = dict.fromkeys(TIMES, "ModelStringInput")
    return _declared(f"input {name}", times | tests | {"and": f"[{name}]", "or": f"[{name}]", "not": name})


def _operations(models: list[AmplifyModel]) -> Iterator[str]:
    fields: dict[str, list[str]] = {"Query": [], "Mutation": []}
    for model in models:
        name, key = model.name, f"{model.key}: {model.types[model.key].rstrip('!')}"
        page = f"filter: Model{name}FilterInput, limit: Int, nextToken: String"
        if model.key != "id":  # a key that was chosen is an argument of the list, too
            page = f"{key}, {page}, sortDirection: ModelSortDirection"
        arguments = {"get": f"{key}!", "list": page}
        for operation, called in model.operations.items():
            returned = f"Model{name}Connection" if operation == "list" else name
            change = f"input: {operation.capitalize()}{name}Input!, condition: Model{name}ConditionInput"
            kind = "Query" if operation in QUERIES else "Mutation"
            fields[kind].append(f"{called}({arguments.get(operation, change)}): {returned}")
    for kind, lines in fields.items():
        yield _braced(f"type {kind}", lines)


def _braced(head: str, lines: Iterable[str]) -> str:
    return "\n  ".join([f"{head} {{", *lines]) + "\n}"


def _declared(head: str, types: Mapping[str, str]) -> str:
    return _braced(head, [f"{field}: {type_}" for field, type_ in types.items()])
