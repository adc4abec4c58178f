"""The door: reads the words, runs the verb, and turns every ending into one line and an exit code.

Exit codes: 0 fine, 1 looked at and found wrong, 2 the command or its input was wrong, 3 our own or the machine's failure,
130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer
from typer import Abort, Exit
from typer._click.exceptions import ClickException, NoArgsIsHelpError, NoSuchOption, UsageError

from whet import __version__
from whet.errors import StoreError, WhetError, nearest, one_line

__all__ = ["app", "main"]

app = typer.Typer(
    name="whet", add_completion=True, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Take a neural network from raw data to a small, verified, deployed model by a recipe one can trust.",
    epilog="Start with: whet run digits --budget 60s",
)  # fmt: skip


def _version(asked: bool) -> None:
    if asked:
        print(f"whet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version and exit."),
) -> None:
    """Take a neural network from raw data to a small, verified, deployed model by a recipe one can trust."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on `argv` (default: the process's own); return the exit code."""
    from whet.cli import check, look, new, run, study, train, tune

    for verb in (run, look, check, train, tune, study, new):
        verb.add(app)
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = app(args=words, prog_name="whet", standalone_mode=False)
        return int(code or 0)
    except Exit as e:
        return int(e.exit_code)
    except ClickException as e:
        return _say(_usage(e), 2)
    except WhetError as e:
        return _say(str(e), 3 if isinstance(e, StoreError) and "no space" in str(e) else 2)
    except (KeyboardInterrupt, Abort):
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        command = " ".join(["whet", *words])
        return _say(f"whet {__version__}: this is a bug. Please report it with the lines above and the command: {command}", 3)


def _say(text: str, code: int) -> int:
    print(f"whet: {one_line(text)}", file=sys.stderr)
    return code


def _usage(e: ClickException) -> str:
    where = e.ctx.command_path if isinstance(e, UsageError) and e.ctx is not None else "whet"
    text = e.format_message().rstrip(".")
    if isinstance(e, NoSuchOption):
        known = [o for p in (e.ctx.command.params if e.ctx else []) for o in p.opts if o.startswith("--")]
        text = f"no such option {e.option_name}.{nearest(e.option_name, known)}"
    else:
        text += "."
    return f"{where.removeprefix('whet').strip() or 'command'}: {text} See `{where} --help`."
