"""The command line `hourbank`, a file for each group of commands.

What a command needs is imported in it: `hourbank --help` must import neither Pulumi nor boto3.
"""

from __future__ import annotations

import errno
import signal
import sys
import warnings

import typer

from hourbank.cli import export, operate, ship, try_it
from hourbank.terminal import print_in_any_locale

# What is not this program's fault: no room, no right, no more files, processes or memory.
MACHINE = {
    *(errno.EACCES, errno.EAGAIN, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC),
    *(errno.EPERM, errno.EROFS),
}
app = typer.Typer(
    help="HourBank: hold, pay and give back the hours of a time bank, beside AWS Amplify.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(try_it.commands)
app.add_typer(operate.commands)
app.add_typer(ship.commands)
app.add_typer(export.commands, name="export", rich_help_panel=ship.PANEL)


def main() -> None:
    """Run the command line; every error that a user can cause is one line."""
    # A program that is ended lets go of what it started, as one that is interrupted does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Also where it was inherited as ignored, as under nohup.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print_in_any_locale()
    # Of the libraries, for whoever develops with them: PYTHONWARNINGS=error must not end a command of a user's.
    warnings.simplefilter("ignore")
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Abort:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        line = _in_one_line(error)
        if line is None:
            raise
        if line:
            typer.echo(f"hourbank: {line}", err=True)
        sys.exit(getattr(error, "exit_code", 1))


def _in_one_line(error: Exception) -> str | None:
    """Return what a user needs to know of an error; None if it is a fault of this program."""
    if format_message := getattr(error, "format_message", None):  # a command line that is not understood
        context = getattr(error, "ctx", None)
        help_of = context.command_path if context else "hourbank"
        # without any argument the help has been printed, and there is nothing to say
        message = format_message().rstrip(".").replace("Value error, ", "")  # Typer's, of an enum
        return message and f"{message}: see `{help_of} --help`"
    from hourbank.errors import HourBankError
    from hourbank.terminal import one_line

    if isinstance(error, HourBankError):
        return str(error)
    if (pulumi := sys.modules.get("pulumi")) and isinstance(error, pulumi.RunError):  # the program refuses its stack
        return str(error)
    if isinstance(error, OSError) and error.errno in MACHINE:
        return f"{error.filename}: {error.strerror}" if error.filename else f"this machine refuses: {error.strerror}"
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as NoConnection

    if isinstance(error, HTTPClientError | NoConnection):
        return f"the emulator is not there any more: start again. {one_line(error)}"
    if isinstance(error, ClientError):
        return f"the emulator refuses {error.operation_name}: {one_line(error)}"
    return one_line(error) if isinstance(error, BotoCoreError) else None
