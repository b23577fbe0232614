"""The command line ``promptcert``: options, exit codes and the last line of defence against tracebacks."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

from constructions.documents import InputError
from constructions.verdict import Undecided
from verify import __version__
from verify.commands.answer import Answer, Exit, OverLimitsError, TimeLimitError
from verify.kernel_process import DisagreementError, KernelError, printable
from verify.resumable import WorkerLostError

COMMANDS = (
    "audit",
    "decide",
    "floor",
    "compare",
    "universality",
    "constants",
    "depth",
    "experiments",
    "inspect",
    "check",
    "show",
    "export",
    "doctor",
)
"""Each is the module verify.commands.NAME. Only the one asked for is imported: most of them load much that it does not
need."""


class _Parser(argparse.ArgumentParser):
    """argparse with this project's exit code for bad usage, and without abbreviated options (they would change meaning
    when options are added)."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "allow_abbrev": False})

    @property
    def options(self) -> list[str]:
        """All options of this command."""
        return list(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(int(Exit.BAD_INPUT))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 as claimed, 1 not as claimed, 2 undecided, 3 over limits, 4 bad
    input)."""
    parser = _Parser(prog="promptcert", description="Theorems about prompt tuning, run and certified.")
    parser.add_argument("--version", action="version", version=f"promptcert {__version__}")
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND", parser_class=_Parser)
    words = sys.argv[1:] if arguments is None else list(arguments)
    for name in _needed(words):
        import_module(f"verify.commands.{name}").add_parser(commands)
    args, unknown = parser.parse_known_args(words)
    if unknown:
        commands.choices[args.command].error(_unknown(unknown, commands.choices[args.command].options))
    answer = _answer(args)
    output = _json(answer.document) if args.format == "json" else _encodable(answer.text)
    try:
        if output:
            print(output, flush=True)
    except BrokenPipeError:  # the reader has seen enough
        _discard_output()
    except OSError as error:
        _discard_output()
        print(f"error: standard output: cannot be written: {error.strerror or error}", file=sys.stderr)
        return int(Exit.BAD_INPUT)
    return int(answer.code)


def _needed(words: Sequence[str]) -> Sequence[str]:
    """The command that is asked for; all of them where help or an error lists them."""
    first = words[0] if words else ""
    if first == "--version":
        return ()
    return (first,) if first in COMMANDS else COMMANDS


def _unknown(words: Sequence[str], options: Sequence[str]) -> str:
    """What argparse says of words that are left over, with the option that the first one resembles."""
    near = get_close_matches(words[0].partition("=")[0], options, 1) if words[0].startswith("-") else []
    return f"unrecognized arguments: {' '.join(words)}" + (f" (did you mean {near[0]}?)" if near else "")


def _discard_output() -> None:
    """Python flushes standard output once more at the end, and that must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _encodable(text: str) -> str:
    """Text that standard output can take, whatever its encoding and whatever a file name contains."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _json(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, indent=1, ensure_ascii=False)
    return text if text == _encodable(text) else json.dumps(document, indent=1)


def _answer(args: argparse.Namespace) -> Answer:
    limit = getattr(args, "max_seconds", None)
    try:
        if limit is not None:
            signal.signal(signal.SIGALRM, _time_is_up)
            signal.setitimer(signal.ITIMER_REAL, limit)
        answer: Answer = args.run(args)
    except InputError as error:
        return _failure(Exit.BAD_INPUT, str(error))
    except DisagreementError as error:
        return _failure(Exit.NOT_AS_CLAIMED, f"two ways to the same answer disagree (a bug): {error}")
    except TimeLimitError:
        return _failure(Exit.OVER_LIMITS, f"not finished within --max-seconds {limit:g}; nothing is claimed")
    except OverLimitsError as error:
        return _failure(Exit.OVER_LIMITS, f"{error}; nothing is claimed")
    except MemoryError:
        return _failure(Exit.OVER_LIMITS, "out of memory; nothing is claimed")
    except RecursionError:
        return _failure(Exit.OVER_LIMITS, "out of stack: the input is nested too deeply; nothing is claimed")
    except (KernelError, WorkerLostError) as error:
        return _failure(Exit.OVER_LIMITS, f"{error}; nothing is claimed")
    except Undecided as reason:
        return _failure(Exit.UNDECIDED, str(reason))
    except OSError as error:  # a folder that vanished, a process that could not be started
        name = f"{error.filename}: " if error.filename is not None else ""
        return _failure(Exit.BAD_INPUT, f"{name}{error.strerror or error}")
    except KeyboardInterrupt:
        return _failure(Exit.OVER_LIMITS, "interrupted; nothing is claimed")
    finally:
        if limit is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return answer


def _failure(code: Exit, message: str) -> Answer:
    """The one line goes to stderr; standard output carries a document only where JSON was asked for. What a long run
    has noted on the exception in hand, how to go on, ends the line."""
    message = printable("; ".join([message, *getattr(sys.exception(), "__notes__", ())]))
    print(f"error: {message}", file=sys.stderr)
    return Answer(code, {"verdict": "undecided", "error": message}, "undecided" if code is Exit.OVER_LIMITS else "")


def _time_is_up(number: int, frame: FrameType | None) -> NoReturn:
    raise TimeLimitError


if __name__ == "__main__":
    sys.exit(main())
