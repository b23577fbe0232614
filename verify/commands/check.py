"""``promptcert check``: the kernel, in a process of its own."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from verify.commands import other_files
from verify.commands.answer import Answer, Exit, add_common
from verify.kernel_process import ANSWERS, KernelAnswer, check_files, printable


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("check", help="check certificates with the independent kernel")
    parser.add_argument("certificates", nargs="+", metavar="CERT.json")
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Answer:
    answers = [_told(answer) for answer in check_files(args.certificates)]
    codes = {ANSWERS[answer.verdict] for answer in answers}
    code = next((Exit(c) for c in (1, 4, 3) if c in codes), Exit.AS_CLAIMED)
    document = {
        "accepted": code is Exit.AS_CLAIMED,
        "files": [{"path": a.path, "verdict": a.verdict, "sentence": a.sentence} for a in answers],
    }
    return Answer(code, document, "\n".join(f"{printable(a.path)}: {a.verdict}: {a.sentence}" for a in answers))


def _told(answer: KernelAnswer) -> KernelAnswer:
    """The kernel knows certificates only; of our other files it is said what they are."""
    what = other_files.sentence(answer.path) if answer.verdict == "not a certificate" else None
    return answer if what is None else replace(answer, sentence=what)
