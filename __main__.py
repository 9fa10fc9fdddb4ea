"""HourBank's workflows beside an Amplify backend: `pulumi up` deploys what this page lists."""

import pulumi

from components import names
from components import settings as configuration
from components import tables as amplify_tables
from components.auditor import Auditor
from components.browser_starts import BrowserStarts
from components.dashboard import Dashboard
from components.event_bus import EventBus
from components.functions import workflow_functions
from components.notifications import Notifications
from components.stream_trigger import StreamTrigger
from components.subscriptions import Subscriptions
from components.workflow import Workflow
from workflows import escrow_management, service_request

# Configuration, names, and the four tables that Amplify owns: checked before anything is made.
settings = configuration.load()
names.refuse_taken(settings)
tables = amplify_tables.look_up(settings)

# The bus tells people what happened; the functions do the work; the workflows decide what comes next.
bus = EventBus("eventBus", {"settings": settings})
functions = workflow_functions(settings, tables, bus)
requests = Workflow(
    "ServiceRequestWorkflow",
    {
        "settings": settings,
        "definition": service_request.definition,
        "calls": service_request.FUNCTIONS,
        "functions": functions,
    },
)
releases = Workflow(
    "EscrowManagementWorkflow",
    {
        "settings": settings,
        "definition": escrow_management.definition,
        "calls": escrow_management.FUNCTIONS,
        "functions": functions,
    },
)

# A change of a ServiceRequest starts and answers them.
trigger = StreamTrigger(
    "routeServiceRequest",
    {"settings": settings, "table": tables["serviceRequest"], "requests": requests, "releases": releases},
)

# Every hour the books are held against each other; what the stream may have missed is shown to it again.
auditor = Auditor("auditLedger", {"settings": settings, "tables": tables, "requests": requests})

# Only where the stack asks for it: AppSync's subscribers are told of events; people are mailed; a browser starts
# requests itself.
subscriptions = None
if settings.appsync:
    subscriptions = Subscriptions("subscriptions", {"settings": settings, "api": settings.appsync, "bus": bus})
notifications = None
if settings.mailing:
    notifications = Notifications("sendNotification", {"settings": settings, "mailing": settings.mailing, "bus": bus})
if settings.amplify_auth_role_name:
    role_name = settings.amplify_auth_role_name
    BrowserStarts("browserStarts", {"settings": settings, "role_name": role_name, "requests": requests})

# One page shows a person all of it.
everything = {**functions, "routeServiceRequest": trigger.router, "auditLedger": auditor.function}
if notifications:
    everything["sendNotification"] = notifications.function
Dashboard(
    "dashboard",
    {
        "settings": settings,
        "requests": requests,
        "releases": releases,
        "functions": everything,
        "trigger": trigger,
        "auditor": auditor,
        "subscriptions": subscriptions,
        "notifications": notifications,
    },
)

pulumi.export("serviceRequestWorkflowArn", requests.arn)
pulumi.export("escrowManagementWorkflowArn", releases.arn)
pulumi.export("serviceRequestWorkflowRoleArn", requests.role_arn)
pulumi.export("escrowManagementWorkflowRoleArn", releases.role_arn)
pulumi.export("eventBusName", bus.name)
pulumi.export("functionNames", {name: function.name for name, function in everything.items()})
