"""The `medsdk` program: commands, and what every error becomes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import entry_points
from types import FrameType

import typer

from medsdk._refusals import OutputNotWritableError
from medsdk._version import __version__
from medsdk.cli.output import (
    ReaderGoneError,
    discard_output,
    keep_apart,
    print_document,
    print_error,
    print_note,
    print_text,
)
from medsdk_runtimes.errors import MedsdkError

COMMAND_GROUP = "medsdk.commands"
"""Entry points of this group add commands: a function that takes the typer application."""

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class UsageError(MedsdkError):
    """The command line itself is wrong."""

    code = "usage"
    exit_status = EXIT_USAGE


class SystemRefusedError(MedsdkError):
    """The operating system refused something that no command foresaw."""

    code = "system-refused"
    exit_status = 3


class InterruptedCommandError(MedsdkError):
    """Somebody stopped the command."""

    code = "interrupted"
    exit_status = EXIT_INTERRUPTED


def application() -> typer.Typer:
    """The application with the commands of every floor."""
    from medsdk.cli import (
        accept,
        bench,
        demo,
        diff,
        doctor,
        evaluate,
        inspect,
        pack,
        run,
        tasks,
        verify,
    )

    app = typer.Typer(
        name="medsdk",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="Take a trained medical-imaging network to a scanner, and prove on that scanner that "
        "it is still the same network.\n\n"
        "Start with `medsdk demo`. On a device: `medsdk doctor`, `medsdk verify BUNDLE`, "
        "`medsdk run BUNDLE INPUT --out DIR`, `medsdk bench BUNDLE`.\n\n"
        "Exit status: 0 good, 1 the thing checked failed, 2 wrong use, 3 something is missing "
        "on this machine, 4 unreadable input, 5 not conclusive, 130 interrupted.",
    )

    def show_version(wanted: bool) -> None:
        if wanted:
            print_text(f"medsdk {__version__}")
            raise typer.Exit

    @app.callback()
    def common(
        # Shown by a callback of its own: without a command `common` is not called.
        version: bool = typer.Option(
            False,
            "--version",
            is_eager=True,
            callback=show_version,
            help="Print the version and stop.",
        ),
    ) -> None:
        del version

    common.__doc__ = None
    for module in (doctor, demo, tasks, inspect, verify, run, evaluate, diff, accept, bench, pack):
        module.register(app)
    for entry in sorted(entry_points(group=COMMAND_GROUP), key=lambda item: item.name):
        entry.load()(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Args:
        arguments: Words after the program's name; None takes those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--json" in words and "--help" not in words:  # help is printed by typer
        keep_apart()
    sys.exit(run(words))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; None takes those of the process.

    Returns:
        The exit status of `docs/conventions.md`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    status = 0
    try:
        status = _run(words, as_json=as_json)
        sys.stdout.flush()
    except (BrokenPipeError, ReaderGoneError):
        discard_output()
        return EXIT_INTERRUPTED
    except OSError as error:
        discard_output()
        # With another status the command has said already what went wrong.
        return status or _report(OutputNotWritableError.standard_output(error), as_json=False)
    return status


def _run(words: list[str], *, as_json: bool) -> int:
    if threading.current_thread() is threading.main_thread():
        # Like Ctrl-C, so that whatever is half-written is removed.
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        result = typer.main.get_command(application()).main(
            args=words or ["--help"], prog_name="medsdk", standalone_mode=False
        )
    except MedsdkError as error:
        return _report(error, as_json=as_json)
    except typer.TyperException as error:
        typed = error.format_message() if hasattr(error, "format_message") else str(error)
        if as_json:  # the words that were typed may be a path: they go to standard error alone
            print_note(typed)
            typed = "the command line is wrong; standard error says where"
        shown = UsageError(typed, remedy="`medsdk --help`, or --help after a command")
        return _report(shown, as_json=as_json)
    except OSError as error:
        # Whatever no command foresaw, for instance a name that is too long: never its path.
        unforeseen = SystemRefusedError(
            "the operating system refused something",
            got=error.strerror or type(error).__name__,
            expected="paths that exist, that this user may use, and that are not too long",
        )
        return _report(unforeseen, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        result = EXIT_INTERRUPTED
    if result == EXIT_INTERRUPTED:  # typer makes a silent 130 of a KeyboardInterrupt
        stopped = InterruptedCommandError(
            "interrupted", remedy="nothing half-written was left behind; run it again"
        )
        return _report(stopped, as_json=as_json)
    if not words:
        return EXIT_USAGE
    return result if isinstance(result, int) else 0


def _report(error: MedsdkError, *, as_json: bool) -> int:
    from medsdk.results.describing import describe_error
    from medsdk.results.documents import ErrorDocument

    if as_json:
        try:
            print_document(ErrorDocument(error=describe_error(error)))
        except OutputNotWritableError as full:
            print_error(full)
            return full.exit_status
    else:
        print_error(error)
    return error.exit_status


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
