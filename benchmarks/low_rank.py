"""The exact low-rank solve with rational features against sympy, and against numpy with iterative refinement.

    PYTHONPATH=. python benchmarks/low_rank.py [--sizes 8 16 32 64] [--repeats N] [--cap S]

n examples of width d = n with equal scores, so that all features are rational; integer weights. `ours` updates W_1 and
b_1, solves for n columns of W_2 in rationals (flint) and says every output exactly. sympy solves the same triangular
system with its DomainMatrix over QQ (its fastest rational solver; `Matrix.LUsolve` only at the sizes where it ends
within the cap). numpy solves in floats and refines with residuals in rationals until the certified residual is below
2^-200: the same work as our rounding, without an exact answer at the end.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import numpy as np
import sympy
from flint import fmpq, fmpq_mat
from sympy.polys.domains import QQ
from sympy.polys.matrices import DomainMatrix

from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.low_rank import solve_rational, triangular_update
from verify.claims.low_rank_memorization import equal_scores


def timed(action: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def refined(A: RationalMatrix, B: RationalMatrix, bits: int = 200) -> int:
    """X with A X ≈ B by float solves and exact residuals: the number of rounds until all are below 2^-bits."""
    scale = [max(abs(x) for x in row) for row in A.rows()]
    rows = RationalMatrix.of([[x / s for x in row] for row, s in zip(A.rows(), scale, strict=True)])
    right = RationalMatrix.of([[x / s for x in row] for row, s in zip(B.rows(), scale, strict=True)])
    floats = np.array([[float(x) for x in row] for row in rows.rows()])
    inverse = np.linalg.inv(floats)
    n, columns = right.shape
    X = RationalMatrix.zeros(n, columns)
    for rounds in range(1, 400):
        rest = RationalMatrix(right.mat - rows.mat * X.mat)
        largest = max(abs(x) for x in rest.mat.entries())
        if largest < fmpq(1, 2**bits):
            return rounds
        shift = fmpq(2) ** max(0, -(largest.p.bit_length() - largest.q.bit_length()))
        step = inverse @ np.array([[float(x * shift) for x in row] for row in rest.rows()])
        power = fmpq(2) ** (bits + 80)
        moved = [
            [_added(x, s, shift, power) for x, s in zip(before, change, strict=True)]
            for before, change in zip(X.rows(), step.tolist(), strict=True)
        ]
        X = RationalMatrix.of(moved)
    raise SystemExit("refinement does not converge")


def _added(x: fmpq, step: float, shift: fmpq, power: fmpq) -> fmpq:
    """x + step/shift, rounded down to a multiple of 1/power."""
    return fmpq(((x + fmpq(*step.as_integer_ratio()) / shift) * power).floor()) / power


def system(n: int) -> tuple[RationalMatrix, RationalMatrix, Callable[[], object]]:
    """The square system that is solved (values of the neurons at the queries, targets less the rest), and our way."""
    model, data = equal_scores(n, n, 0)
    queries = list(data.queries(model))
    update = triangular_update(model.layers[0], queries)
    points = [f for feature in update.features if (f := feature.as_rational()) is not None]
    F = RationalMatrix.of_columns(points)
    ones = RationalMatrix.of([[1] * n])
    values = RationalMatrix(update.W_1.times(F).mat + update.b_1.times(ones).mat).relu()
    asked = RationalMatrix.of_columns([list(query.target) for query in queries])
    rest = RationalMatrix(asked.mat - F.mat - model.layers[0].mlp.b_2.times(ones).mat)
    return values.T, rest.T, lambda: solve_rational(update, queries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cap", type=float, default=60.0)
    args = parser.parse_args()
    columns = ("ours", "solve", "sympy DM", "ratio", "LUsolve", "ratio", "refined", "ratio")
    print(f"{'n = d':>6}" + "".join(f"{name:>11}" for name in columns))
    slow = False
    for n in args.sizes:
        A, B, ours = system(n)
        whole = timed(ours, args.repeats)
        solve = timed(lambda A=A, B=B: fmpq_mat(A.mat).solve(fmpq_mat(B.mat)), args.repeats)

        def domain(M: RationalMatrix) -> DomainMatrix:
            return DomainMatrix([[QQ(int(x.p), int(x.q)) for x in row] for row in M.rows()], M.shape, QQ)

        left, right = domain(A), domain(B)
        dm = timed(lambda left=left, right=right: left.lu_solve(right), 1)
        lu = "-"
        lu_ratio = "-"
        if not slow:
            L = sympy.Matrix([[sympy.Rational(int(x.p), int(x.q)) for x in row] for row in A.rows()])
            R = sympy.Matrix([[sympy.Rational(int(x.p), int(x.q)) for x in row] for row in B.rows()])
            seconds = timed(lambda L=L, R=R: L.LUsolve(R), 1)
            lu, lu_ratio = f"{1e3 * seconds:.0f} ms", f"{seconds / solve:.0f}x"
            slow = seconds * 8 > args.cap
        refining = timed(lambda A=A, B=B: refined(A, B), 1)
        cells = [f"{1e3 * whole:.1f} ms", f"{1e3 * solve:.1f} ms", f"{1e3 * dm:.1f} ms", f"{dm / solve:.1f}x"]
        cells += [lu, lu_ratio, f"{1e3 * refining:.0f} ms", f"{refining / whole:.1f}x"]
        print(f"{n:>6}" + "".join(f"{cell:>11}" for cell in cells))


if __name__ == "__main__":
    random.seed(0)
    main()
