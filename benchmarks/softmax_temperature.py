"""How much of the inverse temperature in the for-all certificate of universality is needed.

    PYTHONPATH=. python benchmarks/softmax_temperature.py [--accuracies 1/10 1/100 …] [--sizes 1,1,2 1,1,3]

For each size (d, m, k) and each share ε_s: the least whole t for which the certificate's inequality holds, and the
least t (to three digits) at which the sweep of the actual softmax network, enclosed in balls, leaves the id of the last
column within min(δ/4, ε_s) of the ideal one for every context, with their ratio; and the largest error at half the
certificate's t. m = 1 throughout: no global shift.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import flint
from flint import arb, fmpq

from constructions.numbers.balls import BallMatrix
from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix
from constructions.universality.for_all import Budget, budget
from constructions.universality.softmax_network import SoftmaxNetwork

BITS = 2048  # each lift multiplies the balls' radii by about t times the ids


def with_share(found: Budget, epsilon_s: fmpq, t: fmpq) -> Budget:
    """The same grid with another share ε_s and inverse temperature; ε grows where it has to."""
    total = found.quantisation + epsilon_s * found.root_m + found.epsilon_r
    return replace(found, epsilon_s=epsilon_s, t=t, epsilon=max(total, found.epsilon))


def least_certified(found: Budget, epsilon_s: fmpq) -> int:
    """The least whole t for which the inequality holds; it is monotone in t from 2 k² on."""
    low, high = 0, 1
    while not with_share(found, epsilon_s, fmpq(high)).holds():
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if with_share(found, epsilon_s, fmpq(middle)).holds():
            high = middle
        else:
            low = middle
    return high


def last_id_error(found: Budget, codes: tuple[int, ...], t: fmpq) -> arb:
    """How far the last column's id is from the ideal one after the sweep, in balls."""
    network = SoftmaxNetwork(replace(found, t=t))
    grid, ideal = found.grid, network.ideal
    columns = [[j + (a // grid.k**i % grid.k) * grid.delta for i in range(grid.d)] for j, a in enumerate(codes)]
    with flint.ctx.workprec(BITS):
        Z: Matrix = BallMatrix.embed(RationalMatrix.of_columns(columns))
        for layer in network.attention_stages():
            Z = layer(Z)
        last = sum((grid.u[i] * Z[i, grid.tokens - 1] for i in range(grid.d)), arb(0))
        return abs(last - ideal.map.swept(codes)[-1])


def largest_error(found: Budget, t: fmpq) -> arb:
    """Over all contexts."""
    worst = arb(0)
    for codes in SoftmaxNetwork(found).ideal.map.contexts():
        worst = max(worst, last_id_error(found, codes, t), key=lambda x: float(x.upper()))
    return worst


def least_working(found: Budget, epsilon_s: fmpq) -> float:
    """The least t with all errors within min(δ/4, ε_s), by bisection to three digits."""
    room = min(found.grid.delta / 4, epsilon_s)

    def works(t: fmpq) -> bool:
        return bool(largest_error(found, t) <= room)

    high = fmpq(1)
    while not works(high):
        high *= 2
    low = high / 2
    while high - low > high / 1000:
        middle = (low + high) / 2
        if works(middle):
            high = middle
        else:
            low = middle
    return float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--accuracies", nargs="+", default=["1/8", "1/100", "1/200", "1/1000", "1/1000000", "1/1000000000000"]
    )
    parser.add_argument("--sizes", nargs="+", default=["1,1,2", "1,1,3"])
    args = parser.parse_args()
    print(
        f"{'d,m,k':>6} {'ε_s':>14} {'certified t':>12} {'working t':>10} {'ratio':>6}   error at half the certified t"
    )
    for size in args.sizes:
        d, m, k = (int(x) for x in size.split(","))
        found = budget(d, m, fmpq(1), fmpq(1), fmpq(2), k=k)
        for text in args.accuracies:
            top, _, bottom = text.partition("/")
            epsilon_s = fmpq(int(top), int(bottom or 1))
            certified = least_certified(found, epsilon_s)
            working = least_working(found, epsilon_s)
            half = largest_error(found, fmpq(certified, 2))
            verdict = "above ε_s" if half > epsilon_s else "within ε_s"
            print(
                f"{size:>6} {text:>14} {certified:>12} {working:>10.1f} {working / certified:>6.2f}   "
                f"{float(half.upper()):.2e} ({verdict})",
                flush=True,
            )


if __name__ == "__main__":
    main()
