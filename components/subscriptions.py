"""What makes AppSync's subscribers hear of the workflows' events: opt-in, where the stack has ``appsyncEndpoint``.

AppSync wakes its subscribers for mutations alone, and the workflows write tables. So a rule on the bus calls a mutation
that does nothing else: docs/app/subscriptions.md shows what the schema needs.
"""

from typing import TypedDict

import pulumi
import pulumi_aws as aws

from components.bus_rule import bus_rule, bus_rule_writes, only_bus_rule
from components.event_bus import EventBus
from components.failure_queue import failure_queue
from components.service_role import service_role
from components.settings import AppSync, Settings

MUTATION = "publishRequestEvent"
# argument of the mutation: its type, and where in the event it is
ARGUMENTS = {
    "eventId": ("ID!", "$.detail.eventId"),
    "type": ("String!", "$.detail-type"),
    "requestId": ("ID!", "$.detail.requestId"),
    "userId": ("ID!", "$.detail.userId"),
    # Nullable: a schema that has it takes the calls of a stack from before it too, so the schema is deployed first.
    "role": ("String", "$.detail.role"),
    "status": ("String!", "$.detail.status"),
}
# Subscribers get what the mutation selects, and nothing else: so it selects all.
OPERATION = (
    f"mutation PublishRequestEvent({', '.join(f'${name}: {type_}' for name, (type_, _) in ARGUMENTS.items())}) "
    f"{{ {MUTATION}({', '.join(f'{name}: ${name}' for name in ARGUMENTS)}) {{ {' '.join(ARGUMENTS)} }} }}"
)
# without quotation marks around the values: EventBridge adds them, and escapes what is between
INPUT_TEMPLATE = "{" + ", ".join(f'"{name}": <{name}>' for name in ARGUMENTS) + "}"
# who is told an hour late has looked already
ONE_HOUR = 60 * 60


class SubscriptionsArgs(TypedDict):
    settings: Settings
    """The stack's settings."""
    api: AppSync
    """Amplify's GraphQL API."""
    bus: EventBus
    """Where the workflows tell what happened."""


class Subscriptions(pulumi.ComponentResource):
    """The rule from the bus to AppSync's mutation, its role, and a queue for what could not be delivered."""

    failures: aws.sqs.Queue
    """The queue of what AppSync did not take."""
    alarms: list[aws.cloudwatch.MetricAlarm]
    """Go off when AppSync did not take an event."""

    def __init__(self, name: str, args: SubscriptionsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hourbank:index:Subscriptions", name, None, opts)
        settings, api = args["settings"], args["api"]

        self.failures, not_taken = failure_queue(
            name,
            settings,
            description="AppSync did not take an event: subscribers were not told.",
            section="appsync-did-not-take-an-event",
            parent=self,
        )
        self.alarms = [not_taken]
        queue_policy = bus_rule_writes(f"{name}-queue-policy", name, settings, self.failures, parent=self)
        role, policy = service_role(
            name,
            settings,
            service="events.amazonaws.com",
            policy_name="subscriptions",
            statements=[
                {
                    "Effect": "Allow",
                    "Action": "appsync:GraphQL",
                    "Resource": settings.arn("appsync", f"apis/{api.api_id}/types/Mutation/fields/{MUTATION}"),
                }
            ],
            condition=only_bus_rule(name, settings),
            parent=self,
        )
        description = "Tells AppSync's subscribers what the workflows told the bus."
        rule = bus_rule(name, settings, args["bus"], description=description, parent=self)
        aws.cloudwatch.EventTarget(
            f"{name}-target",
            rule=rule.name,
            event_bus_name=args["bus"].name,
            target_id="appsync",
            # The endpoint's id is not the API's: it is the first part of the host.
            arn=settings.arn("appsync", f"endpoints/graphql-api/{api.endpoint_id}"),
            role_arn=role.arn,
            appsync_target={"graphql_operation": OPERATION},
            input_transformer={
                "input_paths": {argument: path for argument, (_, path) in ARGUMENTS.items()},
                "input_template": INPUT_TEMPLATE,
            },
            dead_letter_config={"arn": self.failures.arn},
            retry_policy={"maximum_event_age_in_seconds": ONE_HOUR, "maximum_retry_attempts": 60},
            # By then the role has its right, and the queue takes what cannot be delivered.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy, queue_policy]),
        )
        self.register_outputs({})
