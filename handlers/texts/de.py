"""German, as in English."""

TEXTS = {
    "ProviderAsked provider": (
        "Jemand bittet um deine Hilfe",
        "Jemand fragt nach einem deiner Angebote. In der App kannst du annehmen, ablehnen oder etwas anderes anbieten.",
    ),
    "ProviderReminded provider": (
        "Eine Anfrage wartet noch auf deine Antwort",
        "Die Zeit läuft bald ab. Öffne die App, um anzunehmen, abzulehnen oder etwas anderes anzubieten.",
    ),
    "RequesterAsked requester": (
        "Es gibt ein anderes Angebot für deine Anfrage",
        "Dir wird die Hilfe für andere Stunden angeboten. Öffne die App, um anzunehmen oder abzulehnen.",
    ),
    "ServiceStarted requester": (
        "Deine Anfrage wurde angenommen",
        "Es kann losgehen. Bestätige in der App, wenn du die Hilfe bekommen hast: dann werden die Stunden bezahlt.",
    ),
    "ServiceStarted provider": (
        "Es kann losgehen",
        "Ihr seid euch einig, die Stunden sind für dich hinterlegt. Du bekommst sie, sobald die Hilfe bestätigt ist.",
    ),
    "RequestEnded COMPLETED requester": ("Abgeschlossen", "Die Stunden sind bezahlt. Danke!"),
    "RequestEnded COMPLETED provider": ("Du wurdest bezahlt", "Abgeschlossen: die Stunden gehören dir. Danke!"),
    "RequestEnded REJECTED requester": (
        "Deine Anfrage war nicht möglich",
        "Die App sagt, warum. Du behältst deine Stunden.",
    ),
    "RequestEnded DECLINED requester": ("Deine Anfrage wurde abgelehnt", "Du hast deine Stunden zurück."),
    "RequestEnded DECLINED provider": ("Die Anfrage wurde abgelehnt", "Für dich bleibt nichts zu tun."),
    "RequestEnded CANCELLED requester": ("Deine Anfrage wurde abgesagt", "Du hast deine Stunden zurück."),
    "RequestEnded CANCELLED provider": ("Die Anfrage wurde abgesagt", "Für dich bleibt nichts zu tun."),
    "RequestEnded TIMED_OUT requester": (
        "Deine Anfrage ist abgelaufen",
        "Niemand hat rechtzeitig geantwortet. Du hast deine Stunden zurück.",
    ),
    "RequestEnded TIMED_OUT provider": (
        "Die Anfrage ist abgelaufen",
        "Niemand hat rechtzeitig geantwortet. Für dich bleibt nichts zu tun.",
    ),
    "RequestEnded FAILED requester": (
        "Deine Anfrage ist gescheitert",
        "Bei uns ist etwas schiefgegangen. Du hast deine Stunden zurück.",
    ),
    "RequestEnded FAILED provider": (
        "Die Anfrage ist gescheitert",
        "Bei uns ist etwas schiefgegangen. Für dich bleibt nichts zu tun.",
    ),
}
