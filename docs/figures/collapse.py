"""The figure of docs/invertible-is-not-injective.md: three inputs and one prompt, step by step."""

from pathlib import Path

from constructions.depth.collapse import collapse
from verify.report.figures.collapse import draw
from verify.report.figures.style import styled, write_svg


def main() -> None:
    with styled():
        write_svg(Path(__file__).parent / "collapse.svg", draw(collapse()))


if __name__ == "__main__":
    main()
