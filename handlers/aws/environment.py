"""What a deployment tells its functions: the one place that reads it.

What each of them is told is declared beside what it may do, in `components/`: functions, stream_trigger, auditor,
notifications.
"""

import os

_TABLE = {
    "ServiceRequest": "SERVICE_REQUEST_TABLE_NAME",
    "Escrow": "ESCROW_TABLE_NAME",
    "UserBalance": "USER_BALANCE_TABLE_NAME",
    "TransactionLog": "TRANSACTION_LOG_TABLE_NAME",
}


def table(model: str) -> str:
    """The name of a model's table."""
    return os.environ[_TABLE[model]]


def event_bus() -> str:
    """The name of the bus on which people are told."""
    return os.environ["EVENT_BUS_NAME"]


def request_workflow() -> str:
    """The ARN of the workflow that asks for a service."""
    return os.environ["SERVICE_REQUEST_WORKFLOW_ARN"]


def release_workflow() -> str:
    """The ARN of the workflow that releases hours."""
    return os.environ["ESCROW_MANAGEMENT_WORKFLOW_ARN"]


def start_requests_from() -> str:
    """Since when requests are the workflows': any text, where a template's parameter was told it."""
    return os.environ["START_REQUESTS_FROM"]


def response_seconds() -> int:
    """How long a provider has to answer where the request does not say."""
    return int(os.environ["PROVIDER_RESPONSE_TIMEOUT_SECONDS"])


def shortest_response_seconds() -> int:
    """The least that a request may give its provider."""
    return int(os.environ["MINIMUM_RESPONSE_TIMEOUT_SECONDS"])


def confirmation_days() -> int:
    """After how long a service that nobody has ended is told of."""
    return int(os.environ["CONFIRMATION_DAYS"])


def audit_cursor() -> str:
    """The name of the parameter in which the auditor leaves where it goes on."""
    return os.environ["AUDIT_CURSOR_NAME"]


def notify_from() -> str:
    """The address that mails come from."""
    return os.environ["NOTIFY_FROM"]


def user_pool() -> str:
    """The id of the Cognito user pool that has people's addresses."""
    return os.environ["USER_POOL_ID"]


def mailed_table() -> str:
    """The name of the table that has the ids of the events that were mailed."""
    return os.environ["MAILED_TABLE_NAME"]
