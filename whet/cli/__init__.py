"""The command line: one file per verb, and what they share."""

from whet.cli.main import main as main

__all__ = ["main"]
