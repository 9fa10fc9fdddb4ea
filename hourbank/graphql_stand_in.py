"""A stand-in for the GraphQL API that Amplify makes of docs/amplify/schema.graphql, over the tables of a local run.

What the API has, and who may do what, is read from that file: its types, its @model and its @auth directives. How
Amplify reads these is taken from the resolvers that its transformer generates (`make schema` compares). Whoever calls is
believed to be who the token says: nothing is verified, so this is for the loopback interface and for nothing else.

Not here: subscriptions, `delete`, indexes, relations, and rules other than an owner's with a claim of its own.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import graphql
from boto3.dynamodb.types import DYNAMODB_CONTEXT
from botocore.exceptions import ClientError
from graphql.language import ast

from hourbank import ledger_view, people
from hourbank.emulator import PROJECT

SCHEMA = PROJECT / "docs" / "amplify" / "schema.graphql"
READ = {"get": "read", "list": "read"}
PAGE = 100
# far more than a page's queries have, and too few to keep a validator busy
MOST_TOKENS = 5000


class Refusal(Exception):
    """An answer of AppSync's with an errorType."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


class Rule(NamedTuple):
    """One owner's rule of an @auth directive."""

    owner: str
    """The field of the record that names the owner."""
    claim: str
    """What of the caller's token it is compared with."""
    operations: frozenset[str]


@dataclass(frozen=True)
class Model:
    """A type with @model.

    Attributes
    ----------
    name, key : str
        The type's name, and the field that is the table's key.
    table : str
        The table's name.
    operations : dict
        Names in the API by operation: get, list, create, update; without those that the schema takes away.
    fields : dict
        Each declared field's type.
    rules : dict
        Each field's rules: its own, else the model's.
    own_rules : tuple of Rule
        The model's.
    """

    name: str
    key: str
    table: str
    operations: dict[str, str]
    fields: dict[str, ast.TypeNode]
    rules: dict[str, tuple[Rule, ...]]
    own_rules: tuple[Rule, ...]

    def allowed(self, operation: str, record: Mapping[str, Any], caller: Mapping[str, Any]) -> set[str]:
        """Return the fields for which the caller has the operation, where `record` says who owns it."""
        return {
            field for field, rules in self.rules.items() if any(_is_owner(r, operation, record, caller) for r in rules)
        }


def _is_owner(rule: Rule, operation: str, record: Mapping[str, Any], caller: Mapping[str, Any]) -> bool:
    claim = caller.get(rule.claim)
    return operation in rule.operations and claim is not None and record.get(rule.owner) == claim


def caller_of(authorization: str | None) -> dict[str, Any]:
    """Return the claims of a token, `Bearer <JWT>` or the JWT alone; its signature is not looked at.

    Raises
    ------
    Refusal
        If there is no token, or it is none.
    """
    token = (authorization or "").strip().removeprefix("Bearer ").strip()
    if not token:
        raise Refusal("UnauthorizedException", "Valid authorization header not provided.")
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if isinstance(claims["sub"], str) and claims["sub"]:
            return dict(claims)
    except (binascii.Error, ValueError, KeyError, TypeError):
        pass
    raise Refusal("UnauthorizedException", "Unable to parse JWT token.")


def token_for(user: str) -> str:
    """Return an unsigned token of a person, in the form of Cognito's access tokens."""
    parts = ({"alg": "none", "typ": "JWT"}, {"sub": user, "username": user, "token_use": "access"})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])


class Api:
    """The API over the tables.

    Parameters
    ----------
    dynamodb : client
        Of the emulator.
    tables : mapping
        The tables' names, by model in camel case, such as serviceRequest.
    """

    def __init__(self, dynamodb: Any, tables: Mapping[str, str]) -> None:
        self._dynamodb = dynamodb
        document = graphql.parse(SCHEMA.read_text(encoding="utf-8"))
        self.models = list(_models(document, tables))
        self.schema = _Types(document, self.models, self._resolver).schema()

    def answer(self, body: bytes, authorization: str | None) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the JSON of the answer to a POST."""
        try:
            caller = caller_of(authorization)
            query, variables, operation = _request(body)
            document = graphql.parse(query, max_tokens=MOST_TOKENS)
        except Refusal as refusal:
            status = 401 if refusal.error_type == "UnauthorizedException" else 400
            return status, refused(refusal.error_type, str(refusal))
        except (graphql.GraphQLError, RecursionError):
            return 400, refused("MalformedHttpRequestException", "Unable to parse GraphQL query.")
        if errors := graphql.validate(self.schema, document):
            return 200, {"data": None, "errors": [_in_appsyncs_form(error) for error in errors]}
        result = graphql.execute_sync(
            self.schema, document, variable_values=variables, operation_name=operation, context_value=caller
        )
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = [_in_appsyncs_form(error) for error in result.errors]
        return 200, answer

    def _resolver(self, model: Model, operation: str) -> Callable[..., Any]:
        do = {"get": self._get, "list": self._list, "create": self._create, "update": self._update}[operation]

        def resolve(_: Any, info: graphql.GraphQLResolveInfo, **arguments: Any) -> Any:
            try:
                return do(model, info.context, arguments)
            except PermissionError:
                raise _unauthorized(info) from None
            except ClientError as error:
                raise _of_dynamodb(error) from None

        return resolve

    def _get(self, model: Model, caller: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        whose = _readable(model, "get", caller, arguments)
        key = {model.key: {"S": arguments[model.key]}}
        found = self._dynamodb.get_item(TableName=model.table, Key=key).get("Item")
        if found is None:
            return None
        record = ledger_view.plain(found)
        if whose and not any(record.get(field) == test["eq"] for one in whose["or"] for field, test in one.items()):
            raise PermissionError
        return record

    def _list(self, model: Model, caller: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        if arguments.get("sortDirection") is not None:
            words = "sortDirection is not supported for List operations without a Sort key defined."
            raise Refusal("InvalidArgumentsError", words)
        whose = _readable(model, "list", caller, arguments)
        limit = arguments.get("limit")
        # as Amplify does: the limit counts what is looked at, of which the filters then leave less
        request: dict[str, Any] = {"TableName": model.table, "Limit": PAGE if limit is None else limit}
        expression = _Expression()
        if text := expression.of({"and": [one for one in (whose, arguments.get("filter")) if one]}):
            request["FilterExpression"] = text
        ask = self._dynamodb.scan
        if (key := arguments.get(model.key)) is not None:
            request["KeyConditionExpression"] = expression.compare(model.key, "=", key)
            ask = self._dynamodb.query
        if (token := arguments.get("nextToken")) is not None:
            request["ExclusiveStartKey"] = _start_of(token)
        found = ask(**request, **expression.parameters())
        last = found.get("LastEvaluatedKey")
        return {
            "items": [ledger_view.plain(item) for item in found["Items"]],
            "nextToken": last and base64.urlsafe_b64encode(json.dumps(last).encode()).decode(),
        }

    def _create(self, model: Model, caller: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        values = dict(arguments["input"])
        for rule in {rule for rules in model.rules.values() for rule in rules if "create" in rule.operations}:
            values.setdefault(rule.owner, caller.get(rule.claim))
        _deny_unless(set(), arguments["input"], model.allowed("create", values, caller))
        created = people.now()
        record = {model.key: str(uuid.uuid4()), "createdAt": created, "updatedAt": created, **values}
        record["__typename"] = model.name
        expression = _Expression()
        absent = {model.key: {"attributeExists": False}}
        condition = expression.of({"and": [one for one in (arguments.get("condition"), absent) if one]})
        self._dynamodb.put_item(
            TableName=model.table,
            Item=people.item(record),
            ConditionExpression=condition,
            **expression.parameters(),
        )
        return record

    def _update(self, model: Model, caller: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        given = arguments["input"]
        key = {model.key: {"S": given[model.key]}}
        found = self._dynamodb.get_item(TableName=model.table, Key=key, ConsistentRead=True).get("Item", {})
        record = ledger_view.plain(found)
        allowed = model.allowed("update", record, caller)
        # what Amplify calls the right to delete a field is the right to give null
        nulls = {name for name, value in given.items() if value is None} - model.allowed("delete", record, caller)
        if not allowed:
            raise PermissionError
        _deny_unless(nulls, given, allowed | {model.key})
        values = {"updatedAt": people.now(), **{name: value for name, value in given.items() if name != model.key}}
        expression = _Expression()
        present = {model.key: {"attributeExists": True}}
        condition = expression.of({"and": [one for one in (present, arguments.get("condition")) if one]})
        answer = self._dynamodb.update_item(
            TableName=model.table,
            Key=key,
            UpdateExpression=expression.set(values),
            ConditionExpression=condition,
            ReturnValues="ALL_NEW",
            **expression.parameters(),
        )
        return ledger_view.plain(answer["Attributes"])


def refused(error_type: str, message: str) -> dict[str, Any]:
    """Return AppSync's answer to a request of which nothing was executed."""
    return {"errors": [{"errorType": error_type, "message": message}]}


def _request(body: bytes) -> tuple[str, dict[str, Any] | None, str | None]:
    try:
        request = json.loads(body, parse_float=Decimal, parse_constant=_no_number)
        query, variables, operation = request["query"], request.get("variables"), request.get("operationName")
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        query = variables = operation = None
    if isinstance(query, str) and isinstance(variables, dict | None) and isinstance(operation, str | None):
        return query, variables, operation
    raise Refusal("MalformedHttpRequestException", "Unable to parse GraphQL query.")


def _no_number(word: str) -> None:
    raise ValueError(word)


def _in_appsyncs_form(error: graphql.GraphQLError) -> dict[str, Any]:
    places = [{"line": at.line, "column": at.column, "sourceName": None} for at in error.locations or ()]
    cause, message = error.original_error, error.message
    answer: dict[str, Any] = {"path": error.path, "locations": places or None}
    if isinstance(cause, Refusal):
        answer |= {"data": None, "errorType": cause.error_type, "errorInfo": None}
    elif cause is not None and not isinstance(cause, graphql.GraphQLError):
        # whatever it says, it was not written for a client
        answer |= {"data": None, "errorType": "InternalFailure", "errorInfo": None}
        message = f"The stand-in failed ({type(cause).__name__})"
    return answer | {"message": message}


def _unauthorized(info: graphql.GraphQLResolveInfo) -> Refusal:
    words = f"Not Authorized to access {info.field_name} on type {info.parent_type.name}"
    return Refusal("Unauthorized", words)


def _of_dynamodb(error: ClientError) -> Refusal:
    code = error.response["Error"]["Code"].rpartition("#")[2]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    message = error.response["Error"].get("Message", code)
    if code == "ConditionalCheckFailedException":
        message = "The conditional request failed"
    return Refusal(f"DynamoDB:{code}", f"{message} (Service: DynamoDb, Status Code: {status})")


def _deny_unless(denied: set[str], given: Mapping[str, Any], allowed: set[str]) -> None:
    if not allowed:
        raise PermissionError
    if refused_fields := [name for name in given if name in denied or name not in allowed]:
        raise Refusal("Unauthorized", f"Unauthorized on [{', '.join(refused_fields)}]")


def _readable(model: Model, operation: str, caller: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """Return the filter that leaves a caller what they may read; None where the key alone says that it is theirs."""
    whose = []
    for rule in model.own_rules:
        claim = caller.get(rule.claim)
        if not {operation, "read"} & rule.operations or claim is None:
            continue
        key = arguments.get(model.key)
        if rule.owner == model.key and key is not None:
            if key == claim:
                return None
        else:
            whose.append({rule.owner: {"eq": claim}})
    if not whose:
        raise PermissionError
    return {"or": whose}


def _start_of(token: str) -> dict[str, Any]:
    try:
        key = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        key = None
    if not isinstance(key, dict):
        raise Refusal("BadRequestException", "Invalid pagination token given.")
    return key


class _Expression:
    """DynamoDB's expressions of Amplify's filters and conditions, as $util.transform makes them.

    https://docs.aws.amazon.com/appsync/latest/devguide/transformation-helpers-in-utils-transform.html
    """

    COMPARE: Mapping[str, str] = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
    TYPES: Mapping[str, str] = {
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

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def parameters(self) -> dict[str, Any]:
        names = {"ExpressionAttributeNames": self._names} if self._names else {}
        values = {"ExpressionAttributeValues": people.item(self._values)} if self._values else {}
        return names | values

    def of(self, condition: Mapping[str, Any]) -> str:
        """Return the expression of a filter or condition; empty for an empty one."""
        parts = []
        for name, test in condition.items():
            if test is None:
                continue
            if name in ("and", "or"):
                parts.append(_joined(name.upper(), [self.of(one) for one in test if one]))
            elif name == "not":
                text = self.of(test)
                parts.append(text and f"NOT ({text})")
            else:
                parts.extend(self._test(name, operator, value) for operator, value in test.items())
        return _joined("AND", parts)

    def compare(self, name: str, operator: str, value: Any) -> str:
        return f"{self._name(name)} {operator} {self._value(value)}"

    def set(self, values: Mapping[str, Any]) -> str:
        """Return the update that stores values and removes those that are None."""
        stored = [self.compare(name, "=", value) for name, value in values.items() if value is not None]
        removed = [self._name(name) for name, value in values.items() if value is None]
        return " ".join(filter(None, (f"SET {', '.join(stored)}", removed and f"REMOVE {', '.join(removed)}")))

    def _test(self, name: str, operator: str, value: Any) -> str:
        path = self._name(name)
        if operator in self.COMPARE:
            return f"{path} {self.COMPARE[operator]} {self._value(value)}"
        match operator:
            case "attributeExists":
                return f"attribute_exists({path})" if value else f"attribute_not_exists({path})"
            case "attributeType":
                return f"attribute_type({path}, {self._value(self.TYPES[value])})"
            case "between":
                first, last = value
                return f"{path} BETWEEN {self._value(first)} AND {self._value(last)}"
            case "beginsWith":
                return f"begins_with({path}, {self._value(value)})"
            case "contains":
                return f"contains({path}, {self._value(value)})"
            case "notContains":
                return f"NOT contains({path}, {self._value(value)})"
            case _:  # size
                return self._size(path, value)

    def _size(self, path: str, tests: Mapping[str, Any]) -> str:
        parts = []
        for operator, value in tests.items():
            if operator == "between":
                first, last = value
                parts.append(f"size({path}) BETWEEN {self._value(first)} AND {self._value(last)}")
            else:
                parts.append(f"size({path}) {self.COMPARE[operator]} {self._value(value)}")
        return " AND ".join(parts)

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


def _models(document: graphql.DocumentNode, tables: Mapping[str, str]) -> Iterator[Model]:
    for definition in document.definitions:
        if not isinstance(definition, ast.ObjectTypeDefinitionNode):
            continue
        name = definition.name.value
        directives = _directives(definition)
        own = _rules(directives["auth"], name)
        fields = {field.name.value: field for field in definition.fields}
        keys = [field for field, node in fields.items() if "primaryKey" in _directives(node)] or ["id"]
        rules = {
            field: _rules(given, f"{name}.{field}") if (given := _directives(node).get("auth")) else own
            for field, node in fields.items()
        }
        yield Model(
            name=name,
            key=keys[0],
            table=tables[name[0].lower() + name[1:]],
            operations=_operations(name, directives["model"]),
            fields={field: node.type for field, node in fields.items()},
            rules=rules,
            own_rules=own,
        )


def _directives(node: ast.ObjectTypeDefinitionNode | ast.FieldDefinitionNode) -> dict[str, dict[str, Any]]:
    return {
        directive.name.value: {
            argument.name.value: graphql.value_from_ast_untyped(argument.value) for argument in directive.arguments
        }
        for directive in node.directives
    }


def _operations(name: str, given: Mapping[str, Any]) -> dict[str, str]:
    made = {
        "queries": {"get": f"get{name}", "list": f"list{name}s"},
        "mutations": {operation: f"{operation}{name}" for operation in ("create", "update", "delete")},
    }
    operations: dict[str, str] = {}
    for kind, defaults in made.items():
        named = given.get(kind, {})
        chosen = {} if named is None else defaults | named
        operations |= {operation: called for operation, called in chosen.items() if called is not None}
    if "delete" in operations:
        raise NotImplementedError(f"{name} has a delete, which the stand-in does not know")
    return operations


def _rules(auth: Mapping[str, Any], where: str) -> tuple[Rule, ...]:
    rules = []
    for rule in auth["rules"]:
        # one that is not understood must not pass for one that lets nobody in
        if rule.keys() != {"allow", "ownerField", "identityClaim", "operations"} or rule["allow"] != "owner":
            raise NotImplementedError(f"{where} has a rule that the stand-in does not know: {rule}")
        rules.append(Rule(rule["ownerField"], rule["identityClaim"], frozenset(rule["operations"])))
    return tuple(rules)


class _Types:
    """The types that Amplify generates for models, with the names that it gives them."""

    def __init__(
        self, document: graphql.DocumentNode, models: list[Model], resolver: Callable[[Model, str], Callable[..., Any]]
    ) -> None:
        self._models, self._resolver = models, resolver
        self._enums = {
            node.name.value: graphql.GraphQLEnumType(
                node.name.value, {value.name.value: value.name.value for value in node.values}
            )
            for node in document.definitions
            if isinstance(node, ast.EnumTypeDefinitionNode)
        }
        self._time = graphql.GraphQLScalarType("AWSDateTime")
        self._scalars = {
            "ID": graphql.GraphQLID,
            "String": graphql.GraphQLString,
            "Int": graphql.GraphQLInt,
            "Boolean": graphql.GraphQLBoolean,
            "Float": _exact_float(),
        }
        self._attribute_types = graphql.GraphQLEnumType(
            "ModelAttributeTypes", {name: name for name in _Expression.TYPES}
        )
        self._direction = graphql.GraphQLEnumType("ModelSortDirection", {"ASC": "ASC", "DESC": "DESC"})
        self._filters = self._make_filters()

    def schema(self) -> graphql.GraphQLSchema:
        queries, mutations, others = {}, {}, []
        for model in self._models:
            type_ = self._object(model)
            others.append(type_)
            conditions = {kind: self._condition(model, kind) for kind in ("Filter", "Condition")}
            for operation, name in model.operations.items():
                into = queries if operation in READ else mutations
                into[name] = graphql.GraphQLField(
                    self._connection(model, type_) if operation == "list" else type_,
                    self._arguments(model, operation, conditions),
                    self._resolver(model, operation),
                )
        return graphql.GraphQLSchema(
            graphql.GraphQLObjectType("Query", queries),
            graphql.GraphQLObjectType("Mutation", mutations),
            types=others,
        )

    def _named(self, node: ast.TypeNode, *, nullable: bool = False) -> Any:
        if isinstance(node, ast.NonNullTypeNode):
            return self._named(node.type) if nullable else graphql.GraphQLNonNull(self._named(node.type))
        if not isinstance(node, ast.NamedTypeNode):
            raise NotImplementedError(f"{graphql.print_ast(node)} is a type that the stand-in does not know")
        return self._enums.get(node.name.value) or self._scalars[node.name.value]

    def _object(self, model: Model) -> graphql.GraphQLObjectType:
        fields = {
            name: graphql.GraphQLField(self._named(node), resolve=_field_resolver(model, name))
            for name, node in model.fields.items()
        }
        for name in ("createdAt", "updatedAt"):
            fields.setdefault(name, graphql.GraphQLField(graphql.GraphQLNonNull(self._time)))
        for rule in (rule for rules in model.rules.values() for rule in rules):
            fields.setdefault(rule.owner, graphql.GraphQLField(graphql.GraphQLString))
        return graphql.GraphQLObjectType(model.name, fields)

    def _connection(self, model: Model, type_: graphql.GraphQLObjectType) -> graphql.GraphQLObjectType:
        items = graphql.GraphQLNonNull(graphql.GraphQLList(type_))
        fields = {"items": graphql.GraphQLField(items), "nextToken": graphql.GraphQLField(graphql.GraphQLString)}
        return graphql.GraphQLObjectType(f"Model{model.name}Connection", fields)

    def _arguments(
        self, model: Model, operation: str, conditions: Mapping[str, graphql.GraphQLInputObjectType]
    ) -> dict[str, graphql.GraphQLArgument]:
        key = self._named(model.fields[model.key], nullable=True)
        if operation == "get":
            types: dict[str, Any] = {model.key: graphql.GraphQLNonNull(key)}
        elif operation == "list":
            paged = {"filter": conditions["Filter"], "limit": graphql.GraphQLInt}
            paged["nextToken"] = graphql.GraphQLString
            # a key that was chosen, not Amplify's own, is an argument
            types = paged if model.key == "id" else {model.key: key, **paged, "sortDirection": self._direction}
        else:
            types = {
                "input": graphql.GraphQLNonNull(self._input(model, operation)),
                "condition": conditions["Condition"],
            }
        return {name: graphql.GraphQLArgument(type_) for name, type_ in types.items()}

    def _input(self, model: Model, operation: str) -> graphql.GraphQLInputObjectType:
        fields = {}
        for name, node in model.fields.items():
            is_key = name == model.key
            optional = (operation == "update" and not is_key) or (operation == "create" and is_key and name == "id")
            fields[name] = graphql.GraphQLInputField(self._named(node, nullable=optional))
        return graphql.GraphQLInputObjectType(f"{operation.capitalize()}{model.name}Input", fields)

    def _condition(self, model: Model, kind: str) -> graphql.GraphQLInputObjectType:
        fields: dict[str, Any] = {
            name: self._filters[self._named(node, nullable=True).name]
            for name, node in model.fields.items()
            if kind == "Filter" or name != model.key
        }
        if kind == "Filter":
            fields.setdefault("id", self._filters["ID"])
        fields |= {name: self._filters["String"] for name in ("createdAt", "updatedAt")}

        def make() -> dict[str, graphql.GraphQLInputField]:
            fields.update({"and": graphql.GraphQLList(type_), "or": graphql.GraphQLList(type_), "not": type_})
            return {name: graphql.GraphQLInputField(field) for name, field in fields.items()}

        type_ = graphql.GraphQLInputObjectType(f"Model{model.name}{kind}Input", make)
        return type_

    def _make_filters(self) -> dict[str, graphql.GraphQLInputObjectType]:
        def of(name: str, **fields: Any) -> graphql.GraphQLInputObjectType:
            made = {field: graphql.GraphQLInputField(type_) for field, type_ in fields.items()}
            return graphql.GraphQLInputObjectType(f"Model{name}Input", made)

        def compared(type_: Any) -> dict[str, Any]:
            tests = dict.fromkeys(("ne", "eq", "le", "lt", "ge", "gt"), type_)
            return tests | {"between": graphql.GraphQLList(type_)}

        size = of("Size", **compared(graphql.GraphQLInt))
        existing = {"attributeExists": graphql.GraphQLBoolean, "attributeType": self._attribute_types}
        filters = {name: of(name, eq=type_, ne=type_) for name, type_ in self._enums.items()}
        for name, type_ in self._scalars.items():
            tests = {"ne": type_, "eq": type_} if name == "Boolean" else compared(type_)
            if name in ("ID", "String"):
                tests |= dict.fromkeys(("contains", "notContains", "beginsWith"), type_) | {"size": size}
            filters[name] = of(name, **tests, **existing)
        return filters


def _field_resolver(model: Model, name: str) -> Callable[..., Any] | None:
    """Return a check of the field's own readers, as Amplify generates one where they are not the model's."""

    def readers(rules: tuple[Rule, ...]) -> set[tuple[str, str]]:
        return {(rule.owner, rule.claim) for rule in rules if "read" in rule.operations}

    if readers(model.rules[name]) == readers(model.own_rules):
        return None

    def resolve(record: Mapping[str, Any], info: graphql.GraphQLResolveInfo) -> Any:
        if not any(_is_owner(rule, "read", record, info.context) for rule in model.rules[name]):
            raise _unauthorized(info)
        return record.get(name)

    return resolve


def _exact_float() -> graphql.GraphQLScalarType:
    """Return GraphQL's Float, whose inputs stay the decimals that were written."""

    def exact(value: Any) -> Decimal:
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            try:
                return DYNAMODB_CONTEXT.create_decimal(value)
            except ArithmeticError:
                pass
        raise graphql.GraphQLError(f"Float cannot represent the value {value}")

    def literal(node: ast.ValueNode, _: Any = None) -> Decimal:
        if not isinstance(node, ast.FloatValueNode | ast.IntValueNode):
            raise graphql.GraphQLError(f"Float cannot represent the value {graphql.print_ast(node)}", node)
        return exact(Decimal(node.value))

    serialize = graphql.GraphQLFloat.serialize
    scalar = graphql.GraphQLScalarType("Exact", serialize=serialize, parse_value=exact, parse_literal=literal)
    scalar.name = "Float"  # which the library keeps for its own
    return scalar
