"""The certified loss curve against gradient descent, its growth with n and d, and the decision against z3.

    PYTHONPATH=. python benchmarks/loss_curve.py [--examples N] [--width D] [--restarts R] [--seed S]

Three tables:

1. One instance of N examples (200) and width D (64): certified lower and upper bounds at prompt lengths 1, 2, 4, …, 256
   and any, and at some of these lengths L-BFGS with exact gradients (all queries at once, in numpy) from up to R starts
   until it is within 1e-6 of the certified optimum. Descent certifies nothing, and has no answer for any length; its
   time stands beside that of one further point of the curve.
2. Seconds for three lengths, as n and d grow.
3. The decision at width 16: ours is exact (equations and length); z3 gets what it can express, the linear equations in
   s and s·u over exponentials that are real variables in rational intervals, without the prompt law.
"""

from __future__ import annotations

import argparse
import random
import time

import flint
import z3  # type: ignore[import-untyped]  # has no annotations
from flint import arb, fmpq
from prompt_law_campaign import CLOSE, SharedQueryLoss, descend

from constructions.data import Dataset, Example
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix, dot
from constructions.single_layer.curve import loss_curve
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.one_query import decide_one_query
from constructions.single_layer.preimage import preimage
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer

LENGTHS: list[int | None] = [*(2**k for k in range(9)), None]
DESCENDED = (1, 4, 16, 64)
CAP = 60.0  # seconds allowed to z3


def matrix(rng: random.Random, rows: int, columns: int, scale: float = 1.0) -> RationalMatrix:
    return RationalMatrix.of(
        [[fmpq(round(rng.gauss(0, scale) * 256), 256) for _ in range(columns)] for _ in range(rows)]
    )


def problem_of(n: int, d: int, seed: int, tokens: int = 8) -> LossProblem:
    """Gaussian weights and contexts with denominator 256, one shared query token."""
    rng = random.Random(f"{n}/{d}/{seed}")
    head = Head(*(matrix(rng, d, d, d**-0.5) for _ in range(3)))
    token = matrix(rng, d, 1)
    examples = [Example(matrix(rng, d, tokens - 1).hstack(token), matrix(rng, d, 1)) for _ in range(n)]
    return shared(head, examples)


def shared(head: Head, examples: list[Example]) -> LossProblem:
    d = head.width
    layer = Layer(Attention((head,)), FeedForward.none(d))
    queries = list(Dataset(tuple(examples)).queries(Transformer((layer,))))
    return LossProblem.of(layer, queries, [preimage(layer.mlp, query.target) for query in queries])


def curve_table(n: int, d: int, restarts: int, seed: int) -> None:
    problem = problem_of(n, d, seed)
    fast = SharedQueryLoss(problem)
    print(f"certified curve, n = {n}, d = {d}; descent until within {CLOSE:g} of it, at most {restarts} starts")
    print(f"{'tokens':>7} {'lower bound':>20} {'gap':>9} {'ours':>9} {'descent':>10} {'reached':>9} {'ratio':>7}")
    last = start = time.perf_counter()
    ours = 0.0
    for bounds in loss_curve(problem, LENGTHS):
        seconds = time.perf_counter() - last
        ours += seconds
        lower, upper = float(bounds.lower), float(bounds.upper)
        tail = ""
        if bounds.length in DESCENDED:
            begin = time.perf_counter()
            found = descend(fast, bounds.length or 1, restarts, upper * (1 + CLOSE), seed)
            other = time.perf_counter() - begin
            distance = found.loss / upper - 1
            reached = "yes" if distance <= CLOSE else f"+{distance:.1e}"
            tail = f"{other:>8.2f} s {reached:>9} {other / seconds:>6.1f}x"
        name = "any" if bounds.length is None else str(bounds.length)
        print(f"{name:>7} {lower:>20.9f} {(upper - lower) / upper:>9.1e} {seconds:>7.2f} s {tail}", flush=True)
        last = time.perf_counter()
    print(f"the whole curve: {ours:.1f} s of {last - start:.1f} s (the first point includes the exact data)\n")


def growth_table(seed: int) -> None:
    print("seconds for the lengths 1, 16 and any")
    print(f"{'n':>5} {'d':>4} {'seconds':>9} {'parts':>7}")
    for n, d in ((25, 16), (50, 16), (100, 16), (200, 16), (400, 16), (50, 4), (50, 8), (50, 32), (50, 64)):
        problem = problem_of(n, d, seed)
        begin = time.perf_counter()
        parts = sum(len(cover.breakpoints) for bounds in loss_curve(problem, [1, 16, None]) for cover in bounds.covers)
        print(f"{n:>5} {d:>4} {time.perf_counter() - begin:>7.2f} s {parts:>7}", flush=True)
    print()


def solvable(n: int, d: int, seed: int) -> LossProblem:
    """Targets that one mass and one output meet exactly: contexts of one score, targets of a prompt of that score."""
    rng = random.Random(f"solvable/{n}/{d}/{seed}")
    while True:
        W_v = matrix(rng, d, d)
        if W_v.rank() == d:
            break
    q = matrix(rng, d, 1).column(0)
    square = dot(q, q)

    def across() -> list[fmpq]:
        v = matrix(rng, d, 1).column(0)
        return [x - dot(q, v) / square * y for x, y in zip(v, q, strict=True)]

    token, prompt = across(), across()
    identity, zero = RationalMatrix.identity(d), RationalMatrix.zeros(d, d)
    head = Head(zero, identity, W_v, identity, RationalMatrix.of_columns([q]))
    examples = []
    for _ in range(n):
        columns = [across() for _ in range(3)] + [token]
        mean = [(sum(row, fmpq(0)) + p) / 5 for row, p in zip(zip(*columns, strict=True), prompt, strict=True)]
        target = [x + y for x, y in zip(W_v.apply(mean), token, strict=True)]
        examples.append(Example(RationalMatrix.of_columns(columns), RationalMatrix.of_columns([target])))
    return shared(head, examples)


def by_z3(problem: LossProblem) -> tuple[str, float]:
    """The linear part of the question: v − s a_k = −C_k with every exponential a variable in an interval of width
    about 2^-60; the time of ``check`` alone."""
    solver = z3.SolverFor("QF_LRA")
    solver.set("timeout", int(1000 * CAP))
    d = len(problem.q)
    s, v = z3.Real("s"), [z3.Real(f"v{i}") for i in range(d)]
    solver.add(s > 0)
    exponentials: dict[str, z3.ArithRef] = {}

    def real(x: fmpq) -> z3.RatNumRef:
        return z3.Q(int(x.p), int(x.q))

    def exponential(score: fmpq) -> z3.ArithRef:
        name = f"e^{score}"
        if name not in exponentials:
            exponentials[name] = z3.Real(name)
            with flint.ctx.workprec(64):
                ball = arb(score).exp()
                solver.add(exponentials[name] >= real(midpoint(ball.lower())))
                solver.add(exponentials[name] <= real(midpoint(ball.upper())))
        return exponentials[name]

    for view, points in zip(problem.views, problem.shifted, strict=True):
        a = points[0]
        weights = [exponential(score) for score in view.scores]
        for i in range(d):
            C = z3.Sum([w * real(view.values[i, j] - a[i]) for j, w in enumerate(weights)])
            solver.add(v[i] - s * real(a[i]) + C == 0)
    begin = time.perf_counter()
    answer = solver.check()
    return str(answer), time.perf_counter() - begin


def decision_table(seed: int) -> None:
    print("decision at d = 16 against the linear part in z3 (QF_LRA); medians of 3")
    print(f"{'n':>4} {'data':>10} {'ours':>26} {'z3':>18} {'z3 / ours':>10}")
    for n in (2, 5, 10, 20):
        for name, make in (
            ("generic", lambda n, k: problem_of(n, 16, k)),
            ("solvable", lambda n, k: solvable(n, 16, k)),
        ):
            rows = []
            for k in range(3):
                problem = make(n, seed + k)
                begin = time.perf_counter()
                decision = decide_one_query(problem)
                mine = time.perf_counter() - begin
                said = f"{decision.possible.length} token" if decision.possible else decision.impossible[0].argument
                if decision.possible is not None and decision.possible.length > 1:
                    said += "s"
                rows.append((mine, said, *by_z3(problem)))
            rows.sort()
            mine, said, answer, other = rows[1]
            print(f"{n:>4} {name:>10} {said:>12} {1e3 * mine:>10.1f} ms {answer:>6} {1e3 * other:>8.1f} ms "
                  f"{other / mine:>9.1f}x", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    curve_table(args.examples, args.width, args.restarts, args.seed)
    growth_table(args.seed)
    decision_table(args.seed)


if __name__ == "__main__":
    main()
