"""The door: reads the words, runs the verb, and turns every ending into one line and an exit code.

Exit codes: 0 fine, 1 looked at and found wrong, 2 the command or its input was wrong, 3 our own or the machine's failure,
130 interrupted, 141 whoever read the output left.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence

import typer
from typer import Abort, Exit
from typer._click.exceptions import BadParameter, ClickException, NoArgsIsHelpError, NoSuchOption, UsageError

from whet import __version__
from whet.errors import WhetError, harmless, nearest, one_line

__all__ = ["app", "main"]

app = typer.Typer(
    name="whet", add_completion=True, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Take a neural network from raw data to a small, verified, deployed model by a recipe one can trust.",
    epilog="Start with: whet run digits --budget 60s",
)  # fmt: skip

_MACHINE = ("no space", "disk is full", "file too large", "quota exceeded", "input/output error")
_FAULTY = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # the machine's failure, not a wrong path
_TWICE = 0.5  # seconds in which a second Ctrl-C is still the first
_TYPES = (("valid integer", "a whole number"), ("valid number", "a number"), ("valid boolean", "true or false"))


def _version(asked: bool) -> None:
    if asked:
        print(f"whet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Take a neural network from raw data to a small, verified, deployed model by a recipe one can trust."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on `argv` (default: the process's own); return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    with contextlib.suppress(AttributeError, ValueError):  # not a real stream, as in a notebook
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # else a name ends a command
    try:
        with _interrupted():
            return _run(words)
    except KeyboardInterrupt:  # while it was still being loaded
        return 130
    except BrokenPipeError:  # `| head`: whoever read has seen enough
        return _hush()
    except SystemExit as e:  # Typer's own ending of the same
        return _hush() if isinstance(e.__context__, BrokenPipeError) else int(e.code or 0)


@contextlib.contextmanager
def _interrupted() -> Iterator[None]:
    """Say that Ctrl-C ended a command, where the command does not hear it itself: Typer only gives its exit code."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield  # someone else's, as in a notebook
        return

    owner, said = os.getpid(), 0.0

    def handle(number: int, frame: object) -> None:
        nonlocal said
        now = time.monotonic()
        if said and now - said < _TWICE:  # a key held down, or a signal that came to the whole group: one is enough
            return
        if not said and os.getpid() == owner:  # and not in a process that the work forked
            with contextlib.suppress(OSError):
                os.write(2, b"\nwhet: interrupted\n")
        said = now
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run(words: list[str]) -> int:
    """Run a command, and say in one line how it failed."""
    if not app.registered_commands:
        from whet.cli import check, compare, look, new, run, simulate, study, train, tune

        for verb in (run, look, check, train, tune, compare, simulate, study, new):
            verb.add(app)
    try:
        code = app(args=words, prog_name="whet", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except Exit as e:
        return int(e.exit_code)
    except NoArgsIsHelpError as e:
        print(e.ctx.get_help() if e.ctx is not None else e.format_message(), file=sys.stderr)
        return 2
    except ClickException as e:
        return _say(_usage(e, words), 2)
    except WhetError as e:
        return _say(str(e), 3 if any(sign in str(e).lower() for sign in _MACHINE) else 2)
    except (KeyboardInterrupt, Abort):  # `_interrupted` has said so
        return 130
    except BrokenPipeError:
        raise
    except Exception as e:
        if isinstance(e, OSError) and (e.filename is not None or e.errno in _FAULTY):
            where = e.filename if e.filename is not None else "a file"
            if e.errno in _FAULTY:
                return _say(f"{where}: cannot be written ({e.strerror}). Make room and run the same command again.", 3)
            return _say(f"{where}: {e.strerror}. Give another path, or change its permissions.", 2)
        for line in traceback.format_exc().splitlines():
            print(harmless(line), file=sys.stderr)
        command = shlex.join(["whet", *words])
        return _say(
            f"whet {__version__}: this is a bug. Please report it with the lines above and the command: {command}", 3
        )


def _hush() -> int:
    """Send what is still to be printed nowhere; return the code of a program that its pipe ended."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass  # no real standard output, as in a notebook
    return 141


def _say(text: str, code: int) -> int:
    print(f"whet: {one_line(text)}", file=sys.stderr)
    return code


def _usage(e: ClickException, words: Sequence[str]) -> str:
    """Return a wrong command line in one line: the verb, what, and the nearest that is right."""
    path = e.ctx.command_path if isinstance(e, UsageError) and e.ctx is not None else "whet"
    verbs = [w for w in words[:1] if path == "whet" and not isinstance(e, NoSuchOption)]
    known = {c.name for c in app.registered_commands} | {g.name for g in app.registered_groups}
    verbs = [v for v in verbs if v in known]
    where = " ".join([path, *verbs])  # an option without its value is found before its verb is
    text = e.format_message().rstrip(".")
    text = text if text.endswith("?") else text + "."
    if isinstance(e, NoSuchOption):
        flags = [o for p in (e.ctx.command.params if e.ctx else []) for o in p.opts if o.startswith("--")]
        text = f"no such option {e.option_name}.{nearest(e.option_name, flags)}"
    elif isinstance(e, BadParameter) and e.param is not None:
        needed = next((name for sign, name in _TYPES if sign in e.message), "")
        flag = (e.param.opts or [e.param.name or "argument"])[0]
        given = next(
            (w.partition("=")[2] or v for w, v in zip(words, [*words[1:], ""], strict=True) if w.split("=")[0] == flag),
            "",
        )
        given = given or os.environ.get(str(e.param.envvar or ""), "")
        if needed:
            text = f"{flag}: must be {needed}, got {given!r}."
    text = text[0].lower() + text[1:]
    verb = where.removeprefix("whet").strip()
    return f"{verb + ': ' if verb else ''}{text} See `{where} --help`."
