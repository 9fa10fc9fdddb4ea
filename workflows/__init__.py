"""The two state machines, as Python dicts."""

from workflows import escrow_management, service_request

# By their names on AWS, without the stack's.
WORKFLOWS = {"ServiceRequestWorkflow": service_request, "EscrowManagementWorkflow": escrow_management}
