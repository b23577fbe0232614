"""Exact linear feasibility: ours against z3, in one run on one machine.

    PYTHONPATH=. python benchmarks/exact_feasibility.py [INSTANCES]

Random dense systems G x <= h with entries of G in -9..9; feasible ones are built around a point,
infeasible ones around a hidden combination of the rows. Prints the median of INSTANCES (default 3)
for each shape, and the ratio of the medians. z3 gets Real variables in QF_LRA, and its time is that
of ``check`` alone; ours is that of the whole call, with the exact check of the answer.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
import z3  # type: ignore[import-untyped]  # has no annotations
from flint import fmpq, fmpq_mat, fmpz_mat

from constructions.numbers.linear import Feasible, feasible

SHAPES = ((20, 10), (60, 30))
CAP = 120  # seconds allowed to z3 for one instance; a capped time enters the median as it is


def system(rng: np.random.Generator, g: int, n: int, solvable: bool) -> tuple[fmpq_mat, list[fmpq]]:
    """A system of g rows in n unknowns that has a solution or, where ``solvable`` is false, none."""
    G = rng.integers(-9, 10, (g, n))
    h = G @ rng.integers(-5, 6, n) + rng.integers(0, 4, g)
    if not solvable:  # replace the last row by minus a combination of n others, and ask for more
        weights = rng.integers(0, 3, n)
        G[-1] = -(weights @ G[:n])
        h[-1] = -int(weights @ h[:n]) - 1
    return fmpq_mat(fmpz_mat(G.tolist())), [fmpq(int(v)) for v in h]


def ours(G: fmpq_mat, h: list[fmpq]) -> tuple[float, bool]:
    start = time.perf_counter()
    found = feasible(G, h)
    return time.perf_counter() - start, isinstance(found, Feasible)


def theirs(G: fmpq_mat, h: list[fmpq]) -> tuple[float, bool | None]:
    solver = z3.SolverFor("QF_LRA")
    solver.set("timeout", 1000 * CAP)
    x = [z3.Real(f"x{j}") for j in range(G.ncols())]
    for row, bound in zip(G.tolist(), h, strict=True):
        solver.add(z3.Sum([int(v.p) * w for v, w in zip(row, x, strict=True)]) <= int(bound.p))
    start = time.perf_counter()
    answer = solver.check()
    seconds = time.perf_counter() - start
    return seconds, None if answer == z3.unknown else answer == z3.sat


def main(instances: int) -> None:
    ours(*system(np.random.default_rng(0), 5, 3, True))  # the first call builds the float solver
    print(f"{'shape':>8} {'system':>11} {'ours':>12} {'z3':>12} {'z3 / ours':>10}")
    for g, n in SHAPES:
        for solvable in (True, False):
            rng = np.random.default_rng(1000 * g + solvable)
            times: list[tuple[float, float]] = []
            for _ in range(instances):
                G, h = system(rng, g, n, solvable)
                (mine, answer), (other, oracle) = ours(G, h), theirs(G, h)
                if answer != solvable or oracle not in (solvable, None):
                    raise SystemExit(f"{g} x {n}: expected {solvable}, ours {answer}, z3 {oracle}")
                times.append((mine, other))
            mine, other = (statistics.median(column) for column in zip(*times, strict=True))
            name = "feasible" if solvable else "infeasible"
            mark = f"(capped at {CAP} s)" if other >= CAP else ""
            print(
                f"{g:>4}x{n:<3} {name:>11} {1e3 * mine:>9.2f} ms {1e3 * other:>9.1f} ms {other / mine:>9.0f}x {mark}",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
