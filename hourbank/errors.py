"""The errors that a person reads, and the exit status that each gives to a command."""


class HourBankError(Exception):
    """A command cannot go on; the message is one line: what is wrong, where, and what to do."""

    exit_code = 1


class UnreachableError(HourBankError):
    """AWS, or the emulator in its place, was not asked or gave no answer: nothing is known of what was asked for."""

    exit_code = 3
