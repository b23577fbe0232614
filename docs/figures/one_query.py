"""The figure of docs/what-a-prompt-can-do.md: exact curve, certified floor, gradient descent."""

from pathlib import Path

from constructions.files import read_data, read_model
from verify.claims.prompt_law import problem_of
from verify.report.figures.loss_curve import LENGTHS, draw
from verify.report.figures.style import styled, write_svg
from verify.search import adversary

HERE = Path(__file__).parent


def main() -> None:
    examples = HERE.parent / "examples"
    problem = problem_of(read_model(examples / "layer.json"), read_data(examples / "pair.json"))
    attention = problem.attention_only()
    attempts = [
        (length, adversary(*attention, lengths=[length], restarts=1, seed=restart, max_iterations=60).loss)
        for restart in range(6)
        for length in LENGTHS
    ]
    with styled():
        figure = draw(problem, attempts=attempts, attempt="gradient descent, 60 steps")
        write_svg(HERE / "one-query.svg", figure)


if __name__ == "__main__":
    main()
