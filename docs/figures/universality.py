"""The figure of docs/one-network-for-all.md: a function, its table, the softmax network's output, the band of ε."""

from math import sin
from pathlib import Path

from flint import fmpq

from constructions.universality.for_all import budget
from verify.report.figures.style import styled, write_svg
from verify.report.figures.universality import draw


def main() -> None:
    found = budget(1, 1, fmpq(3, 2), fmpq(2), fmpq(1, 10))
    with styled():
        figure = draw(found, "(1+sin(3*x))/2", lambda x: (1 + sin(3 * x)) / 2)
        write_svg(Path(__file__).parent / "universality.svg", figure)


if __name__ == "__main__":
    main()
