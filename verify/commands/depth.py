"""``promptcert depth``: is a stack of layers injective, and can a prompt make it forget its input?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from flint import fmpq
from rich.table import Table

from constructions.depth.collapse import forgotten_inputs
from constructions.depth.constants import NORMS, Region, Stack
from constructions.depth.same_output import SameOutput
from constructions.depth.separation import Separation, separation
from constructions.documents import InputError
from constructions.files import read_model
from constructions.verdict import Undecided, Verdict
from verify.certificate import Certificate
from verify.claims import attention_lipschitz, joint_injectivity, prompted_injectivity
from verify.commands.answer import Answer, Exit, add_common, natural, positive_int, rational_option, rendered
from verify.commands.certificates import write_checked


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("depth", help="Lipschitz constants, injectivity, and what a prompt can collapse")
    parser.add_argument("model", metavar="MODEL.json")
    parser.add_argument(
        "--input-radius", metavar="R", required=True, help="largest Euclidean length of an input token, a rational"
    )
    parser.add_argument(
        "--prompt-radius", metavar="R", required=True, help="largest Euclidean length of a prompt token, a rational"
    )
    parser.add_argument(
        "--norm", choices=NORMS, default="max", help="the largest token, or the Frobenius norm (default: max)"
    )
    parser.add_argument("--tokens", type=positive_int, default=1, metavar="M", help="input tokens (default: 1)")
    parser.add_argument("--prompt-length", type=natural, default=1, metavar="N", help="prompt tokens (default: 1)")
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="folder for the certificates (default: the current folder)"
    )
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Answer:
    model = read_model(args.model)
    radii = {name: rational_option(args, name) for name in ("prompt-radius", "input-radius")}
    for name, radius in radii.items():
        if radius < 0:
            raise InputError(f"--{name}: expected at least 0, found {radius}")
    region = Region(radii["prompt-radius"], radii["input-radius"], args.prompt_length, args.tokens)
    try:
        stack = Stack.of(model, region, args.norm)
    except ValueError as error:
        raise InputError(
            f"{args.model} with --tokens {args.tokens} and --prompt-length {args.prompt_length}: {error}"
        ) from None
    findings = _Findings(stack)
    paths = write_checked(args.out, Path(args.model).stem, findings.certificates)
    document = findings.document() | {"certificates": [str(path) for path, _ in paths]}
    return Answer(findings.code, document, _text(findings, paths))


class _Findings:
    """The three verdicts about one stack, with their certificates."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.certificates = _bounds(stack)
        self.failed = stack.failing()
        if self.failed is None:
            self.certificates.append(("-injective", joint_injectivity.injective_certificate(stack)))
        self.separation: Separation | None = None
        self.forgotten: SameOutput | None = None
        self.reason = ""
        try:
            self.separation = separation(stack)
            self.certificates.append(("-prompted", prompted_injectivity.separation_certificate(self.separation)))
        except Undecided as reason:
            self.reason = str(reason)
            self.forgotten = _forgotten(stack) if self.failed is None else None
            if self.forgotten is not None:
                self.certificates.append(("-prompted", prompted_injectivity.same_output_certificate(self.forgotten)))

    @property
    def joint(self) -> Verdict:
        return Verdict.PROVED if self.failed is None else Verdict.UNDECIDED

    @property
    def prompted(self) -> Verdict:
        if self.separation is not None:
            return Verdict.PROVED
        return Verdict.UNDECIDED if self.forgotten is None else Verdict.REFUTED

    @property
    def code(self) -> Exit:
        if self.prompted is Verdict.REFUTED:
            return Exit.NOT_AS_CLAIMED
        if self.joint is Verdict.PROVED and self.prompted is Verdict.PROVED:
            return Exit.AS_CLAIMED
        return Exit.UNDECIDED

    def document(self) -> dict[str, Any]:
        stack, region = self.stack, self.stack.region
        failed = None
        if self.failed is not None:
            layer, part, constant = self.failed
            failed = {"layer": layer, "part": part, "constant": decimal_above(constant)}
        return {
            "claims": {
                "attention-lipschitz": Verdict.PROVED.value,
                "joint-injectivity": self.joint.value,
                "prompted-injectivity": self.prompted.value,
            },
            "norm": stack.norm,
            "tokens": region.input_length,
            "prompt_length": region.prompt_length,
            "layers": [
                {
                    "prompt_radius": decimal_above(layer.region.prompt_radius),
                    "input_radius": decimal_above(layer.region.input_radius),
                    "attention": decimal_above(layer.joint),
                    "attention_fixed_prompt": decimal_above(layer.input),
                    "mlp": decimal_above(layer.mlp),
                }
                for layer in stack.layers
            ],
            "fails": failed,
            "product": decimal_above(stack.product()),
            "argument": None if self.separation is None else self.separation.argument,
            "factor": None if self.separation is None else decimal_below(self.separation.factor),
            "reason": self.reason or None,
        }


def _bounds(stack: Stack) -> list[tuple[str, Certificate]]:
    """The constant of every layer's attention, all tokens varying."""
    return [
        (
            f"-layer{i}",
            attention_lipschitz.bound_certificate(layer, norms, constants.region, stack.norm, "joint"),
        )
        for i, (layer, norms, constants) in enumerate(zip(stack.model.layers, stack.norms, stack.layers, strict=True))
    ]


def _forgotten(stack: Stack) -> SameOutput | None:
    """Two inputs of the region with one output, where uniform attention shows them."""
    found = forgotten_inputs(stack.model, stack.region)
    return None if found is None else SameOutput.of(stack, *found)


def decimal_above(x: fmpq, digits: int = 6) -> str:
    """x ≥ 0 in decimals, rounded upwards.

    >>> decimal_above(fmpq(2, 3)), decimal_above(fmpq(5)), decimal_above(fmpq(1, 10**9))
    ('0.666667', '5', '1e-9')
    """
    return _decimal(x, digits, upwards=True)


def decimal_below(x: fmpq, digits: int = 6) -> str:
    """x ≥ 0 in decimals, rounded downwards."""
    return _decimal(x, digits, upwards=False)


def _decimal(x: fmpq, digits: int, *, upwards: bool) -> str:
    if x == 0:
        return "0"
    exponent = len(str(int(x.floor()))) if x >= 1 else -(len(str(int((1 / x).floor()))) - 1)
    scale = fmpq(10) ** abs(digits - exponent)
    scaled = x * scale if digits >= exponent else x / scale
    number = int(scaled.ceil() if upwards else scaled.floor())
    text = str(number).rstrip("0") or "0"
    power = exponent - digits + len(str(number)) - len(text)
    if 0 <= power <= 6:
        return text + "0" * power
    if -12 <= power < 0 and len(text) + 6 > -power:
        padded = text.rjust(1 - power, "0")
        return f"{padded[:power]}.{padded[power:]}"
    return f"{text}e{power}"


def _text(findings: _Findings, paths: list[tuple[Path, str]]) -> str:
    stack = findings.stack
    shown = Table(title=f"certified constants, norm {stack.norm}", title_justify="left")
    for name in ("layer", "prompt within", "input within", "attention", "with the prompt fixed", "MLP"):
        shown.add_column(name, justify="right")
    for i, layer in enumerate(findings.document()["layers"]):
        shown.add_row(str(i), *layer.values())
    lines = [rendered(shown), "attention-lipschitz: proved (the constants of the table)"]
    if findings.failed is None:
        factor = decimal_below(stack.injectivity())
        lines.append(f"joint-injectivity: proved (all outputs keep {factor} of the distance of all tokens)")
    else:
        i, part, constant = findings.failed
        found = decimal_above(constant)
        lines.append(f"joint-injectivity: undecided (layer {i}: the constant of its {part} is {found}, not below 1)")
    if findings.separation is not None:
        separated = findings.separation
        lines.append(
            f"prompted-injectivity: proved ({separated.argument}: whatever the prompt, the outputs at the input tokens "
            f"keep {decimal_below(separated.factor)} of the inputs' distance)"
        )
    elif findings.forgotten is not None:
        tokens = [", ".join(map(str, X.column(0))) for X in findings.forgotten.inputs[:2]]
        lines.append(f"prompted-injectivity: refuted (the inputs ({tokens[0]}) and ({tokens[1]}) have one output)")
    else:
        lines.append(f"prompted-injectivity: undecided ({findings.reason})")
    for path, sentence in paths:
        lines += [f"certificate: {path}", f"  kernel: {sentence}"]
    return "\n".join(lines)
