"""The command line: parse, call a verb, print.

``granum VERB SRC [DST]``. With ``--json`` exactly one object goes to stdout, an error too; progress
and warnings go to stderr. Exit: 0 done; 1 refused or failed, nothing written; 2 usage; 3 done, but
records were skipped or fixed, or findings reached ``--fail-on``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from granum import __version__
from granum.commands import VERBS
from granum.errors import GranumError, UsageError

__all__ = ["command", "main"]


class _Parser(argparse.ArgumentParser):
    """Reports a wrong call as ``UsageError``, so that ``--json`` holds for it too."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().strip()}")


def command(verb: str) -> Any:
    """The module of a verb."""
    return import_module(f"granum.commands.{verb}")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="granum",
        description="Vision datasets: convert without silent loss, validate, diff, merge, curate, "
        "measure, train, browse.",
    )
    parser.add_argument("--version", action="version", version=f"granum {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    chosen = next((w for w in words if w in VERBS), None)
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary, description=summary)
        if name == chosen:  # the others' flags, and the formats behind them, are not needed
            command(name).flags(verb)
            verb.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parser(words).parse_args(words)
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except UsageError as error:
        return _fail(error, "--json" in words)
    try:
        result, text, code = command(arguments.verb).run(arguments)
    except (GranumError, OSError) as error:
        return _fail(error, arguments.json)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    as_json = arguments.json
    return _say(
        json.dumps(result, ensure_ascii=False, indent=1, default=str) if as_json else text, code
    )


def _say(text: str, code: int) -> int:
    """Print; a reader that has seen enough (``| head``) is no failure."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _fail(error: GranumError | OSError, as_json: bool) -> int:
    code = error.code if isinstance(error, GranumError) else "os"
    if as_json:
        details = error.details() if isinstance(error, GranumError) else {}
        message = str(error).partition("\n")[0]
        print(json.dumps({"error": {"code": code, "message": message, **details}}, default=str))
    else:
        print(f"granum: {error}", file=sys.stderr)
    return 2 if isinstance(error, UsageError) else 1


if __name__ == "__main__":
    sys.exit(main())
