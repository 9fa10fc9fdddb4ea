"""The state machines of the project's first sketch, which this program replaced, as far as they cost anything.

Data, taken over state by state from its CloudFormation template for an Amplify custom resource (`DefinitionString` of
ServiceRequestWorkflow and EscrowManagementWorkflow): types, transitions and what is caught. Its page asked
DescribeExecution every five seconds whether the execution still ran.
"""

from __future__ import annotations

from typing import Any

POLL_SECONDS = 5
REJECT = [{"ErrorEquals": ["States.ALL"], "Next": "RejectRequest"}]

SERVICE_REQUEST: dict[str, Any] = {
    "StartAt": "ValidateRequest",
    "States": {
        "ValidateRequest": {"Type": "Task", "Catch": REJECT, "Next": "EscrowHours"},
        "EscrowHours": {"Type": "Task", "Catch": REJECT, "Next": "NotifyProvider"},
        "NotifyProvider": {"Type": "Task", "Next": "WaitForProviderResponse"},
        # SecondsPath: $.providerResponseTimeoutSeconds; it sleeps to the end, whenever the answer comes
        "WaitForProviderResponse": {"Type": "Wait", "Next": "CheckProviderResponse"},
        "CheckProviderResponse": {
            "Type": "Choice",
            "Choices": [
                {"StringEquals": "ACCEPTED", "Next": "StartServiceExecution"},
                {"StringEquals": "REJECTED", "Next": "RefundEscrow"},
                {"StringEquals": "COUNTER_OFFER", "Next": "ProcessNegotiation"},
            ],
            "Default": "TimeoutRequest",
        },
        "StartServiceExecution": {"Type": "Task", "End": True},
        "ProcessNegotiation": {"Type": "Task", "End": True},
        "RefundEscrow": {"Type": "Task", "End": True},
        "TimeoutRequest": {"Type": "Task", "End": True},
        "RejectRequest": {"Type": "Task", "End": True},
    },
}
ESCROW_MANAGEMENT: dict[str, Any] = {
    "StartAt": "ValidateEscrowRelease",
    "States": {
        "ValidateEscrowRelease": {"Type": "Task", "Next": "ProcessEscrowRelease"},
        "ProcessEscrowRelease": {"Type": "Task", "End": True},
    },
}
