"""The universal networks run: every table and cell at small sizes, implicit against explicit evaluation, growth.

    PYTHONPATH=. python benchmarks/universality.py [--sample N] [--large] [--only exact|balls|ratios|growth]

1. For each size (d, m, k) every prompt table and every cell (or a seeded sample): all layers of the hardmax network in
   exact rationals, the layers that act (implicit), and the closed form give the table's value.
2. The softmax network in balls, layer by layer, on every context of small sizes: within the certified distance of the
   table's value; at random inputs, on ramps too, within the total bound.
3. One evaluation several ways, in one run: the hardmax network in flint's rationals against fractions.Fraction and
   against the implicit evaluation; the softmax network in flint's balls against mpmath.iv (whose exp is not rigorous:
   for its speed only) and against the implicit evaluation.
4. The implicit evaluation at growing k, far beyond what could be written out.

``--large`` adds 10,000 tables of (1, 1, 7) to the first part; ``--only PART`` runs one part.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, product
from typing import Any

import flint
from flint import arb, fmpq
from mpmath import iv
from plain_evaluation import PlainLayer, Rows, converted, fraction, interval, overlap

from constructions.numbers.balls import BallMatrix
from constructions.numbers.rational import RationalMatrix
from constructions.universality.families import run_hardmax, run_softmax
from constructions.universality.for_all import Size, budget
from constructions.universality.grid import Digits, Grid
from constructions.universality.hardmax_network import HardmaxNetwork
from constructions.universality.softmax_network import SoftmaxNetwork

EXHAUSTIVE = ((1, 1, 2), (1, 1, 3), (1, 1, 4), (2, 1, 2), (1, 2, 2))


def tables(grid: Grid, sample: int | None, rng: random.Random) -> Iterator[list[Digits]]:
    """All tables, or a sample."""
    size = grid.d * grid.m
    if sample is None:
        for flat in product(range(grid.k), repeat=size * grid.cells):
            yield [block(grid, flat[i * size : (i + 1) * size]) for i in range(grid.cells)]
    else:
        for _ in range(sample):
            yield [block(grid, tuple(rng.randrange(grid.k) for _ in range(size))) for _ in range(grid.cells)]


def block(grid: Grid, flat: tuple[int, ...]) -> Digits:
    return tuple(tuple(flat[j * grid.d + i] for j in range(grid.m)) for i in range(grid.d))


def inside(grid: Grid, cell: Digits, rng: random.Random, most: fmpq) -> RationalMatrix:
    """A point of the cell, its distance from the lower corner at most ``most`` δ."""
    return RationalMatrix.of([[(a + most * fmpq(rng.randrange(1000), 1000)) * grid.delta for a in row] for row in cell])


def exact(sizes: tuple[tuple[int, int, int], ...], sample: int | None, explicit: bool) -> None:
    for d, m, k in sizes:
        grid, rng = Grid(d, m, k), random.Random(f"{d}/{m}/{k}")
        network = HardmaxNetwork.of(grid)
        model = network.transformer() if explicit else None
        start, count, whole = time.perf_counter(), 0, 0.0
        for table in tables(grid, sample, rng):
            P = grid.prompt(table)
            for cell in grid.all_cells():
                X = inside(grid, cell, rng, fmpq(1))
                wanted = grid.target(table, cell)
                if run_hardmax(network, P, X) != wanted or network.evaluate(P, X) != wanted:
                    raise SystemExit(f"{(d, m, k)}: implicit evaluation differs at {table}, {X}")
                if model is not None:
                    begin = time.perf_counter()
                    if model.with_prompt(P, X) != wanted:
                        raise SystemExit(f"{(d, m, k)}: the layers differ at {table}, {X}")
                    whole += time.perf_counter() - begin
                count += 1
        seconds = time.perf_counter() - start - whole
        ratio = f"{whole / seconds:8.1f}x" if whole else "        -"
        all_layers = f"{1e3 * whole / count:8.2f} ms" if whole else "    not run"
        print(
            f"{(d, m, k)!s:>12}{count:>9} inputs, layers {Size.of(network.layer_count)!s:>10}: equal;  all layers "
            f"{all_layers}, implicit twice {1e3 * seconds / count:7.2f} ms {ratio}"
        )


CONTEXTS = {(1, 1, 2): None, (1, 1, 3): None, (2, 1, 2): 10, (1, 2, 2): 1}
"""Tables of each size for the softmax network: None for all, and then all cells; of one table, one cell."""


def balls() -> None:
    for (d, m, k), sample in CONTEXTS.items():
        found = budget(d, m, fmpq(1), fmpq(1), fmpq(d * m), k=k)
        network, rng = SoftmaxNetwork(found), random.Random(0)
        grid = found.grid
        worst, count, start = arb(0), 0, time.perf_counter()
        for table in tables(grid, sample, rng):
            for cell in islice(grid.all_cells(), 1 if sample == 1 else None):
                X = inside(grid, cell, rng, fmpq(1, 2))
                enclosure = network.enclosure(network.prompt(table), X)
                wanted = grid.target(table, cell)
                for i in range(d):
                    for j in range(m):
                        distance = abs(enclosure[i, j] - arb(wanted[i, j])).abs_upper()
                        worst = worst.max(distance)
                count += 1
        if not worst <= arb(found.epsilon_s):
            raise SystemExit(f"{(d, m, k)}: {worst} exceeds ε_s")
        seconds = (time.perf_counter() - start) / count
        print(
            f"{(d, m, k)!s:>12}{count:>9} contexts in balls, all layers: largest distance {float(worst):.3g}, "
            f"certified {float(found.epsilon_s):.3g}; {1e3 * seconds:.1f} ms each"
        )


def timed(run: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """The result, and the shortest time of several runs."""
    best = float("inf")
    result = None
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        best = min(best, time.perf_counter() - start)
    return result, best


def line(kind: str, size: tuple[int, int, int], layers: int, ours: float, other: float, implicit: float) -> None:
    print(
        f"{kind:>9}{size!s:>11}{layers:>8}{1e3 * ours:>12.2f}{1e3 * other:>14.2f}{other / ours:>9.1f}x"
        f"{1e3 * implicit:>12.2f}{ours / implicit:>9.1f}x"
    )


def ratios() -> None:
    """Weights are converted to fractions and intervals before the clock starts, into balls while it runs."""
    print(
        f"{'':>9}{'size':>11}{'layers':>8}{'flint, ms':>12}{'other, ms':>14}{'ratio':>10}{'implicit':>12}{'ratio':>10}"
    )
    for size, repeats in (((1, 1, 2), 20), ((1, 1, 3), 10), ((2, 1, 2), 3), ((1, 1, 4), 3), ((1, 2, 2), 1)):
        grid, rng = Grid(*size), random.Random(str(size))
        network = HardmaxNetwork.of(grid)
        model = network.transformer()
        (table,) = tables(grid, 1, rng)
        P, X = grid.prompt(table), inside(grid, next(grid.all_cells()), rng, fmpq(1))
        ours, seconds = timed(partial(model.with_prompt, P, X), repeats)
        fractions = [PlainLayer(layer, fraction) for layer in model.layers]
        Z = converted(RationalMatrix(P.hstack(X).mat + grid.embedding().mat), fraction)
        theirs, plain = timed(partial(through, fractions, Z), repeats)
        found, implicit = timed(partial(run_hardmax, network, P, X), repeats)
        if not ours == found == grid.target(table, grid.cell_of(X)) or read(theirs, grid) != converted(ours, fraction):
            raise SystemExit(f"{size}: the ways differ")
        line("hardmax", size, len(fractions), seconds, plain, implicit)
    for size, repeats in (((1, 1, 2), 10), ((1, 1, 3), 3), ((2, 1, 2), 1)):
        budgeted = budget(size[0], size[1], fmpq(1), fmpq(1), fmpq(size[0] * size[1]), k=size[2])
        soft, grid, rng = SoftmaxNetwork(budgeted), budgeted.grid, random.Random(str(size))
        (table,) = tables(grid, 1, rng)
        P, X = soft.prompt(table), inside(grid, next(grid.all_cells()), rng, fmpq(1, 2))
        model = soft.transformer()
        start = RationalMatrix(P.hstack(X).mat + grid.embedding().mat)
        iv.prec = bits = soft.working_precision
        with flint.ctx.workprec(bits):
            ours, seconds = timed(lambda: through(model.layers, BallMatrix.embed(start)), repeats)  # noqa: B023
            intervals = [PlainLayer(layer, interval) for layer in model.layers]
            theirs, plain = timed(partial(through, intervals, converted(start, interval)), repeats)
            last = grid.tokens - grid.m
            pairs = [(theirs[i][last + j], ours[i, last + j]) for i in range(grid.d) for j in range(grid.m)]
        if not all(overlap(x, ball) for x, ball in pairs):
            raise SystemExit(f"{size}: intervals and balls do not meet")
        found, implicit = timed(partial(run_softmax, soft, P, X), repeats)
        line("softmax", size, len(intervals), seconds, plain, implicit)


def through(layers: Sequence[Callable[[Any], Any]], Z: Any) -> Any:
    for layer in layers:
        Z = layer(Z)
    return Z


def read(Z: Rows, grid: Grid) -> Rows:
    return [row[grid.prompt_length :] for row in Z]


def growth() -> None:
    print(f"{'eps':>8}{'k = m_p':>9}{'n':>6}{'layers':>14}{'implicit':>12}{'radius':>11}")
    for denominator in (10, 20, 50, 100, 200, 400):
        found = budget(1, 1, fmpq(1), fmpq(2), fmpq(1, denominator))
        network, grid = SoftmaxNetwork(found), found.grid
        rng = random.Random(0)
        table = [((rng.randrange(grid.k),),) for _ in range(grid.k)]
        start = time.perf_counter()
        enclosure = run_softmax(network, network.prompt(table), RationalMatrix.of([["1/3"]]))
        seconds = time.perf_counter() - start
        layers = str(Size.of(HardmaxNetwork.of(grid, found.G).layer_count))
        radius = float(enclosure[0, 0].rad())
        print(f"{'1/' + str(denominator):>8}{grid.k:>9}{grid.tokens:>6}{layers:>14}{seconds:>10.3f} s{radius:>11.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=None, help="tables for each size (default: all)")
    parser.add_argument("--large", action="store_true", help="(1, 1, 7) by 10,000 tables as well")
    parser.add_argument("--only", choices=("exact", "balls", "ratios", "growth"), help="one part")
    args = parser.parse_args()
    if args.only in (None, "exact"):
        exact(EXHAUSTIVE, args.sample, explicit=True)
        if args.large:
            exact(((1, 1, 7),), 10_000, explicit=False)
    for name, part in (("balls", balls), ("ratios", ratios), ("growth", growth)):
        if args.only in (None, name):
            part()


if __name__ == "__main__":
    main()
