"""The one error that a person reads."""


class HourBankError(Exception):
    """A command cannot go on; the message is one line: what is wrong, where, and what to do."""
