"""English. By event and role, or by event, status and role: the subject and the text."""

TEXTS = {
    "ProviderAsked provider": (
        "Somebody asks for your service",
        "Somebody asks for one of your services. Open the app to accept, decline or make another offer.",
    ),
    "ProviderReminded provider": (
        "A request still waits for your answer",
        "Time to answer is running out. Open the app to accept, decline or make another offer.",
    ),
    "RequesterAsked requester": (
        "There is another offer for your request",
        "The provider offers your service for other hours. Open the app to accept or decline.",
    ),
    "ServiceStarted requester": (
        "Your request was accepted",
        "The service can begin. Confirm in the app once you have received it: then the provider is paid.",
    ),
    "ServiceStarted provider": (
        "The service can begin",
        "You have agreed, and the hours are put aside for you. You get them once the service is confirmed.",
    ),
    "RequestEnded COMPLETED requester": ("The service is completed", "The hours were paid. Thank you!"),
    "RequestEnded COMPLETED provider": (
        "You were paid",
        "The service is completed, and the hours are yours. Thank you!",
    ),
    "RequestEnded REJECTED requester": (
        "Your request could not be made",
        "The app says why. You keep your hours.",
    ),
    "RequestEnded DECLINED requester": ("Your request was declined", "You have your hours back."),
    "RequestEnded DECLINED provider": ("The request was declined", "There is nothing left to do for you."),
    "RequestEnded CANCELLED requester": ("Your request was cancelled", "You have your hours back."),
    "RequestEnded CANCELLED provider": ("The request was cancelled", "There is nothing left to do for you."),
    "RequestEnded TIMED_OUT requester": (
        "Your request has expired",
        "Nobody answered in time. You have your hours back.",
    ),
    "RequestEnded TIMED_OUT provider": (
        "The request has expired",
        "Nobody answered in time. There is nothing left to do for you.",
    ),
    "RequestEnded FAILED requester": (
        "Your request has failed",
        "Something went wrong on our side. You have your hours back.",
    ),
    "RequestEnded FAILED provider": (
        "The request has failed",
        "Something went wrong on our side. There is nothing left to do for you.",
    ),
}
