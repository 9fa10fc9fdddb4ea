"""A stand-in for the GraphQL API that Amplify makes of amplify/schema.graphql, over the tables of a local run.

What the API has, and who may do what, is read from that file: its types, its @model and its @auth directives. How
Amplify reads these is taken from the resolvers that its transformer generates (`make schema` compares). A caller
is believed to be whom the token names: nothing is verified, so this is for the loopback interface alone.

Beside the models it has what docs/app/subscriptions.md adds to an API: the mutation that the rule on the bus calls, and
the subscription that it wakes (`hourbank.local.page.realtime` speaks with the subscribers).

Not here: other subscriptions, `delete`, indexes, relations, and rules other than an owner's with a claim of its own.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import graphql
from boto3.dynamodb.types import DYNAMODB_CONTEXT
from botocore.exceptions import ClientError, ParamValidationError
from graphql.language import ast

from components.subscriptions import ARGUMENTS, MUTATION, OPERATION
from handlers.aws.dynamodb import now
from hourbank.errors import HourBankError
from hourbank.local import people
from hourbank.local.page import amplify_schema
from hourbank.local.page.amplify_schema import AmplifyModel, Claims, Rule
from hourbank.local.page.appsync import (
    AppSyncRefusal,
    Request,
    in_appsyncs_form,
    of_dynamodb,
    read_request,
    refused,
    unauthorized,
)
from hourbank.local.page.filters import FilterExpressions, NotUnderstoodError
from hourbank.local.tables import plain

PAGE = 100
SUBSCRIPTION = "onRequestEvent"
_TYPES = [f"{name}: {type_}" for name, (type_, _) in ARGUMENTS.items()]
_EVENTS = f"""
type RequestEvent {{ {" ".join(_TYPES)} }}
extend type Mutation {{ {MUTATION}({", ".join(_TYPES)}): RequestEvent }}
type Subscription {{ {SUBSCRIPTION}(userId: ID!): RequestEvent }}
"""
# who comes by IAM, as the rule on the bus does, has no claims
THE_RULE: Claims = {}


def caller_of(authorization: str | None) -> Claims:
    """Return the claims of a token, `Bearer <JWT>` or the JWT alone; its signature is not looked at.

    Raises
    ------
    Refusal
        If there is no token, or it is none.
    """
    token = (authorization or "").removeprefix("Bearer").strip()
    if not token:
        raise AppSyncRefusal("UnauthorizedException", "Valid authorization header not provided.")
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if isinstance(claims["sub"], str) and claims["sub"]:
            return dict(claims)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise AppSyncRefusal("UnauthorizedException", "Unable to parse JWT token.")


def token_for(user: str) -> str:
    """Return an unsigned token of a person, in the form of Cognito's access tokens."""
    parts = ({"alg": "none", "typ": "JWT"}, {"sub": user, "username": user, "token_use": "access"})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])


class NotSubscribed(Exception):
    """A subscription that was not let in, with `answer`: AppSync's, which has `errors`."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer)
        self.answer = answer


Event = Mapping[str, str]
"""What `ARGUMENTS` of the mutation were given, which is what it answers and what subscribers choose from."""
Subscriber = Callable[[Event], dict[str, Any] | None]
"""Makes of an event the answer to one subscription, or None where the event is another's."""


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
        models, sdl = amplify_schema.load()
        self._tables = {model.name: _table_of(model, tables) for model in models}
        self.schema = _with_exact_hours(sdl + _EVENTS)
        for model in models:
            for operation, name in model.operations.items():
                kind = "Query" if operation in amplify_schema.QUERIES else "Mutation"
                self._field(kind, name).resolve = self._resolver(model, operation)
            for field in filter(model.readers_differ, model.types):
                self._field(model.name, field).resolve = _readers_only(model.field_rules[field])
        self._field("Mutation", MUTATION).resolve = _the_rule_alone
        self._field("Subscription", SUBSCRIPTION).resolve = _own_events_alone

    def answer(self, body: bytes, authorization: str | None) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the JSON of the answer to a POST."""
        try:
            caller = caller_of(authorization)
            request = read_request(body)
        except AppSyncRefusal as refusal:
            status = 401 if refusal.error_type == "UnauthorizedException" else 400
            return status, refused(refusal.error_type, str(refusal))
        if errors := self._invalid(request):
            return 200, {"data": None, "errors": errors}
        if request.kind == "subscription":
            return 400, refused("BadRequestException", "A subscription is asked for over a WebSocket.")
        return 200, self._execute(request, caller)

    def subscribe(self, body: str, caller: Claims) -> Subscriber:
        """Let a subscription in.

        Raises
        ------
        NotSubscribed
            If it is none, is not known, or is not for this caller.
        """
        try:
            request = read_request(body)
            if request.kind != "subscription":
                words = f"{request.kind or 'unknown'} not supported through the realtime channel"
                raise AppSyncRefusal("UnsupportedOperation", words)
        except AppSyncRefusal as refusal:
            raise NotSubscribed(refused(refusal.error_type, str(refusal))) from None
        if errors := self._invalid(request):
            for error in errors:
                error["message"] += f" The local stand-in has the subscription {SUBSCRIPTION}, and no other."
            raise NotSubscribed({"errors": errors})
        # AppSync runs the subscription's resolver once, when it begins
        if "errors" in (answer := self._execute(request, caller)):
            raise NotSubscribed({"errors": answer["errors"]})

        def told(event: Event) -> dict[str, Any] | None:
            answer = self._execute(request, caller, event)
            return answer if "errors" in answer or any(answer["data"].values()) else None

        return told

    def publish(self, event: Event) -> Event:
        """Call the mutation as the rule on the bus does, and return what it says to subscribers.

        Raises
        ------
        ValueError
            If the API does not take it.
        """
        answer = self._execute(Request(graphql.parse(OPERATION), dict(event), None), THE_RULE)
        if "errors" in answer:
            raise ValueError(answer["errors"][0]["message"])
        return answer["data"][MUTATION]

    def _invalid(self, request: Request) -> list[dict[str, Any]]:
        return [in_appsyncs_form(error) for error in graphql.validate(self.schema, request.document)]

    def _execute(self, request: Request, caller: Claims, root: Event | None = None) -> dict[str, Any]:
        result = graphql.execute_sync(
            self.schema,
            request.document,
            root_value=root,
            variable_values=request.variables,
            operation_name=request.operation,
            context_value=caller,
        )
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = [in_appsyncs_form(error) for error in result.errors]
        return answer

    def _field(self, type_: str, name: str) -> graphql.GraphQLField:
        found: Any = self.schema.type_map[type_]
        return found.fields[name]

    def _resolver(self, model: AmplifyModel, operation: str) -> Callable[..., Any]:
        do = {"get": self._get, "list": self._list, "create": self._create, "update": self._update}[operation]

        def resolve(_: Any, info: graphql.GraphQLResolveInfo, **arguments: Any) -> Any:
            try:
                return do(model, info.context, arguments)
            except PermissionError:
                raise unauthorized(info) from None
            except ClientError as error:
                raise of_dynamodb(error) from None
            except NotUnderstoodError:
                raise AppSyncRefusal("Unrecognized Filter", "Unable to process the filter expression") from None
            except ParamValidationError as error:  # DynamoDB would say it, did the SDK not say it first
                raise AppSyncRefusal("DynamoDB:ValidationException", str(error)) from None

        return resolve

    def _get(self, model: AmplifyModel, caller: Claims, arguments: Mapping[str, Any]) -> Any:
        is_own, whose = _read_rules(model, "get", caller, arguments)
        record = self._stored(model, arguments[model.key])
        if record and not is_own and not any(rule.is_owner(record, caller) for rule in whose):
            raise PermissionError
        return record

    def _list(self, model: AmplifyModel, caller: Claims, arguments: Mapping[str, Any]) -> Any:
        if arguments.get("sortDirection") is not None:
            words = "sortDirection is not supported for List operations without a Sort key defined."
            raise AppSyncRefusal("InvalidArgumentsError", words)
        is_own, whose = _read_rules(model, "list", caller, arguments)
        owned = None if is_own else {"or": [{rule.owner: {"eq": caller[rule.claim]}} for rule in whose]}
        limit = arguments.get("limit")
        # as with Amplify, the limit counts what is looked at, of which the filters leave less
        request: dict[str, Any] = {"TableName": self._tables[model.name], "Limit": PAGE if limit is None else limit}
        expression = FilterExpressions()
        if text := expression.all_of(owned, arguments.get("filter")):
            request["FilterExpression"] = text
        ask = self._dynamodb.scan
        if (key := arguments.get(model.key)) is not None:
            request["KeyConditionExpression"] = expression.equals(model.key, key)
            ask = self._dynamodb.query
        if (token := arguments.get("nextToken")) is not None:
            request["ExclusiveStartKey"] = _start_of(token)
        found = ask(**request, **expression.parameters())
        last = found.get("LastEvaluatedKey")
        return {
            "items": [plain(item) for item in found["Items"]],
            "nextToken": last and base64.urlsafe_b64encode(json.dumps(last).encode()).decode(),
        }

    def _create(self, model: AmplifyModel, caller: Claims, arguments: Mapping[str, Any]) -> Any:
        # Amplify takes a default for something that the client wrote
        given = dict(arguments["input"])
        given |= {name: value for name, value in model.defaults.items() if given.get(name) is None}
        values = dict(given)
        for rule in model.all_rules:
            if rule.covers("create"):  # an owner who is not named is the caller
                values.setdefault(rule.owner, caller.get(rule.claim))
        _deny_others(given, model.allowed("create", values, caller))
        created = now()
        made_up = {model.key: str(uuid.uuid4()), "createdAt": created, "updatedAt": created}
        record = made_up | values | {"__typename": model.name}
        expression = FilterExpressions()
        self._dynamodb.put_item(
            TableName=self._tables[model.name],
            Item=people.item(record),
            ConditionExpression=expression.all_of({model.key: {"attributeExists": False}}, arguments.get("condition")),
            **expression.parameters(),
        )
        return record

    def _update(self, model: AmplifyModel, caller: Claims, arguments: Mapping[str, Any]) -> Any:
        given = arguments["input"]
        record = self._stored(model, given[model.key]) or {}
        allowed = model.allowed("update", record, caller)
        if allowed:
            allowed.add(model.key)
        # the right to delete a field is, with Amplify, the right to give null
        emptied = {name for name, value in given.items() if value is None} - model.allowed("delete", record, caller)
        _deny_others(given, allowed - emptied)
        values = {name: value for name, value in given.items() if name != model.key}
        expression = FilterExpressions()
        answer = self._dynamodb.update_item(
            TableName=self._tables[model.name],
            Key={model.key: {"S": given[model.key]}},
            UpdateExpression=expression.update({"updatedAt": now()} | values),
            ConditionExpression=expression.all_of({model.key: {"attributeExists": True}}, arguments.get("condition")),
            ReturnValues="ALL_NEW",
            **expression.parameters(),
        )
        return plain(answer["Attributes"])

    def _stored(self, model: AmplifyModel, key: str) -> dict[str, Any] | None:
        answer = self._dynamodb.get_item(
            TableName=self._tables[model.name], Key={model.key: {"S": key}}, ConsistentRead=True
        )
        return plain(answer["Item"]) if "Item" in answer else None


def _table_of(model: AmplifyModel, tables: Mapping[str, str]) -> str:
    try:
        return tables[model.name[0].lower() + model.name[1:]]
    except KeyError:
        raise HourBankError(f"{model.name}: a local run has no table of this model") from None


def _deny_others(given: Mapping[str, Any], allowed: set[str]) -> None:
    if not allowed:
        raise PermissionError
    if denied := [name for name in given if name not in allowed]:
        raise AppSyncRefusal("Unauthorized", f"Unauthorized on [{', '.join(denied)}]")


def _read_rules(
    model: AmplifyModel, operation: str, caller: Claims, arguments: Mapping[str, Any]
) -> tuple[bool, list[Rule]]:
    """Return whether the key that is asked for is the caller's own, and the rules that a record is looked at for.

    Raises
    ------
    PermissionError
        If it is not, and there are none: Amplify refuses that before it reads.
    """
    rules = [rule for rule in model.rules if rule.covers(operation) and rule.claim in caller]
    asked = {} if arguments.get(model.key) is None else {model.key: arguments[model.key]}
    is_own = any(rule.is_owner(asked, caller) for rule in rules)
    whose = [rule for rule in rules if rule.owner not in asked]
    if not is_own and not whose:
        raise PermissionError
    return is_own, whose


def _the_rule_alone(_: Any, info: graphql.GraphQLResolveInfo, **event: str) -> Event:
    """As amplify/publishRequestEvent.js."""
    if info.context is not THE_RULE:
        raise unauthorized(info)
    return event


def _own_events_alone(event: Event | None, info: graphql.GraphQLResolveInfo, **asked: str) -> Event | None:
    """As amplify/onRequestEvent.js, and AppSync, which compares the arguments with what the mutation says."""
    if info.context["sub"] != asked["userId"]:
        raise unauthorized(info)
    return event if event and all(event[name] == value for name, value in asked.items()) else None


def _start_of(token: str) -> dict[str, Any]:
    try:
        key = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        key = None
    if not isinstance(key, dict):
        raise AppSyncRefusal("BadRequestException", "Invalid pagination token given.")
    return key


def _readers_only(rules: tuple[Rule, ...]) -> Callable[..., Any]:
    def resolve(record: Mapping[str, Any], info: graphql.GraphQLResolveInfo) -> Any:
        if not any(rule.covers("get") and rule.is_owner(record, info.context) for rule in rules):
            raise unauthorized(info)
        return record.get(info.field_name)

    return resolve


def _with_exact_hours(sdl: str) -> graphql.GraphQLSchema:
    """Return the schema, with a Float whose inputs stay the decimals that were written."""

    def exact(value: Any) -> Decimal:
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            with contextlib.suppress(ArithmeticError):
                return DYNAMODB_CONTEXT.create_decimal(value)
        raise graphql.GraphQLError(f"Float cannot represent the value {value}")

    def literal(node: ast.ValueNode, _: Any = None) -> Decimal:
        if isinstance(node, ast.FloatValueNode | ast.IntValueNode):
            return exact(Decimal(node.value))
        raise graphql.GraphQLError(f"Float cannot represent the value {graphql.print_ast(node)}", node)

    # under another name first: the library keeps this one for its own, which all schemas share
    schema = graphql.build_schema(re.sub(r"\bFloat\b", "Exact", sdl) + "\nscalar Exact")
    scalar: Any = schema.type_map.pop("Exact")
    scalar.name = "Float"
    scalar.parse_value, scalar.parse_literal = exact, literal
    of_library: Any = graphql.GraphQLFloat
    scalar.serialize, scalar.description = of_library.serialize, of_library.description
    schema.type_map["Float"] = scalar
    return schema
