"""What each function may do beside its own logs and traces.

Written out by hand, so that a right is given twice, once in the program and once here. SR, E, UB and TL are the tables.
"""

GET, PUT, UPDATE, CHECK = (f"dynamodb:{action}Item" for action in ("Get", "Put", "Update", "ConditionCheck"))
READ_MANY = ("dynamodb:BatchGetItem", "dynamodb:Scan")
PUBLISH = {("events:PutEvents", "BUS")}


def on(table: str, *actions: str) -> set[tuple[str, str]]:
    return {(action, table) for action in actions}


ENDING = on("SR", GET, UPDATE, CHECK) | on("E", GET, UPDATE, CHECK) | on("UB", GET, UPDATE) | on("TL", PUT) | PUBLISH
RIGHTS = {
    "validateServiceRequest": on("SR", GET, UPDATE) | on("E", GET) | on("UB", GET),
    "createEscrow": on("SR", GET, UPDATE) | on("E", GET, PUT) | on("UB", GET, UPDATE) | on("TL", PUT),
    "notifyProvider": on("SR", GET, UPDATE) | PUBLISH,
    "startServiceExecution": on("SR", GET, UPDATE) | PUBLISH,
    "processNegotiation": on("SR", GET, UPDATE) | PUBLISH,
    "adjustEscrow": on("SR", GET, CHECK) | on("E", GET, UPDATE) | on("UB", GET, UPDATE) | on("TL", PUT),
    "refundEscrow": ENDING,
    "timeoutRequest": ENDING,
    "rejectRequest": ENDING,
    "validateEscrowRelease": on("SR", GET) | on("E", GET) | {("states:DescribeExecution", "REQUEST EXECUTIONS")},
    "processEscrowRelease": on("SR", GET, UPDATE)
    | on("E", GET, UPDATE)
    | on("UB", GET, UPDATE)
    | on("TL", PUT)
    | PUBLISH,
    "grantHours": on("UB", GET, UPDATE) | on("TL", GET, PUT),
    "routeServiceRequest": on("SR", GET)
    | on("STREAM", "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")
    | on("*", "dynamodb:ListStreams")
    | {
        ("states:StartExecution", "${ServiceRequestWorkflow}"),
        ("states:StartExecution", "${EscrowManagementWorkflow}"),
        ("states:SendTaskSuccess", "${ServiceRequestWorkflow}"),
        ("states:DescribeExecution", "REQUEST EXECUTIONS"),
        ("states:DescribeExecution", "RELEASE EXECUTIONS"),
        ("sqs:SendMessage", "${RouteServiceRequestQueue.Arn}"),
    },
    "auditLedger": on("SR", GET, UPDATE, *READ_MANY)
    | on("E", GET, *READ_MANY)
    | on("TL", GET, *READ_MANY)
    | on("UB", GET, "dynamodb:Scan")
    | on("SR BY OPEN", "dynamodb:Query")
    | on("E BY STATUS", "dynamodb:Query")
    | on("CURSOR", "ssm:GetParameter", "ssm:PutParameter")
    | {("states:DescribeExecution", "REQUEST EXECUTIONS"), ("states:ListExecutions", "${ServiceRequestWorkflow}")},
}
