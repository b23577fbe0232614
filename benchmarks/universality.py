"""The universal networks run: every table and cell at small sizes, implicit against explicit evaluation, growth.

    PYTHONPATH=. python benchmarks/universality.py [--sample N] [--large]

1. For each size (d, m, k) every prompt table and every cell (or a seeded sample): all layers of the hardmax network in
   exact rationals, the layers that act (implicit), and the closed form give the table's value.
2. The softmax network in balls, layer by layer, on every context of small sizes: within the certified distance of the
   table's value; at random inputs, on ramps too, within the total bound.
3. Seconds of one evaluation: all layers, implicit, in rationals and in balls; implicit at growing k, far beyond what
   could be written out.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from itertools import product

from flint import arb, fmpq

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
        print(
            f"{(d, m, k)!s:>12}{count:>9} inputs, layers {Size.of(network.layer_count)!s:>10}: equal;  all layers "
            f"{1e3 * whole / count:8.2f} ms, implicit twice {1e3 * seconds / count:7.2f} ms {ratio}"
        )


def balls() -> None:
    for d, m, k in ((1, 1, 2), (1, 1, 3), (2, 1, 2)):
        found = budget(d, m, fmpq(1), fmpq(1), fmpq(d * m), k=k)
        network, rng = SoftmaxNetwork(found), random.Random(0)
        grid = found.grid
        worst, count, start = arb(0), 0, time.perf_counter()
        for table in tables(grid, None if (d, m, k) != (2, 1, 2) else 10, rng):
            for cell in grid.all_cells():
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
    args = parser.parse_args()
    exact(EXHAUSTIVE, args.sample, explicit=True)
    if args.large:
        exact(((1, 1, 7),), 10_000, explicit=False)
    balls()
    growth()


if __name__ == "__main__":
    main()
