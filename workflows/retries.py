"""The retriers that both workflows share, in the order in which a Task lists them."""

# https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception,
# and three more: a throttled invocation, the names of a function's own time-out and lack of memory (Lambda.Unknown is
# the old one), and the handlers' own error where what they read kept changing. It tries on for four minutes as a rule:
# neither a thousand requests of one person at once nor a throttled burst fails for that alone, see docs/why/scale.md.
TRANSIENT = {
    "ErrorEquals": [
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
        "Sandbox.Timedout",
        "Runtime.ExitError",
        "Runtime.OutOfMemory",
        "Lambda.Unknown",
        "Contended",
    ],
    "IntervalSeconds": 2,
    "MaxAttempts": 12,
    "BackoffRate": 2,
    "MaxDelaySeconds": 60,
    "JitterStrategy": "FULL",
}

# A hiccup of DynamoDB or EventBridge is none of Lambda's own errors: it reaches the Task as the class botocore raised.
HICCUP = {
    "ErrorEquals": ["States.TaskFailed", "States.Timeout"],
    "IntervalSeconds": 2,
    "MaxAttempts": 3,
    "BackoffRate": 2,
}

# In a wait, States.Timeout means that nobody answered: that is a path of the workflow, not a reason to ask again.
HICCUP_IN_WAIT = HICCUP | {"ErrorEquals": ["States.TaskFailed"]}

# An ending is the last chance to give hours back, so it keeps trying for minutes (30 + 60 + 120 s).
HICCUP_IN_ENDING = HICCUP | {"IntervalSeconds": 30}


def never(*errors: str) -> dict:
    """A retrier that hands typed errors straight to Catch: asking again would give the same refusal."""
    return {"ErrorEquals": list(errors), "MaxAttempts": 0}
