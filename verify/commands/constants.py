"""``promptcert constants``: what universality costs, by the textbook's choice of the grid and by ours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.table import Table

from constructions.documents import InputError
from constructions.universality.for_all import Constants, Size, TooLargeError, constants
from verify.commands.answer import Answer, Exit, OverLimitsError, add_common, positive_int, rational_option, rendered

MAX_DRAWN = 10**9


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("constants", help="sizes of the universal network: the textbook's choice and ours")
    add_sizes(parser)
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the constants around this accuracy (.svg or .png)"
    )
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


def add_sizes(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """d, m, L, p, ε: options of all commands about universality."""
    parser.add_argument("--d", type=positive_int, metavar="N", required=required, default=1, help="width")
    parser.add_argument("--m", type=positive_int, metavar="N", required=required, default=1, help="input tokens")
    parser.add_argument("--lipschitz", metavar="L", required=True, help="Lipschitz constant, a rational number")
    parser.add_argument("--p", metavar="P", required=True, help="exponent of the norm, a rational number of at least 1")
    parser.add_argument("--eps", metavar="E", required=True, help="accuracy, a rational number above 0")


def run(args: argparse.Namespace) -> Answer:
    L, p, epsilon = rational_option(args, "lipschitz"), rational_option(args, "p"), rational_option(args, "eps")
    plot: Path | None = args.plot
    if plot is not None and plot.suffix not in (".svg", ".png"):
        raise InputError(f"--plot: expected a file name that ends in .svg or .png, found {plot.name!r}")
    if plot is not None and max(L, epsilon) > MAX_DRAWN:
        raise InputError("--plot: expected a Lipschitz constant and an accuracy of at most 10^9")
    found = {}
    for name, textbook in (("ours", False), ("textbook", True)):
        try:
            found[name] = constants(args.d, args.m, L, p, epsilon, textbook=textbook)
        except TooLargeError as error:
            raise OverLimitsError(str(error)) from None
        except ValueError as error:
            raise InputError(str(error)) from None
    document: dict[str, Any] = {name: _document(value) for name, value in found.items()}
    text = _text(found)
    if plot is not None:
        from verify.commands.constants_plot import write_plot  # matplotlib takes a second to load

        write_plot(plot, args.d, args.m, L, p, epsilon)
        text += f"\nplot: {plot}"
    return Answer(Exit.AS_CLAIMED, {**document, "plot": None if plot is None else str(plot)}, text)


ROWS = (
    ("grid values k", "k"),
    ("prompt tokens", "prompt_length"),
    ("prompt parameters", "prompt_parameters"),
    ("attention layers", "attention_layers"),
    ("feed-forward layers", "feed_forward_layers"),
    ("network parameters", "network_parameters"),
    ("largest weight", "largest_weight"),
)


def _document(found: Constants) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for _, name in ROWS:
        size: Size = getattr(found, name)
        written = size.exact is not None and size.exact.bit_length() < 14_000
        result[name] = {"exact": str(size.exact) if written else None, "log10": size.log10}
    return {**result, "bits": found.bits}


def _text(found: dict[str, Constants]) -> str:
    table = Table(title="the universal softmax network", title_justify="left")
    table.add_column("")
    for name in found:
        table.add_column(name, justify="right")
    for title, name in ROWS:
        table.add_row(title, *[str(getattr(each, name)) for each in found.values()])
    table.add_row("bits of the largest", *[str(each.bits) for each in found.values()])
    return rendered(table)
