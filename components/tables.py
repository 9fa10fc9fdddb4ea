"""The four tables that Amplify owns: looked up by name and checked, never created or altered."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.settings import MODELS, Settings

HASH_KEYS = {"serviceRequest": "id", "escrow": "id", "userBalance": "userId", "transactionLog": "id"}
STREAMED = "serviceRequest"
# The router reads new images only; Amplify's own tables stream both.
STREAM_VIEWS = ("NEW_AND_OLD_IMAGES", "NEW_IMAGE")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as AWS describes it."""

    name: str
    arn: str
    stream_arn: str | None


def look_up(settings: Settings) -> Mapping[str, Table]:
    """The four tables by their key in the configuration.

    Raises
    ------
    pulumi.RunError
        One line for the first table that cannot serve: which, what is wrong, what to do.
    """
    return {key: look_up_one(key, settings) for key in MODELS}


def look_up_one(key: str, settings: Settings) -> Table:
    name = settings.table_names[key]

    def refused(what: str, instead: str) -> pulumi.RunError:
        return pulumi.RunError(f"table {name} ({MODELS[key]}): {what}: {instead}")

    try:
        table = aws.dynamodb.get_table(name=name)
    except Exception as error:  # noqa: BLE001 the SDK raises just that, whatever the provider answers
        reason = " ".join(str(error).split())
        if "ResourceNotFound" in reason or "couldn't find resource" in reason or "empty result" in reason:
            where = f"hourbank:amplifyApiId, hourbank:amplifyEnv (or hourbank:tables.{key}) and aws:region"
            raise refused(f"does not exist in {settings.region}", f"check {where}") from None
        raise refused(f"cannot be read ({reason[:300]})", "check AWS credentials and dynamodb:DescribeTable") from None

    types = {attribute.name: attribute.type for attribute in table.attributes or []}
    if table.hash_key != HASH_KEYS[key] or table.range_key or types.get(table.hash_key, "S") != "S":
        found = " and ".join(f"{part} ({types.get(part, '?')})" for part in (table.hash_key, table.range_key) if part)
        raise refused(f"its key is {found}", f"the workflows need {HASH_KEYS[key]} (S) alone; check @primaryKey")
    if table.ttl and table.ttl.attribute_name == "_ttl" and not settings.allow_conflict_resolution:
        raise refused(
            "it has conflict resolution (DataStore), which the workflows' writes would break",
            "turn that off in Amplify, or set hourbank:allowConflictResolution to true if nothing uses DataStore on it",
        )
    if key == STREAMED and not table.stream_arn:
        raise refused("it has no stream", "turn its stream on with NEW_AND_OLD_IMAGES, Amplify's default")
    if key == STREAMED and table.stream_view_type not in STREAM_VIEWS:
        raise refused(
            f"its stream shows {table.stream_view_type}",
            "the router needs new images; set the stream to NEW_AND_OLD_IMAGES, Amplify's default",
        )
    return Table(name=name, arn=table.arn, stream_arn=table.stream_arn or None)
