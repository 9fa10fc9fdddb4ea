"""What the app's GraphQL schema must say of the four models, for the workflows and for clients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
# What a schema may lack because it is older than the field: everything works without it, but for what the field is for.
NEWER: Mapping[str, Mapping[str, str]] = {
    "ServiceRequest": {"failureCode": "an app that has it can say in its own words why a request ended"},
}
# whoever reads these can answer for anybody
SECRET = ("taskToken", "taskTokenAttempt")
HOURS = ("estimatedHours", "counterOfferHours", "offeredHours", "hours", "availableBalance")
# not there when a client creates the record
LATER = (
    *("providerResponseTimeoutSeconds", "providerResponse", "counterOfferHours", "requesterResponse"),
    *("status", "offeredHours", "stepFunctionExecutionArn", "failureReason", "failureCode"),
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
# what only an entry of a grant says: an app that grants no hours by the workflows never has one
GRANT = "GRANT"
# with which a client could write what is the workflows' alone, were it not for @auth
MUTATIONS = (
    "deleteServiceRequest",
    *(
        f"{verb}{model}"
        for model in ("Escrow", "UserBalance", "TransactionLog")
        for verb in ("create", "update", "delete")
    ),
)


def shown(type_: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say what of a type nobody may see, and what to do."""
    members = [*(type_.get("fields") or []), *(type_.get("inputFields") or [])]
    if secret := [one["name"] for one in members if one["name"] in SECRET]:
        yield f"shows {', '.join(secret)}", "remove it from the schema: whoever reads it can answer for anybody"


def of_model(model: str, types: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say what is wrong with the type of a model, and what to do.

    Parameters
    ----------
    types
        By name, as GraphQL's introspection has them: `fields`, `enumValues`, and of a type `kind`, `name` and `ofType`.
    """
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


def of_grants(types: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say why nobody could read the entry of a grant in the log, and what to do."""
    fields = {field["name"]: field["type"] for field in types.get("TransactionLog", {}).get("fields") or []}
    if (type_ := fields.get("type")) is None:
        return
    name = (type_["ofType"] if type_["kind"] == "NON_NULL" else type_)["name"]
    values = {one["name"] for one in types.get(name, {}).get("enumValues") or []}
    if values and GRANT not in values:
        yield f"type cannot be {GRANT}", f"add it to enum {name} before the bank grants hours"
