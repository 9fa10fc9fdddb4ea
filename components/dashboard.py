"""One page that shows a person how a stack does: what is wrong, where the hours are, how long everything takes."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import pulumi
import pulumi_aws as aws

from components.alarms import RUNBOOK
from components.auditor import Auditor
from components.notifications import Notifications
from components.settings import Settings
from components.stream_trigger import FIFTEEN_MINUTES_IN_MILLISECONDS, StreamTrigger
from components.subscriptions import Subscriptions
from components.workflow import Workflow
from components.workflow_function import WorkflowFunction

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
COLUMNS = 24
FIVE_MINUTES = 5 * 60
ONE_HOUR = 60 * 60
# the auditor comes every hour, within a window of a quarter
TWO_HOURS = 2 * ONE_HOUR
ONE_DAY = 24 * ONE_HOUR

GREEN, BLUE, ORANGE, RED, PURPLE, GREY = "#2ca02c", "#1f77b4", "#ff7f0e", "#d62728", "#9467bd", "#7f7f7f"
OUTCOMES = {
    "COMPLETED": GREEN,
    "DECLINED": BLUE,
    "CANCELLED": GREY,
    "TIMED_OUT": ORANGE,
    "REJECTED": PURPLE,
    "FAILED": RED,
}

Widget = dict[str, Any]
Line = list[Any]


class DashboardArgs(TypedDict):
    settings: Settings
    """The stack's settings."""
    requests: Workflow
    """The workflow of requests."""
    releases: Workflow
    """The workflow of releases."""
    functions: Mapping[str, WorkflowFunction]
    """All functions by name."""
    trigger: StreamTrigger
    """What reads the stream."""
    auditor: Auditor
    """The auditor."""
    subscriptions: Subscriptions | None
    """What tells AppSync, where the stack asks for it."""
    notifications: Notifications | None
    """What mails people, where the stack asks for it."""


class Dashboard(pulumi.ComponentResource):
    """The dashboard ``hourbank-{env}``."""

    def __init__(self, name: str, args: DashboardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hourbank:index:Dashboard", name, None, opts)
        aws.cloudwatch.Dashboard(
            name,
            dashboard_name=f"hourbank-{args['settings'].env}",
            # a week, and each widget's own period whatever is looked at
            dashboard_body=pulumi.Output.json_dumps(
                {"start": "-P7D", "periodOverride": "inherit", "widgets": placed(rows(args), args["settings"].region)}
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


def placed(rows: Sequence[Sequence[Widget]], region: str) -> list[Widget]:
    """The widgets where they stand: one row below the other, in a row from left to right; metrics are the region's."""
    found, y = [], 0
    for row in rows:
        x = 0
        for widget in row:
            properties = widget["properties"] | ({"region": region} if widget["type"] == "metric" else {})
            found.append({**widget, "x": x, "y": y, "properties": properties})
            x += widget["width"]
        y += max(widget["height"] for widget in row)
    return found


def rows(args: DashboardArgs) -> list[list[Widget]]:
    """What there is to see, what matters first on top."""
    return [*at_risk(args), *hours(args["settings"]), *requests(args), *stream(args), *functions(args)]


def at_risk(args: DashboardArgs) -> list[list[Widget]]:
    settings, trigger, auditor = args["settings"], args["trigger"], args["auditor"]
    machines = {"requests": args["requests"], "releases": args["releases"]}
    listeners = [one for one in (args["subscriptions"], args["notifications"]) if one]
    told = [alarm for one in listeners for alarm in one.alarms]
    books = [*auditor.alarms, *(one for machine in machines.values() for one in machine.alarms), *trigger.alarms, *told]
    failed = [
        [*states(machine, metric), {"label": f"{name}: {words}"}]
        for name, machine in machines.items()
        for metric, words in (
            ("ExecutionsFailed", "failed"),
            ("ExecutionsTimedOut", "timed out"),
            ("ExecutionsAborted", "stopped"),
        )
    ]
    return [
        [
            text(
                f"# HourBank {settings.env}\n"
                f"An alarm is explained, with the command that helps, in `{RUNBOOK}`. Which requests are concerned: "
                f"`hourbank stuck --stack {settings.env}`, `hourbank audit --stack {settings.env}`, "
                f"`hourbank show REQUEST_ID --stack {settings.env}`.",
                height=2,
            )
        ],
        [
            alarms("Hours and requests", books, width=16),
            alarms("Functions", [function.alarm for function in args["functions"].values()], width=8),
        ],
        [
            number("Books that do not fit", found(settings, "AuditMismatches")),
            number("Services that nobody ends", found(settings, "UnconfirmedServices")),
            number("Records the stream missed", found(settings, "RecordsTouched")),
            number("Of them, shown again in vain", found(settings, "RequestsMissed")),
            graph("Executions that did not succeed", failed, stat="Sum", period=ONE_HOUR, width=8),
        ],
    ]


def hours(settings: Settings) -> list[list[Widget]]:
    moved = [
        [*found(settings, metric), {"label": label, "color": color}]
        for metric, label, color in (
            ("HoursHeld", "held", ORANGE),
            ("HoursReleased", "released to providers", GREEN),
            ("HoursRefunded", "given back to requesters", BLUE),
            ("HoursGranted", "granted by the bank", PURPLE),
        )
    ]
    in_escrow = [*found(settings, "HoursInEscrow"), {"label": "hours in escrow", "color": ORANGE}]
    return [
        [text("## Hours")],
        [
            number("Hours in escrow", found(settings, "HoursInEscrow")),
            graph("Hours in escrow, as the auditor found them", [in_escrow], stat="Maximum", period=TWO_HOURS, width=8),
            graph("Hours moved each day", moved, stat="Sum", period=ONE_DAY, width=12),
        ],
    ]


def requests(args: DashboardArgs) -> list[list[Widget]]:
    settings, machine = args["settings"], args["requests"]
    outcomes = [
        ["HourBank", "RequestEnded", "outcome", outcome, *service(settings), {"label": outcome, "color": color}]
        for outcome, color in OUTCOMES.items()
    ]
    begun = [[*states(machine, "ExecutionsStarted"), {"label": "begun"}]]
    took = [
        [*states(machine, "ExecutionTime"), {"stat": stat, "id": name, "visible": False}]
        for name, stat in (("half", "p50"), ("most", "p90"))
    ]
    in_hours = [
        [{"expression": f"{name}/3600000", "label": label}]
        for name, label in (("half", "half of them, within"), ("most", "nine in ten, within"))
    ]
    wait = [[*found(settings, "OldestWaitSeconds"), {"id": "wait", "visible": False}]]
    in_days = [{"expression": "wait/86400", "label": "days"}]
    return [
        [text("## Requests")],
        [
            graph("Requests ended, by outcome", outcomes, stat="Sum", period=ONE_HOUR, width=12, stacked=True),
            graph("Requests begun", begun, stat="Sum", period=ONE_HOUR, width=12),
        ],
        [
            graph("Oldest wait for an answer, days", [*wait, in_days], stat="Maximum", period=TWO_HOURS, width=12),
            graph(
                "From the request to its start or end, hours", [*took, *in_hours], stat="p50", period=ONE_DAY, width=12
            ),
        ],
    ]


# Why the router left a record alone for what it is.
IGNORED = {
    "createdAt": "requests without a readable createdAt, not started",
    "size": "records that are full, not started",
    "name": "requests whose executions' names are used up, not started",
    "id": "records without a legal id",
    "taskToken": "records without a legal task token, not answered",
}


def stream(args: DashboardArgs) -> list[list[Widget]]:
    settings, trigger = args["settings"], args["trigger"]
    age = [["AWS/Lambda", "IteratorAge", "FunctionName", trigger.router.name, {"label": "milliseconds"}]]
    listeners = (("not told to AppSync", args["subscriptions"]), ("not mailed", args["notifications"]))
    queues = [("not routed", trigger.failures), *((label, one.failures) for label, one in listeners if one)]
    if args["notifications"]:
        queues.append(("still to be mailed", args["notifications"].events))
    waiting = [
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.name, {"label": label}]
        for label, queue in queues
    ]
    late: list[Line] = [
        [*found(settings, "LateAnswer"), {"label": "answers that nobody waited for"}],
        *(
            ["HourBank", "RequestIgnored", "reason", reason, *service(settings), {"label": label}]
            for reason, label in IGNORED.items()
        ),
    ]
    limit = {"label": "alarm", "value": FIFTEEN_MINUTES_IN_MILLISECONDS}
    return [
        [text("## From the table to the workflows")],
        [
            graph("Age of the stream's records", age, stat="Maximum", period=FIVE_MINUTES, limit=limit),
            graph("Given up on, in the queue", waiting, stat="Maximum", period=FIVE_MINUTES),
            graph("Late or ignored", late, stat="Sum", period=ONE_HOUR),
        ],
    ]


def functions(args: DashboardArgs) -> list[list[Widget]]:
    def lines(metric: str) -> list[Line]:
        return [
            ["AWS/Lambda", metric, "FunctionName", function.name, {"label": name}]
            for name, function in args["functions"].items()
        ]

    machines = (("requests", args["requests"]), ("releases", args["releases"]))
    throttled = [[*states(machine, "ExecutionThrottled"), {"label": f"workflow {name}"}] for name, machine in machines]
    return [
        [text("## Functions")],
        [
            graph("Errors, refusals included", lines("Errors"), stat="Sum", period=FIVE_MINUTES),
            graph("Duration, 95 in 100 within, ms", lines("Duration"), stat="p95", period=FIVE_MINUTES),
            graph("Throttled", [*lines("Throttles"), *throttled], stat="Sum", period=FIVE_MINUTES),
        ],
    ]


# ---- metrics, by what they are counted for


def service(settings: Settings) -> tuple[str, str]:
    """The dimension that every metric of the handlers has."""
    return "service", f"hourbank-{settings.env}"


def found(settings: Settings, metric: str) -> Line:
    return ["HourBank", metric, *service(settings)]


def states(machine: Workflow, metric: str) -> Line:
    return ["AWS/States", metric, "StateMachineArn", machine.arn]


# ---- widgets


def text(markdown: str, height: int = 1) -> Widget:
    return {"type": "text", "width": COLUMNS, "height": height, "properties": {"markdown": markdown}}


def alarms(title: str, shown: Sequence[aws.cloudwatch.MetricAlarm], width: int) -> Widget:
    properties = {"title": title, "alarms": [alarm.arn for alarm in shown]}
    return {"type": "alarm", "width": width, "height": 6, "properties": properties}


def number(title: str, metric: Line) -> Widget:
    properties = {
        "title": title,
        "metrics": [metric],
        "view": "singleValue",
        "sparkline": True,
        "stat": "Maximum",
        "period": TWO_HOURS,
    }
    return metric_widget(properties, width=4)


def graph(
    title: str,
    metrics: Sequence[Line],
    *,
    stat: str,
    period: int,
    width: int = 8,
    stacked: bool = False,
    limit: Mapping[str, Any] | None = None,
) -> Widget:
    properties: Widget = {
        "title": title,
        "metrics": list(metrics),
        "view": "timeSeries",
        "stacked": stacked,
        "stat": stat,
        "period": period,
        "yAxis": {"left": {"min": 0}},
    }
    if limit:
        properties["annotations"] = {"horizontal": [limit]}
    return metric_widget(properties, width)


def metric_widget(properties: Widget, width: int) -> Widget:
    return {"type": "metric", "width": width, "height": 6, "properties": properties}
