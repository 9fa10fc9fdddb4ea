"""A stack's own way to AWS: where its configuration leads Pulumi's provider, it leads boto3 too.

The keys are the provider's: https://www.pulumi.com/registry/packages/aws/installation-configuration/. Without them the
environment leads, and the profile that it names, as it leads the provider.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    AssumeRoleWithWebIdentityCredentialFetcher,
    CachedCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    Credentials,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import NoCredentialsError, ProfileNotFound

from hourbank.errors import HourBankError, UnreachableError
from hourbank.program.configuration import StackConfig

_KEYS = ("accessKey", "secretKey", "token")
# Before version 7 the provider had one role, and its key was `assumeRole`.
_ROLES = ("assumeRoles", "assumeRole")
_WEB = "assumeRoleWithWebIdentity"
_FILES = {"sharedConfigFiles": "config_file", "sharedCredentialsFiles": "credentials_file"}
_DECIDING = ("region", "profile", *_KEYS, *_ROLES, _WEB, *_FILES)
# What a role is assumed with, by the provider's key: STS's name of it.
_ROLE_ARGUMENTS = {
    "roleArn": "RoleArn",
    "sessionName": "RoleSessionName",
    "externalId": "ExternalId",
    "policy": "Policy",
    "policyArns": "PolicyArns",
    "duration": "DurationSeconds",
    "durationSeconds": "DurationSeconds",
    "sourceIdentity": "SourceIdentity",
    "tags": "Tags",
    "transitiveTagKeys": "TransitiveTagKeys",
}
# https://pkg.go.dev/time#ParseDuration
_UNITS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def follow(config: StackConfig, region: str | None) -> str:
    """Let boto3, from here on, ask whom the provider asks for this stack; return what leads there, in words.

    Parameters
    ----------
    config : StackConfig
        The stack's configuration.
    region : str, optional
        AWS's region; without one, the stack's own, then that of the environment.

    Raises
    ------
    HourBankError
        One line: a value is not what the provider takes, is a secret, or no such profile is there.
    """
    config.need(f"aws:{key}" for key in _DECIDING if not (key == "region" and region))
    given = {key: value for key in _DECIDING if (value := config.values.get(f"aws:{key}", "").strip())}
    session = botocore.session.get_session()
    for key, variable in _FILES.items():
        files = [str(Path(one).expanduser()) for one in _several(key, given.get(key, "[]"))]
        if len(files) > 1:
            raise HourBankError(f"aws:{key} names {len(files)} files, and only Pulumi reads more than one: name one")
        if files:
            session.set_config_variable(variable, files[0])
    if profile := given.get("profile"):
        session.set_config_variable("profile", profile)
    # botocore reads AWS_DEFAULT_REGION alone
    if place := region or given.get("region") or os.environ.get("AWS_REGION"):
        session.set_config_variable("region", place)
    led = [f"the profile {profile} (aws:profile)"] if profile else []
    try:
        if "accessKey" in given:
            led.append("keys of its own (aws:accessKey)")
        led += _assume(session, given)
        boto3.setup_default_session(botocore_session=session)
    except ProfileNotFound as error:
        if not profile:
            raise
        raise UnreachableError(
            f"there is no profile {profile}, which aws:profile of this stack names: "
            f"`aws configure --profile {profile}` or `aws login --profile {profile}` makes it"
        ) from error
    return ", ".join(led)


def _assume(session: botocore.session.Session, given: Mapping[str, str]) -> list[str]:
    """Let a session go on as the roles that are to be assumed, each by the one before; return the roles in words."""
    roles: list[tuple[str, Any]] = []
    if _WEB in given:
        roles.append((_WEB, _read(_WEB, given[_WEB])))
    for key in _ROLES:
        found = _read(key, given[key]) if key in given else []
        roles += [(key, one) for one in (found if isinstance(found, list) else [found])]
    provider = None
    if "accessKey" in given:
        provider = _Provider(Credentials(given["accessKey"], given.get("secretKey", ""), given.get("token")))
    for key, role in roles:
        if not isinstance(role, dict) or not str(role.get("roleArn") or "").startswith("arn:"):
            raise HourBankError(f"aws:{key} has no role's ARN as its roleArn: correct it")
        if key == _WEB:
            provider = _Provider(_fetched(_by_token(session, role)))
            continue
        source = provider.load() if provider else session.get_component("credential_provider").load_credentials()
        if source is None:
            raise NoCredentialsError
        # any, because botocore's annotation of what makes a client has none of its arguments
        create: Any = session.create_client
        fetcher = AssumeRoleCredentialFetcher(create, source, role["roleArn"], extra_args=_arguments(key, role))
        provider = _Provider(_fetched(fetcher))
    if provider:
        session.register_component("credential_provider", CredentialResolver([provider]))
    return [f"the role {role['roleArn']} (aws:{key})" for key, role in roles]


class _Provider(CredentialProvider):
    """These credentials, in place of all those that botocore would look for."""

    METHOD = "stack"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> Credentials:
        return self._credentials


def _fetched(fetcher: CachedCredentialFetcher) -> Credentials:
    """Return credentials that are fetched when they are first needed, and again before they end."""
    return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


def _by_token(session: botocore.session.Session, role: Mapping[str, Any]) -> AssumeRoleWithWebIdentityCredentialFetcher:
    token, file = (str(role.get(key) or "") for key in ("webIdentityToken", "webIdentityTokenFile"))
    if not token and not file:
        raise HourBankError(f"aws:{_WEB} has neither a webIdentityToken nor a webIdentityTokenFile: give one")

    def load() -> str:
        try:
            return token or Path(file).expanduser().read_text(encoding="utf-8")
        except OSError as error:
            raise HourBankError(f"{file}, aws:{_WEB}'s token, cannot be read: {error.strerror}") from None

    given = {name: value for name, value in role.items() if not name.startswith("webIdentity")}
    create: Any = session.create_client
    return AssumeRoleWithWebIdentityCredentialFetcher(create, load, role["roleArn"], extra_args=_arguments(_WEB, given))


def _arguments(key: str, role: Mapping[str, Any]) -> dict[str, Any]:
    """What STS is asked with for a role, as the provider is told it."""
    if unknown := sorted(role.keys() - _ROLE_ARGUMENTS.keys()):
        raise HourBankError(f"aws:{key} has {unknown[0]}, which is not known here: {', '.join(_ROLE_ARGUMENTS)} are")
    asked = {_ROLE_ARGUMENTS[name]: value for name, value in role.items() if value}
    if "DurationSeconds" in asked:
        asked["DurationSeconds"] = _seconds(key, str(asked["DurationSeconds"]))
    if "PolicyArns" in asked:
        asked["PolicyArns"] = [{"arn": arn} for arn in asked["PolicyArns"]]
    if "Tags" in asked:
        asked["Tags"] = [{"Key": name, "Value": value} for name, value in asked["Tags"].items()]
    return asked


def _seconds(key: str, text: str) -> int:
    """A duration as Go writes it, such as `1h30m`; a bare number is one of seconds."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)", text if not text.isdigit() else f"{text}s")
    if not parts or "".join(number + unit for number, unit in parts) != (f"{text}s" if text.isdigit() else text):
        raise HourBankError(f"aws:{key} has the duration {text!r}: write one such as 1h or 45m")
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts))


def _read(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise HourBankError(f"aws:{key} is {text!r}, which is no map and no list: correct it") from None


def _several(key: str, text: str) -> list[str]:
    found = _read(key, text) if text.startswith("[") else [text]
    return [str(one) for one in found]
