"""ServiceRequestWorkflow: hold the requester's hours, ask the provider, wait, then start, refund or renegotiate.

Every Task gets the execution and the state it runs in from Step Functions' context object, so a handler knows which
execution it works for without trusting the input. Results and errors of a state go to ``$.states.<State>`` and nowhere
else; what a time-out finds goes where the answer would have been, so the newest event decides. The outcome, a status of
the request or ``NOT_OWNER``, is ``$.outcome`` of the output.
"""

from collections.abc import Mapping

from workflows.retries import HICCUP, HICCUP_IN_ENDING, HICCUP_IN_WAIT, TRANSIENT, never

FUNCTIONS = (
    "validateServiceRequest",
    "createEscrow",
    "notifyProvider",
    "processNegotiation",
    "adjustEscrow",
    "startServiceExecution",
    "timeoutRequest",
    "refundEscrow",
    "rejectRequest",
)

CONTEXT = {"execution.$": "$$.Execution", "state.$": "$$.State"}
WITH_TOKEN = CONTEXT | {"taskToken.$": "$$.Task.Token"}
WITH_HISTORY = CONTEXT | {"states.$": "$.states"}


def definition(*, functions: Mapping[str, str], partition: str = "aws") -> dict:
    """The state machine in Amazon States Language (JSONPath).

    Parameters
    ----------
    functions
        The ARN of an exact version of each function in ``FUNCTIONS``, by name: an execution that waits for days
        finishes on the code it began with.
    partition
        ``aws``, ``aws-cn`` or ``aws-us-gov``.
    """
    wait_for_answer = f"arn:{partition}:states:::lambda:invoke.waitForTaskToken"
    return {
        "Comment": "Holds the hours of a service request until the provider has answered.",
        "StartAt": "ValidateRequest",
        "States": {
            # The happy path.
            "ValidateRequest": {
                "Type": "Task",
                "Comment": "Claims the stored record for this execution and checks it; the input decides nothing.",
                "Resource": functions["validateServiceRequest"],
                "Parameters": CONTEXT,
                "TimeoutSeconds": 60,
                "Retry": [never("ValidationFailed", "InsufficientBalance", "NotOwner"), TRANSIENT, HICCUP],
                "Catch": [
                    {
                        "ErrorEquals": ["ValidationFailed", "InsufficientBalance"],
                        "ResultPath": "$.states.ValidateRequest",
                        "Next": "RejectRequest",
                    },
                    {"ErrorEquals": ["NotOwner"], "ResultPath": "$.states.ValidateRequest", "Next": "NotOwner"},
                    {
                        "ErrorEquals": ["States.ALL"],
                        "ResultPath": "$.states.ValidateRequest",
                        "Next": "RefundAfterFailure",
                    },
                ],
                "ResultPath": "$.states.ValidateRequest",
                "Next": "EscrowHours",
            },
            "EscrowHours": {
                "Type": "Task",
                "Comment": "Moves the hours from the requester's balance into escrow.",
                "Resource": functions["createEscrow"],
                "Parameters": CONTEXT,
                "TimeoutSeconds": 60,
                "Retry": [never("ValidationFailed", "InsufficientBalance", "NotOwner"), TRANSIENT, HICCUP],
                "Catch": [
                    {
                        "ErrorEquals": ["ValidationFailed", "InsufficientBalance"],
                        "ResultPath": "$.states.EscrowHours",
                        "Next": "RejectRequest",
                    },
                    {"ErrorEquals": ["NotOwner"], "ResultPath": "$.states.EscrowHours", "Next": "NotOwner"},
                    {
                        "ErrorEquals": ["States.ALL"],
                        "ResultPath": "$.states.EscrowHours",
                        "Next": "RefundAfterFailure",
                    },
                ],
                "ResultPath": "$.states.EscrowHours",
                "Next": "WaitForProviderResponse",
            },
            "WaitForProviderResponse": {
                "Type": "Task",
                "Comment": "Stores the task token, asks the provider, and waits for the answer.",
                "Resource": wait_for_answer,
                "Parameters": {"FunctionName": functions["notifyProvider"], "Payload": WITH_TOKEN},
                "TimeoutSecondsPath": "$.states.ValidateRequest.providerResponseTimeoutSeconds",
                "Retry": [never("NotOwner"), TRANSIENT, HICCUP_IN_WAIT],
                "Catch": [
                    {
                        "ErrorEquals": ["States.Timeout"],
                        "ResultPath": "$.states.WaitForProviderResponse",
                        "Next": "TimeoutRequest",
                    },
                    {
                        "ErrorEquals": ["NotOwner"],
                        "ResultPath": "$.states.WaitForProviderResponse",
                        "Next": "RefundEscrow",
                    },
                    {
                        "ErrorEquals": ["States.ALL"],
                        "ResultPath": "$.states.WaitForProviderResponse",
                        "Next": "RefundAfterFailure",
                    },
                ],
                "ResultPath": "$.states.WaitForProviderResponse",
                "Next": "CheckProviderResponse",
            },
            "CheckProviderResponse": {
                "Type": "Choice",
                "Comment": "An answer that is not understood gives the hours back: never a stuck execution.",
                "Choices": [
                    {
                        "Variable": "$.states.WaitForProviderResponse.answer",
                        "StringEquals": "ACCEPTED",
                        "Next": "StartServiceExecution",
                    },
                    {
                        "Variable": "$.states.WaitForProviderResponse.answer",
                        "StringEquals": "REJECTED",
                        "Next": "RefundEscrow",
                    },
                    {
                        "Variable": "$.states.WaitForProviderResponse.answer",
                        "StringEquals": "CANCELLED",
                        "Next": "RefundEscrow",
                    },
                    {
                        "Variable": "$.states.WaitForProviderResponse.answer",
                        "StringEquals": "COUNTER_OFFER",
                        "Next": "ProcessNegotiation",
                    },
                    {
                        "Variable": "$.states.WaitForProviderResponse.answer",
                        "StringEquals": "TIMED_OUT",
                        "Next": "TimedOut",
                    },
                ],
                "Default": "RefundEscrow",
            },
            "StartServiceExecution": {
                "Type": "Task",
                "Comment": "The service is in progress; the hours stay in escrow until it is confirmed.",
                "Resource": functions["startServiceExecution"],
                "Parameters": CONTEXT,
                "TimeoutSeconds": 60,
                "Retry": [never("NotOwner"), TRANSIENT, HICCUP],
                "Catch": [
                    {
                        "ErrorEquals": ["NotOwner"],
                        "ResultPath": "$.states.StartServiceExecution",
                        "Next": "RefundEscrow",
                    },
                    {
                        "ErrorEquals": ["States.ALL"],
                        "ResultPath": "$.states.StartServiceExecution",
                        "Next": "RefundAfterFailure",
                    },
                ],
                "ResultPath": "$.outcome",
                "End": True,
            },
            # The counter-offer: one round.
            "ProcessNegotiation": {
                "Type": "Task",
                "Comment": "Fixes the provider's offer, asks the requester, and waits for the answer.",
                "Resource": wait_for_answer,
                "Parameters": {"FunctionName": functions["processNegotiation"], "Payload": WITH_TOKEN},
                "TimeoutSecondsPath": "$.states.ValidateRequest.providerResponseTimeoutSeconds",
                "Retry": [never("IllegalOffer", "NotOwner"), TRANSIENT, HICCUP_IN_WAIT],
                "Catch": [
                    {
                        "ErrorEquals": ["States.Timeout"],
                        "ResultPath": "$.states.ProcessNegotiation",
                        "Next": "TimeoutNegotiation",
                    },
                    {
                        "ErrorEquals": ["IllegalOffer", "NotOwner"],
                        "ResultPath": "$.states.ProcessNegotiation",
                        "Next": "RefundEscrow",
                    },
                    {
                        "ErrorEquals": ["States.ALL"],
                        "ResultPath": "$.states.ProcessNegotiation",
                        "Next": "RefundAfterFailure",
                    },
                ],
                "ResultPath": "$.states.ProcessNegotiation",
                "Next": "CheckRequesterResponse",
            },
            "CheckRequesterResponse": {
                "Type": "Choice",
                "Comment": "Only an accepted offer changes the hold; any other answer gives the hours back.",
                "Choices": [
                    {
                        "Variable": "$.states.ProcessNegotiation.answer",
                        "StringEquals": "ACCEPTED",
                        "Next": "AdjustEscrow",
                    },
                    {
                        "Variable": "$.states.ProcessNegotiation.answer",
                        "StringEquals": "TIMED_OUT",
                        "Next": "TimedOut",
                    },
                ],
                "Default": "RefundEscrow",
            },
            "AdjustEscrow": {
                "Type": "Task",
                "Comment": "The hold becomes the offered hours: more is taken from the balance, less is given back.",
                "Resource": functions["adjustEscrow"],
                "Parameters": CONTEXT,
                "TimeoutSeconds": 60,
                "Retry": [never("OfferNotAffordable", "NotOwner"), TRANSIENT, HICCUP],
                "Catch": [
                    {
                        "ErrorEquals": ["OfferNotAffordable", "NotOwner"],
                        "ResultPath": "$.states.AdjustEscrow",
                        "Next": "RefundEscrow",
                    },
                    {
                        "ErrorEquals": ["States.ALL"],
                        "ResultPath": "$.states.AdjustEscrow",
                        "Next": "RefundAfterFailure",
                    },
                ],
                "ResultPath": "$.states.AdjustEscrow",
                "Next": "StartServiceExecution",
            },
            # Nobody answered. These and all below are endings: they catch nothing, so a redrive resumes at them.
            "TimeoutRequest": {
                "Type": "Task",
                "Comment": "Gives the hours back unless an answer was stored; puts what it found in its place.",
                "Resource": functions["timeoutRequest"],
                "Parameters": CONTEXT,
                "TimeoutSeconds": 60,
                "Retry": [TRANSIENT, HICCUP_IN_ENDING],
                "ResultPath": "$.states.WaitForProviderResponse",
                "Next": "CheckProviderResponse",
            },
            "TimeoutNegotiation": {
                "Type": "Task",
                "Comment": "The same for the requester's answer to the counter-offer.",
                "Resource": functions["timeoutRequest"],
                "Parameters": CONTEXT,
                "TimeoutSeconds": 60,
                "Retry": [TRANSIENT, HICCUP_IN_ENDING],
                "ResultPath": "$.states.ProcessNegotiation",
                "Next": "CheckRequesterResponse",
            },
            "TimedOut": {
                "Type": "Pass",
                "Comment": "The time-out has given the hours back and set the status in one transaction.",
                "Result": "TIMED_OUT",
                "ResultPath": "$.outcome",
                "End": True,
            },
            # A refusal, or a failure.
            "RefundEscrow": {
                "Type": "Task",
                "Comment": "Gives the hours back and sets the status that fits the newest event.",
                "Resource": functions["refundEscrow"],
                "Parameters": WITH_HISTORY,
                "TimeoutSeconds": 60,
                "Retry": [TRANSIENT, HICCUP_IN_ENDING],
                "ResultPath": "$.outcome",
                "End": True,
            },
            "RejectRequest": {
                "Type": "Task",
                "Comment": "Sets REJECTED with the reason in words.",
                "Resource": functions["rejectRequest"],
                "Parameters": WITH_HISTORY,
                "TimeoutSeconds": 60,
                "Retry": [TRANSIENT, HICCUP_IN_ENDING],
                "ResultPath": "$.outcome",
                "End": True,
            },
            "NotOwner": {
                "Type": "Pass",
                "Comment": "The request belongs to another execution, or is gone: nothing was touched.",
                "Result": "NOT_OWNER",
                "ResultPath": "$.outcome",
                "End": True,
            },
            "RefundAfterFailure": {
                "Type": "Task",
                "Comment": "Gives back what is held, if anything is: a lost result may hide a hold.",
                "Resource": functions["refundEscrow"],
                "Parameters": WITH_HISTORY,
                "TimeoutSeconds": 60,
                "Retry": [TRANSIENT, HICCUP_IN_ENDING],
                "ResultPath": "$.outcome",
                "Next": "RequestFailed",
            },
            "RequestFailed": {
                "Type": "Fail",
                "Error": "RequestFailed",
                "Cause": "A technical failure; the state that failed and its error are under $.states in this input.",
            },
        },
    }
