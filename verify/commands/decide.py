"""``promptcert decide``: can any prompt make this layer memorize these data?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from constructions.data import Dataset
from constructions.files import InputError, read_data, read_model
from constructions.single_layer.decide import Decision, decide
from constructions.transformer import Transformer
from constructions.verdict import Memorization, Undecided
from verify.audit import DisagreementError
from verify.claims import unmemorizable_pair
from verify.commands.answer import Answer, Exit, add_common, certificate_path, positive_int
from verify.kernel_process import KernelError, check_files


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("decide", help="can any prompt make this layer memorize these data?")
    parser.add_argument("model", metavar="MODEL.json")
    parser.add_argument("data", metavar="DATA.json")
    parser.add_argument(
        "--prompt-length", type=positive_int, metavar="N", help="prompts of at most N tokens (default: any length)"
    )
    parser.add_argument("--prompt", type=Path, metavar="FILE", help="write a memorizing prompt here, if there is one")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="folder or .json file for the certificate (default: the current folder)",
    )
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Answer:
    model, data = read_model(args.model), read_data(args.data)
    try:
        decision = decide(model, data, args.prompt_length)
    except Undecided as limit:  # a sign past the precision cap
        decision = Decision(Memorization.UNDECIDED, None, str(limit))
    except ValueError as error:
        raise InputError(f"{args.model} with {args.data}: {error}") from None
    path, sentence = _certify(args, model, decision)
    if args.prompt is not None and decision.verdict is not Memorization.MEMORIZABLE:
        print(f"no prompt to write to {args.prompt}: the data are {decision.verdict.value}", file=sys.stderr)
    decided = decision.verdict is not Memorization.UNDECIDED
    document = {
        "verdict": decision.verdict.value,
        "argument": decision.argument,
        "reason": decision.reason,
        "infimum": decision.infimum,
        "minimal_prompt_length": decision.minimal_prompt_length,
        "without_prompt": decision.without_prompt,
        "certificate": None if path is None else str(path),
    }
    return Answer(Exit.AS_CLAIMED if decided else Exit.UNDECIDED, document, _text(decision, data, path, sentence))


def _certify(args: argparse.Namespace, model: Transformer, decision: Decision) -> tuple[Path | None, str | None]:
    """Write the certificate and have the kernel check it; without ``--out``, a folder that cannot be written costs only
    the file, not the answer."""
    if decision.proof is None:
        return None, None
    try:
        path = certificate_path(args.out, f"{Path(args.data).stem}.cert.json")
        unmemorizable_pair.certificate(model, decision.proof).write(path)
    except InputError as error:
        if args.out is not None:
            raise
        print(f"no certificate written: {error}", file=sys.stderr)
        return None, None
    answer = check_files([path])[0]
    if answer.verdict == "over limits":
        raise KernelError(
            f"decided {decision.verdict.value}, but the kernel is over its limits: {answer.sentence} ({path})"
        )
    if answer.verdict != "true":
        raise DisagreementError(
            f"decided {decision.verdict.value}, but the kernel says {answer.verdict}: {answer.sentence} ({path})"
        )
    return path, answer.sentence


def _text(decision: Decision, data: Dataset, path: Path | None, sentence: str | None) -> str:
    lines = [decision.verdict.value + (f" (argument: {decision.argument})" if decision.argument else "")]
    lines.append(f"  why: {decision.reason}")
    without = {
        True: "the layer already meets every target",
        False: "the layer does not meet the targets",
        None: "not determined",
    }
    lines.append(f"  without a prompt: {without[decision.without_prompt]}")
    if path is not None:
        lines.append(f"  certificate: {path}")
        lines.append(f"  kernel: {sentence}")
    return "\n".join(lines)
