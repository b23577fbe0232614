"""``promptcert decide``: can any prompt make this layer memorize these data?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from constructions.documents import InputError, write_json
from constructions.files import PromptBox, prompt_json, read_data, read_model
from constructions.single_layer.decide import Decision, decide
from constructions.single_layer.explicit_prompt import explicit_prompt, prompt_box
from constructions.verdict import Memorization, Undecided
from verify.commands.answer import Answer, Exit, add_common, add_model_and_data, add_out, positive_int
from verify.commands.certificates import decision_certificates, write_checked


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("decide", help="can any prompt make this layer memorize these data?")
    add_model_and_data(parser)
    parser.add_argument(
        "--prompt-length", type=positive_int, metavar="N", help="prompts of at most N tokens (default: any length)"
    )
    parser.add_argument("--prompt", type=Path, metavar="FILE", help="write a memorizing prompt here, if there is one")
    add_out(parser, "certificate")
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Answer:
    model = read_model(args.model)
    data = read_data(args.data, model.width)
    try:
        decision = decide(model, data, args.prompt_length, explicit=args.prompt is not None)
    except Undecided as limit:  # a sign past the precision cap
        decision = Decision(Memorization.UNDECIDED, None, str(limit))
    except ValueError as error:
        raise InputError(f"{args.model} with {args.data}: {error}") from None
    stem = Path(args.data).stem
    paths = write_checked(args.out, stem, decision_certificates(model, decision, args.prompt_length))
    told = _write_prompt(args.prompt, decision)
    decided = decision.verdict is not Memorization.UNDECIDED
    document = {
        "verdict": decision.verdict.value,
        "argument": decision.argument,
        "reason": decision.reason,
        "infimum": decision.infimum,
        "minimal_prompt_length": decision.minimal_prompt_length,
        "without_prompt": decision.without_prompt,
        "certificate": str(paths[0][0]) if paths else None,
        "further_certificates": [str(path) for path, _ in paths[1:]],
        "prompt": None if told is None else str(args.prompt),
    }
    return Answer(Exit.AS_CLAIMED if decided else Exit.UNDECIDED, document, _text(decision, paths, told))


def _write_prompt(path: Path | None, decision: Decision) -> str | None:
    """Write the memorizing prompt, if asked for and there is one; what was written, in words."""
    if path is None:
        return None
    answer = decision.several or decision.heads
    if answer is not None and answer.proved is not None:
        proved = answer.proved
        tokens = proved.expanded()
        if tokens is None:
            print(f"no prompt written to {path}: {proved.length} tokens are too many to write down", file=sys.stderr)
            return None
        write_json(path, prompt_json(PromptBox(tokens, proved.radius)))
        return f"{path} ({proved.length} tokens; an exact prompt lies within {float(proved.radius):.3g} of it)"
    group = decision.one_query
    if answer is not None and decision.verdict is Memorization.MEMORIZABLE:
        print(f"no prompt written to {path}: no explicit one was found", file=sys.stderr)
        return None
    if group is None or group.possible is None:
        print(f"no prompt written to {path}: the data are {decision.verdict.value}", file=sys.stderr)
        return None
    length = group.possible.written_length
    box = None if length is None else prompt_box(explicit_prompt(group.problem, group.possible))
    if box is None:
        print(f"no prompt written to {path}: it has {length or 'too many'} tokens", file=sys.stderr)
        return None
    write_json(path, prompt_json(box))
    return (
        f"{path} ({box.P.shape[1]} tokens; the exact prompt lies within {float(box.radius):.3g} of it, entry by entry)"
    )


def _text(decision: Decision, paths: list[tuple[Path, str]], told: str | None) -> str:
    lines = [decision.verdict.value + (f" (argument: {decision.argument})" if decision.argument else "")]
    lines.append(f"  why: {decision.reason}")
    if decision.verdict is Memorization.UNMEMORIZABLE and decision.infimum is not None:
        away = {
            "positive": "stays away from 0 (see promptcert floor)",
            "zero": "comes arbitrarily close to 0, unattained",
        }
        lines.append(f"  infimum of the loss: {away[decision.infimum]}")
    if decision.minimal_prompt_length is not None:
        lines.append(f"  least prompt length: {decision.minimal_prompt_length}")
    without = {
        True: "the layer already meets every target",
        False: "the layer does not meet the targets",
        None: "not determined",
    }
    lines.append(f"  without a prompt: {without[decision.without_prompt]}")
    if told is not None:
        lines.append(f"  prompt: {told}")
    for path, sentence in paths:
        lines += [f"  certificate: {path}", f"  kernel: {sentence}"]
    return "\n".join(lines)
