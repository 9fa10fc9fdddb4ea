"""What AppSync is asked and what it answers: the form of requests, answers and errors."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from typing import Any, NamedTuple

import graphql
from botocore.exceptions import ClientError

# far more than a page's queries have, and too few to keep a validator busy
MOST_TOKENS = 5000


class AppSyncRefusal(Exception):
    """An answer of AppSync's with an errorType."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


def refused(error_type: str, message: str) -> dict[str, Any]:
    """Return AppSync's answer to a request of which nothing was executed."""
    return {"errors": [{"errorType": error_type, "message": message}]}


class Request(NamedTuple):
    """What is asked for: the document, its variables, and the name of the operation where there are several."""

    document: graphql.DocumentNode
    variables: dict[str, Any] | None
    operation: str | None

    @property
    def kind(self) -> str | None:
        """`query`, `mutation`, `subscription`, or None where it is not clear which is asked for."""
        node: Any = graphql.get_operation_ast(self.document, self.operation)
        return node.operation.value if node else None


def read_request(body: bytes | str) -> Request:
    """Return what the JSON of a request asks for; decimals in it stay as they are written.

    Raises
    ------
    AppSyncRefusal
        If it cannot be read.
    """
    try:
        request = json.loads(body, parse_float=Decimal, parse_constant=_no_number)
        query, variables, operation = request["query"], request.get("variables"), request.get("operationName")
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        query = variables = operation = None
    if isinstance(query, str) and isinstance(variables, dict | None) and isinstance(operation, str | None):
        with contextlib.suppress(graphql.GraphQLError, RecursionError):
            return Request(graphql.parse(query, max_tokens=MOST_TOKENS), variables, operation)
    raise AppSyncRefusal("MalformedHttpRequestException", "Unable to parse GraphQL query.")


def _no_number(word: str) -> None:
    raise ValueError(word)


def in_appsyncs_form(error: graphql.GraphQLError) -> dict[str, Any]:
    """Return an error as it stands in AppSync's answers."""
    places = [{"line": at.line, "column": at.column, "sourceName": None} for at in error.locations or ()]
    cause, message = error.original_error, error.message
    answer: dict[str, Any] = {"path": error.path, "locations": places or None}
    if isinstance(cause, AppSyncRefusal):
        answer |= {"data": None, "errorType": cause.error_type, "errorInfo": None}
    elif cause is not None and not isinstance(cause, graphql.GraphQLError):
        # whatever it says, it was not written for a client
        answer |= {"data": None, "errorType": "InternalFailure", "errorInfo": None}
        message = f"The stand-in failed ({type(cause).__name__})"
    return answer | {"message": message}


def unauthorized(info: graphql.GraphQLResolveInfo) -> AppSyncRefusal:
    """Return what is said to who may not have a field."""
    words = f"Not Authorized to access {info.field_name} on type {info.parent_type.name}"
    return AppSyncRefusal("Unauthorized", words)


def of_dynamodb(error: ClientError) -> AppSyncRefusal:
    """Return what AppSync makes of an error of DynamoDB's."""
    code = error.response["Error"]["Code"].rpartition("#")[2]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    message = error.response["Error"].get("Message", code)
    if code == "ConditionalCheckFailedException":
        message = "The conditional request failed"
    return AppSyncRefusal(f"DynamoDB:{code}", f"{message} (Service: DynamoDb, Status Code: {status})")
