"""Whether the GraphQL schema of the app has what the workflows and their clients need."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from components.subscriptions import ARGUMENTS, MUTATION
from handlers.aws.dynamodb import client
from hourbank.account.checks import GONE, Account, Check, Outcome
from hourbank.account.stack import error_in_words, is_refusal

WRITTEN = ("createdAt", "updatedAt")
# What a client must be able to ask GraphQL for, by model; amplify/schema.graphql says who may read and write it.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "ServiceRequest": (
        *("id", "serviceId", "requesterId", "providerId", "estimatedHours", "providerResponseTimeoutSeconds"),
        *("providerResponse", "counterOfferHours", "requesterResponse"),
        *("status", "offeredHours", "stepFunctionExecutionArn", "failureReason", *WRITTEN),
    ),
    "Escrow": ("id", "requestId", "requesterId", "providerId", "hours", "executionArn", "status", *WRITTEN),
    "UserBalance": ("userId", "availableBalance", *WRITTEN),
    "TransactionLog": ("id", "requestId", "type", "hours", "fromAccount", "toAccount", *WRITTEN),
}
# whoever reads these can answer for anybody
SECRET = ("taskToken", "taskTokenAttempt")
HOURS = ("estimatedHours", "counterOfferHours", "offeredHours", "hours", "availableBalance")
# not there when a client creates the record
LATER = (
    *("providerResponseTimeoutSeconds", "providerResponse", "counterOfferHours", "requesterResponse"),
    *("status", "offeredHours", "stepFunctionExecutionArn", "failureReason"),
)
WORDS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("ServiceRequest", "status"): (
        *("PENDING", "VALIDATING", "ESCROWED", "AWAITING_PROVIDER", "NEGOTIATING", "IN_PROGRESS", "COMPLETED"),
        *("REJECTED", "DECLINED", "CANCELLED", "TIMED_OUT", "FAILED"),
    ),
    ("ServiceRequest", "providerResponse"): ("ACCEPTED", "REJECTED", "COUNTER_OFFER", "WITHDRAWN"),
    ("ServiceRequest", "requesterResponse"): ("CANCELLED", "ACCEPTED", "REJECTED", "COMPLETED"),
    ("Escrow", "status"): ("HELD", "RELEASED", "REFUNDED"),
    ("TransactionLog", "type"): ("ESCROW_HOLD", "ESCROW_ADJUST", "ESCROW_REFUND", "ESCROW_RELEASE"),
}
# with which a client could write what is the workflows' alone, were it not for @auth
MUTATIONS = (
    "deleteServiceRequest",
    *(
        f"{verb}{model}"
        for model in ("Escrow", "UserBalance", "TransactionLog")
        for verb in ("create", "update", "delete")
    ),
)


def schema(api_id: str, endpoint: str, account: Account) -> Iterator[Check]:
    """Hold what AppSync says of its types against what the workflows and their clients need."""
    appsync = client("appsync")
    try:
        api = appsync.get_graphql_api(apiId=api_id)["graphqlApi"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
        pages = appsync.get_paginator("list_graphql_apis").paginate()
        there = ", ".join(f"{one['apiId']} ({one['name']})" for page in pages for one in page["graphqlApis"])
        found = f"there is no API {api_id} in {account.region}"
        remedy = f"set amplifyApiId to one of {there}" if there else "check amplifyApiId and aws:region"
        yield Check("schema", Outcome.MISS, found, remedy)
        return
    try:
        answer = json.loads(appsync.get_introspection_schema(apiId=api_id, format="JSON")["schema"].read())
        types = {one["name"]: one for one in answer.get("data", answer)["__schema"]["types"]}
    except (ClientError, AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ClientError) and is_refusal(error):
            raise
        found = error_in_words(error) if isinstance(error, ClientError) else f"AppSync shows none of API {api_id}"
        yield Check("schema", Outcome.MISS, found, "deploy the API's schema, with the models of amplify/schema.graphql")
        return
    for model in FIELDS:
        problems = [Check(f"schema {model}", Outcome.MISS, *problem) for problem in of_model(model, types)]
        yield from problems or [Check(f"schema {model}", Outcome.FITS, f"{len(FIELDS[model])} fields")]
    for name, type_ in types.items():
        members = [*(type_.get("fields") or []), *(type_.get("inputFields") or [])]
        if shown := [one["name"] for one in members if one["name"] in SECRET]:
            remedy = "remove it from the schema: whoever reads it can answer for anybody"
            yield Check(f"schema {name}", Outcome.MISS, f"shows {', '.join(shown)}", remedy)
    mutations = {one["name"] for one in types.get("Mutation", {}).get("fields") or []}
    if spare := [name for name in MUTATIONS if name in mutations]:
        remedy = "turn them off, as amplify/schema.graphql does: only @auth is between a client and these records"
        yield Check("schema Mutation", Outcome.NOTE, f"has {', '.join(spare)}", remedy)
    if endpoint:
        what = "appsyncEndpoint"
        problems = [Check(what, Outcome.MISS, *problem) for problem in of_subscriptions(endpoint, api, types)]
        yield from problems or [Check(what, Outcome.FITS, f"{endpoint}, mutation {MUTATION}")]


def of_model(model: str, types: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say what is wrong with the type of a model, and what to do."""
    if model not in types:
        yield f"there is no type {model}", "add it: amplify/schema.graphql has all four models"
        return
    fields = {field["name"]: field["type"] for field in types[model].get("fields") or []}
    if missing := [name for name in FIELDS[model] if name not in fields]:
        yield f"has no {', '.join(missing)}", "add what is missing: amplify/schema.graphql has the models"
    for name, type_ in fields.items():
        required = type_["kind"] == "NON_NULL"
        if required:
            yield from of_required(model, name)
        yield from of_values(model, name, type_["ofType"] if required else type_, types)


def of_required(model: str, name: str) -> Iterator[tuple[str, str]]:
    """A field that must have a value cannot be read, nor what it is in, where nobody has written one."""
    if model == "ServiceRequest":
        if name in LATER:
            yield f"{name} is required", "make it nullable: a request begins without it"
    # AppSync's own, where there is conflict resolution, begin with _
    elif name not in FIELDS[model] and not name.startswith("_"):
        yield f"{name} is required", "make it nullable: the workflows write these records, and do not write it"


def of_values(model: str, name: str, type_: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if name in HOURS and type_["name"] == "Int":
        yield f"{name} is Int", "make it Float: there are half hours"
    values = {one["name"] for one in types.get(type_["name"], {}).get("enumValues") or []}
    if values and (lacking := [word for word in WORDS.get((model, name), ()) if word not in values]):
        add = f"add them to enum {type_['name']}, or nobody can read the record"
        yield f"{name} cannot be {', '.join(lacking)}", add


def of_subscriptions(endpoint: str, api: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say why events would not reach AppSync's subscribers."""
    if endpoint != api["uris"]["GRAPHQL"]:
        yield f"{endpoint} is not the URL of API {api['apiId']}", f"set it to {api['uris']['GRAPHQL']}, or to nothing"
    modes = {one["authenticationType"] for one in (api, *api.get("additionalAuthenticationProviders", []))}
    if "AWS_IAM" not in modes:
        yield "the API does not take IAM, with which EventBridge calls it", "add AWS_IAM to its authorization modes"
    mutations = {one["name"]: one for one in types.get("Mutation", {}).get("fields") or []}
    if MUTATION not in mutations:
        yield f"there is no mutation {MUTATION}", "add it: docs/app/subscriptions.md"
    elif lacking := set(ARGUMENTS) - {one["name"] for one in mutations[MUTATION]["args"]}:
        yield f"mutation {MUTATION} has no {', '.join(sorted(lacking))}", "see docs/app/subscriptions.md"
