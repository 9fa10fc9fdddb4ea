"""What people read in a mail about a request, a file for each language; a new one is another line here."""

from typing import NamedTuple

from handlers.texts import de, en

LANGUAGES = {"en": en.TEXTS, "de": de.TEXTS}


class Mail(NamedTuple):
    """What is sent; it names no person, no hours and nothing that a client typed."""

    subject: str
    text: str


def mail(event: str, role: str, status: str, locale: str) -> Mail | None:
    """The mail about an event, in the language of a locale such as ``de-AT``, else in English; None without one."""
    texts = LANGUAGES.get(locale[:2].lower(), en.TEXTS)
    text = texts.get(f"{event} {status} {role}") or texts.get(f"{event} {role}")
    return Mail(*text) if text else None
