"""How the user signs in at AWS, as the environment and the profile have it: the command that does it again."""

from __future__ import annotations

import os
import shlex

import boto3
import botocore.session
from botocore.exceptions import BotoCoreError

_SSO = {"sso_session", "sso_start_url"}


def sign_in() -> str:
    """Return what to do for credentials that AWS takes: the command, or the place where the refused ones are."""
    if os.environ.get("AWS_ACCESS_KEY_ID") and not _led():
        return "put new ones in AWS_ACCESS_KEY_ID and its siblings, or unset them"
    name, profile, is_known = _profile()
    if not is_known:
        return "`aws login`, `aws sso login` or `aws configure`"
    if profile.keys() & _SSO:
        return f"`aws sso login{_option(name)}`"
    if "login_session" in profile:
        return f"`aws login{_option(name)}`"
    if "credential_process" in profile:
        return f"see the credential_process of the profile {name}"
    return f"`aws configure{_option(name)}`"


def _profile() -> tuple[str, dict[str, str], bool]:
    """Return the profile in whose name there is a sign-in, what it has, and whether there is one at all."""
    session = botocore.session.get_session()
    name = _led() or session.profile or "default"
    try:
        profiles = session.full_config.get("profiles", {})
    except BotoCoreError:  # of a file that cannot be read, which is said where it is needed
        profiles = {}
    followed: set[str] = set()
    while name not in followed and (source := profiles.get(name, {}).get("source_profile")) in profiles:
        followed.add(name)
        name = source
    return name, profiles.get(name, {}), name in profiles


def _led() -> str:
    """Return the profile that boto3 was told before it looks into the environment."""
    session = boto3.DEFAULT_SESSION
    told = session._session.instance_variables().get("profile") if session else None  # noqa: SLF001
    return told or ""


def _option(name: str) -> str:
    return "" if name == "default" else f" --profile {shlex.quote(name)}"
