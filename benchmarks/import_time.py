"""Measure what starting costs: CPU seconds of `import whet` and `whet --help`, beside optuna.

Each figure is user plus system time of a fresh process, interpreter included; the commands take turns, and the first round,
which may compile bytecode, is not counted. Run: python benchmarks/import_time.py [rounds]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

COMMANDS = {
    # name: (arguments of Python, target in CPU seconds)
    "python -c pass": (["-c", "pass"], None),
    "import whet": (["-c", "import whet"], 0.3),
    "import whet; whet.Study": (["-c", "import whet; whet.Study"], None),
    "import optuna": (["-c", "import optuna"], None),
    "whet --help": (["-m", "whet", "--help"], 0.4),
    "optuna --help": (["-m", "optuna.cli", "--help"], None),
}


def cpu_seconds(arguments: list[str]) -> float:
    """Return the CPU time of a fresh Python and whatever it starts, until it ends."""
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    message = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stderr.close()
    if child.returncode:
        raise SystemExit(f"python {' '.join(arguments)} failed:\n{message.decode()}")
    return usage.ru_utime + usage.ru_stime


def main(rounds: int = 7) -> int:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(rounds + 1):
        for name, (arguments, _) in COMMANDS.items():
            spent = cpu_seconds(arguments)
            if turn:
                seconds[name].append(spent)
    print(
        f"CPU seconds of a fresh process, {rounds} runs each, Python {sys.version.split()[0]}, {os.cpu_count()} cores\n"
    )
    print("| command | median | least | most | target |")
    print("|---|---|---|---|---|")
    missed = False
    for name, (_, target) in COMMANDS.items():
        middle = statistics.median(seconds[name])
        verdict = ""
        if target is not None:
            missed |= middle > target
            verdict = f"{target} {'missed' if middle > target else 'met'}"
        print(f"| `{name}` | {middle:.3f} | {min(seconds[name]):.3f} | {max(seconds[name]):.3f} | {verdict} |")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
