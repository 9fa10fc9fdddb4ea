"""Whether SES and the user pool are as `notifyFrom` and `userPoolId` say, in the account that a stack is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from handlers.aws.dynamodb import client
from hourbank.account.checks import GONE, Check, Outcome


def sender(address: str) -> Iterator[Check]:
    """Look whether SES sends from an address, and to whom."""
    what, domain = "notifyFrom", address.rpartition("@")[2]
    if not (_is_verified(address) or _is_verified(domain)):
        found = f"SES has verified neither {address} nor {domain}"
        yield Check(what, Outcome.MISS, found, f"aws sesv2 create-email-identity --email-identity {address}")
    elif not client("sesv2").get_account().get("ProductionAccessEnabled"):
        found = f"{address}: SES is in its sandbox here, and mails verified addresses only"
        yield Check(what, Outcome.NOTE, found, "ask SES for production access")
    else:
        yield Check(what, Outcome.FITS, address)


def _is_verified(identity: str) -> bool:
    known = _if_there(lambda: client("sesv2").get_email_identity(EmailIdentity=identity))
    return bool(known and known.get("VerifiedForSendingStatus"))


def user_pool(pool_id: str) -> Iterator[Check]:
    """Look whether there is such a pool."""
    if _if_there(lambda: client("cognito-idp").describe_user_pool(UserPoolId=pool_id)):
        yield Check("userPoolId", Outcome.FITS, pool_id)
        return
    instead = "set it to aws_user_pools_id (Gen 1), or auth.user_pool_id of amplify_outputs.json"
    yield Check("userPoolId", Outcome.MISS, f"there is no user pool {pool_id}", instead)


def _if_there(ask: Any) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = ask()
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
        return None
    return answer
