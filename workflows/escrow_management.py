"""EscrowManagementWorkflow: pay the provider when the service was received, or give the hours back.

The decision is read here only to choose the state; each state decides again inside its transaction, so an answer that
changes meanwhile is never overruled. The outcome, a status of the request or ``NOTHING_TO_DO``, is ``$.outcome``.
"""

from collections.abc import Mapping

from workflows.retries import HICCUP, HICCUP_IN_ENDING, TRANSIENT, never

FUNCTIONS = ("validateEscrowRelease", "processEscrowRelease", "refundEscrow")

CONTEXT = {"execution.$": "$$.Execution", "state.$": "$$.State"}


def definition(*, functions: Mapping[str, str], partition: str = "aws") -> dict:
    """The state machine in Amazon States Language (JSONPath); parameters as in ``service_request.definition``."""
    del partition  # no service integration here: each Task names its function directly
    return {
        "Comment": "Releases the hours of a service that was received, or refunds those of one given up.",
        "StartAt": "ValidateEscrowRelease",
        "States": {
            "ValidateEscrowRelease": {
                "Type": "Task",
                "Comment": "Checks that request and escrow belong together, and what was decided.",
                "Resource": functions["validateEscrowRelease"],
                "Parameters": CONTEXT,
                "TimeoutSeconds": 60,
                "Retry": [never("ReleaseRefused"), TRANSIENT, HICCUP],
                "Catch": [
                    {
                        "ErrorEquals": ["ReleaseRefused"],
                        "ResultPath": "$.states.ValidateEscrowRelease",
                        "Next": "ReleaseRefused",
                    }
                ],
                "ResultPath": "$.states.ValidateEscrowRelease",
                "Next": "CheckDecision",
            },
            "CheckDecision": {
                "Type": "Choice",
                "Choices": [
                    {
                        "Variable": "$.states.ValidateEscrowRelease.decision",
                        "StringEquals": "RELEASE",
                        "Next": "ProcessEscrowRelease",
                    },
                    {
                        "Variable": "$.states.ValidateEscrowRelease.decision",
                        "StringEquals": "REFUND",
                        "Next": "RefundEscrow",
                    },
                ],
                "Default": "NothingToDo",
            },
            "ProcessEscrowRelease": {
                "Type": "Task",
                "Comment": "Moves the hours to the provider, while the requester's confirmation stands.",
                "Resource": functions["processEscrowRelease"],
                "Parameters": CONTEXT,
                "TimeoutSeconds": 60,
                "Retry": [never("ReleaseRefused"), TRANSIENT, HICCUP_IN_ENDING],
                "Catch": [
                    {
                        "ErrorEquals": ["ReleaseRefused"],
                        "ResultPath": "$.states.ProcessEscrowRelease",
                        "Next": "ReleaseRefused",
                    }
                ],
                "ResultPath": "$.outcome",
                "End": True,
            },
            "RefundEscrow": {
                "Type": "Task",
                "Comment": "Gives the hours back, while the provider's withdrawal stands.",
                "Resource": functions["refundEscrow"],
                "Parameters": CONTEXT | {"decision.$": "$.states.ValidateEscrowRelease.decision"},
                "TimeoutSeconds": 60,
                "Retry": [never("ReleaseRefused"), TRANSIENT, HICCUP_IN_ENDING],
                "Catch": [
                    {
                        "ErrorEquals": ["ReleaseRefused"],
                        "ResultPath": "$.states.RefundEscrow",
                        "Next": "ReleaseRefused",
                    }
                ],
                "ResultPath": "$.outcome",
                "End": True,
            },
            "NothingToDo": {
                "Type": "Pass",
                "Comment": "Already settled, or the answer that started this was taken back.",
                "Result": "NOTHING_TO_DO",
                "ResultPath": "$.outcome",
                "End": True,
            },
            "ReleaseRefused": {
                "Type": "Fail",
                "Error": "ReleaseRefused",
                "Cause": "Request and escrow do not belong together; the hours stay held. The reason is in this input.",
            },
        },
    }
