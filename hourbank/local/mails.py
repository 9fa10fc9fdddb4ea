"""Mails of a local run: its people's addresses, and what the emulator's SES took, which never leaves this machine."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hourbank.local.emulator import Emulator

SENDER = "hourbank@example.com"


class SentMail(NamedTuple):
    """What somebody would have got."""

    to: str
    subject: str
    text: str


def prepare(emulator: Emulator, people: Iterable[str]) -> dict[str, str]:
    """Let SES send, give people addresses, and return the configuration with which a deployment mails them."""
    emulator.client("sesv2").create_email_identity(EmailIdentity=SENDER)
    cognito = emulator.client("cognito-idp")
    pool: str = cognito.create_user_pool(PoolName="hourbank-local")["UserPool"]["Id"]
    for person in people:
        attributes = {"email": f"{person}@example.com", "email_verified": "true"}
        cognito.admin_create_user(
            UserPoolId=pool,
            Username=person,
            MessageAction="SUPPRESS",
            UserAttributes=[{"Name": name, "Value": value} for name, value in attributes.items()],
        )
    return {"hourbank:notifyFrom": SENDER, "hourbank:userPoolId": pool}


def sent(endpoint: str) -> Iterator[SentMail]:
    """Yield all that the emulator at an endpoint took so far, oldest first."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{endpoint}/_ministack/ses/messages") as answer:
        accounts = json.load(answer)["messages"]
    for message in (one for messages in accounts.values() for one in messages):
        yield SentMail(", ".join(message["To"]), message["Subject"], message["BodyText"])
