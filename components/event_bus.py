"""The bus on which the workflows tell people what happened."""

from typing import TypedDict

import pulumi
import pulumi_aws as aws

from components.settings import Settings


class EventBusArgs(TypedDict):
    settings: Settings
    """The stack's settings."""


class EventBus(pulumi.ComponentResource):
    """``hourbank-event-bus-{env}``: ProviderAsked, RequesterAsked, ServiceStarted and RequestEnded, at least once."""

    name: pulumi.Output[str]
    """The bus's name."""
    arn: pulumi.Output[str]
    """The bus's ARN."""

    def __init__(self, name: str, args: EventBusArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hourbank:index:EventBus", name, None, opts)
        settings = args["settings"]
        bus = aws.cloudwatch.EventBus(
            name,
            name=f"hourbank-event-bus-{settings.env}",
            tags=settings.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.name = bus.name
        self.arn = bus.arn
        self.register_outputs({"name": self.name, "arn": self.arn})
