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
from hourbank.fields import FIELDS, MUTATIONS, NEWER, of_grants, of_model, shown


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
    yield from (Check("schema TransactionLog", Outcome.NOTE, *problem) for problem in of_grants(types))
    for model, what in newer(types):
        yield Check(f"schema {model}", Outcome.NOTE, *what)
    for name, type_ in types.items():
        yield from (Check(f"schema {name}", Outcome.MISS, *problem) for problem in shown(type_))
    mutations = {one["name"] for one in types.get("Mutation", {}).get("fields") or []}
    if spare := [name for name in MUTATIONS if name in mutations]:
        remedy = "turn them off, as amplify/schema.graphql does: only @auth is between a client and these records"
        yield Check("schema Mutation", Outcome.NOTE, f"has {', '.join(spare)}", remedy)
    if endpoint:
        what = "appsyncEndpoint"
        problems = [Check(what, Outcome.MISS, *problem) for problem in of_subscriptions(endpoint, api, types)]
        yield from problems or [Check(what, Outcome.FITS, f"{endpoint}, mutation {MUTATION}")]


def newer(types: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Say of each model which field its schema is older than, and what the field is for."""
    for model, fields in NEWER.items():
        there = {field["name"] for field in types.get(model, {}).get("fields") or []}
        for name, what_for in fields.items():
            if there and name not in there:
                yield model, (f"has no {name}", f"add it from amplify/schema.graphql: {what_for}")


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
