"""The command line `hourbank`, a file for each group of commands.

What a command needs is imported in it: `hourbank --help` must import neither Pulumi nor boto3.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import warnings
from typing import Annotated, NoReturn

import typer

from hourbank.cli import export, operate, ship, try_it
from hourbank.errors import HourBankError, UnreachableError
from hourbank.names import PROJECT
from hourbank.terminal import one_line, print_in_any_locale, printable

# What is not this program's fault: no room, no right, no more files, processes or memory.
MACHINE = {
    *(errno.EACCES, errno.EAGAIN, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC),
    *(errno.EPERM, errno.EROFS),
}
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(try_it.commands)
app.add_typer(operate.commands)
app.add_typer(ship.commands)
app.add_typer(export.commands, name="export", rich_help_panel=ship.PANEL)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"{PROJECT} {version(PROJECT)}")
        raise typer.Exit


@app.callback()
def hourbank(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """HourBank: hold, pay and give back the hours of a time bank, beside AWS Amplify."""


def main() -> None:
    """Run the command line; every error that a user can cause is one line, and has its status."""
    # A program that is ended lets go of what it started, as one that is interrupted does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Also where it was inherited as ignored, as under nohup.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print_in_any_locale()
    # Of the libraries, for whoever develops with them: PYTHONWARNINGS=error must not end a command of a user's.
    warnings.simplefilter("ignore")
    try:
        status = app(standalone_mode=False)
        if sys.stdout:  # what is still to be written may find no reader either
            sys.stdout.flush()
        sys.exit(status)
    except typer.Abort:
        sys.exit(128 + signal.SIGINT)
    except SystemExit as ended:
        # Typer and Rich end the process themselves where nobody reads on, both with 1.
        if isinstance(ended.__context__, BrokenPipeError):
            _end_unread()
        raise
    except BrokenPipeError:
        _end_unread()
    except Exception as error:
        line = _in_one_line(error)
        if line is None:
            raise
        if line:
            typer.echo(f"hourbank: {printable(line)}", err=True)
        sys.exit(getattr(error, "exit_code", UnreachableError.exit_code if _is_of_aws(error) else 1))


def _end_unread() -> NoReturn:
    """End in silence, as what SIGPIPE ends: not by the signal, which would also come of a connection to AWS."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


def _is_of_aws(error: Exception) -> bool:
    aws = sys.modules.get("botocore.exceptions")
    return aws is not None and isinstance(error, aws.BotoCoreError | aws.ClientError)


def _in_one_line(error: Exception) -> str | None:
    """Return what a user needs to know of an error; None if it is a fault of this program."""
    if format_message := getattr(error, "format_message", None):  # a command line that is not understood
        context = getattr(error, "ctx", None)
        help_of = context.command_path if context else "hourbank"
        # without any argument the help has been printed, and there is nothing to say
        message = format_message().rstrip(".").replace("Value error, ", "")  # Typer's, of an enum
        if context and context.parent is None and hasattr(error, "option_name"):
            message += ", and those of a command stand behind it"
        return message and f"{message}: see `{help_of} --help`"
    if isinstance(error, HourBankError):
        return str(error)
    if (pulumi := sys.modules.get("pulumi")) and isinstance(error, pulumi.RunError):  # the program refuses its stack
        return str(error)
    if isinstance(error, MemoryError) or "can't start new thread" in str(error):
        return "this machine refuses: no more threads or memory (see ulimit -u and ulimit -v)"
    if isinstance(error, OSError) and error.errno in MACHINE:
        return f"{error.filename}: {error.strerror}" if error.filename else f"this machine refuses: {error.strerror}"
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as NoConnection

    if isinstance(error, HTTPClientError | NoConnection):
        return f"the emulator is not there any more: start again. {one_line(error)}"
    if isinstance(error, ClientError):
        return f"the emulator refuses {error.operation_name}: {one_line(error)}"
    return one_line(error) if isinstance(error, BotoCoreError) else None
