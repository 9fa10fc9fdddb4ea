"""The four tables that Amplify owns: looked up by name and checked, never created or altered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from components.models import MODELS
from components.settings import Settings

STREAMED = "serviceRequest"
# The router reads new images only; Amplify's own tables stream both.
STREAM_VIEWS = ("NEW_AND_OLD_IMAGES", "NEW_IMAGE")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as AWS describes it."""

    name: str
    arn: str
    stream_arn: str | None
    key_arn: str | None
    """The KMS key that it is encrypted with; DynamoDB's own needs no right of anybody's, and has none here."""


def look_up(settings: Settings) -> Mapping[str, Table]:
    """The four tables by their key in the configuration.

    Raises
    ------
    pulumi.RunError
        One line for the first table that cannot serve: which, what is wrong, what to do.
    """
    names = {**settings.table_names, **exported_names(settings)}
    if len(set(names.values())) < len(names):
        both = ", ".join(sorted(names.values()))
        raise pulumi.RunError(
            f"hourbank:tables names one table twice, with those of API {settings.amplify_api_id} ({both}): "
            f"each of the four models has a table of its own (stack {settings.env})"
        )
    return {key: look_up_one(key, names[key], settings) for key in MODELS}


def exported_names(settings: Settings) -> Mapping[str, str]:
    """The names that the API's own stacks export, by key, where the configuration does not tell them.

    They are right also where Amplify's rule is not: a model renamed with ``@mapsTo`` keeps its table.
    """
    names = {}
    for key in [key for key in MODELS if key not in settings.told_tables]:
        try:
            name = aws.cloudformation.get_export(name=f"{settings.amplify_api_id}:GetAtt:{MODELS[key].export}").value
        except Exception:  # noqa: BLE001 the SDK raises just that; there is no such export, or nobody may look at it
            break  # an API exports all of its tables or none: each look-up reads every export of the account
        api_and_env = f"-{settings.amplify_api_id}-"
        if api_and_env in name and (environment := name.rpartition(api_and_env)[2]) != settings.amplify_env:
            raise pulumi.RunError(
                f"hourbank:amplifyEnv is {settings.amplify_env!r}, but {MODELS[key].name}'s table of API "
                f"{settings.amplify_api_id} is {name}: set it to {environment}, or amplifyApiId to the API of "
                f"{settings.amplify_env} (stack {settings.env})"
            )
        names[key] = name
    return names


def look_up_one(key: str, name: str, settings: Settings) -> Table:
    def refused(what: str, instead: str) -> pulumi.RunError:
        return pulumi.RunError(f"table {name} ({MODELS[key].name}): {what}: {instead}")

    try:
        table = aws.dynamodb.get_table(name=name)
    except Exception as error:  # noqa: BLE001 the SDK raises just that, whatever the provider answers
        reason = " ".join(str(error).split())
        if "ResourceNotFound" in reason or "couldn't find resource" in reason or "empty result" in reason:
            where = f"hourbank:amplifyApiId, hourbank:amplifyEnv (or hourbank:tables.{key}) and aws:region"
            raise refused(f"does not exist in {settings.region}", f"check {where}") from None
        raise refused(f"cannot be read ({reason[:300]})", "check AWS credentials and dynamodb:DescribeTable") from None

    encrypted = table.server_side_encryption
    description = Description(
        hash_key=table.hash_key,
        range_key=table.range_key,
        types={attribute.name: attribute.type for attribute in table.attributes or []},
        ttl_attribute=table.ttl.attribute_name if table.ttl else None,
        stream_arn=table.stream_arn or None,
        stream_view=table.stream_view_type,
        key_arn=(encrypted.kms_key_arn or None) if encrypted else None,
    )
    if objection := objection_to(key, description, allow_conflict_resolution=settings.allow_conflict_resolution):
        raise refused(*objection)
    return Table(name=name, arn=table.arn, stream_arn=description.stream_arn, key_arn=description.key_arn)


def decryption(settings: Settings, *tables: Table) -> list[Mapping[str, Any]]:
    """What whoever reads or writes these tables needs besides, as IAM statements: DynamoDB decrypts in their name.

    https://docs.aws.amazon.com/kms/latest/developerguide/services-dynamodb.html
    """
    keys = sorted({table.key_arn for table in tables if table.key_arn})
    if not keys:
        return []
    host = f"dynamodb.{settings.region}.amazonaws.com"
    # China's regions have another ending
    through = {"StringEquals": {"kms:ViaService": [host, f"{host}.cn"]}}
    return [{"Effect": "Allow", "Action": "kms:Decrypt", "Resource": keys, "Condition": through}]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What decides whether a table can serve."""

    hash_key: str
    range_key: str | None
    types: Mapping[str, str]
    """Of the attributes in keys, such as ``{"id": "S"}``."""
    ttl_attribute: str | None
    stream_arn: str | None
    stream_view: str | None
    key_arn: str | None = None
    """The KMS key that encrypts it, where it is not DynamoDB's own."""
    indexes: Mapping[str, str] = field(default_factory=dict)
    """The attribute of each index by its name, of those that can be asked."""


def objection_to(key: str, table: Description, *, allow_conflict_resolution: bool) -> tuple[str, str] | None:
    """What is wrong with a table and what to do; None if it can serve as the model of this key."""
    if table.hash_key != MODELS[key].hash_key or table.range_key or table.types.get(table.hash_key, "S") != "S":
        parts = [part for part in (table.hash_key, table.range_key) if part]
        found = " and ".join(f"{part} ({table.types.get(part, '?')})" for part in parts)
        return f"its key is {found}", f"the workflows need {MODELS[key].hash_key} (S) alone; check @primaryKey"
    if table.ttl_attribute == "_ttl" and not allow_conflict_resolution:
        return (
            "it has conflict resolution (DataStore), which the workflows' writes would break",
            "turn that off in Amplify, or set hourbank:allowConflictResolution to true if nothing uses DataStore on it",
        )
    # a stream that was turned off keeps its ARN, and has no view
    if key == STREAMED and not (table.stream_arn and table.stream_view):
        return "it has no stream", "turn its stream on with NEW_AND_OLD_IMAGES, Amplify's default"
    if key == STREAMED and table.stream_view not in STREAM_VIEWS:
        return (
            f"its stream shows {table.stream_view}",
            "the router needs new images; set the stream to NEW_AND_OLD_IMAGES, Amplify's default",
        )
    return None
