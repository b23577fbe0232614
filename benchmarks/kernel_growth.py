"""How the kernel's time grows with the width: unmemorizable-pair certificates for random one-head layers.

    PYTHONPATH=. python benchmarks/kernel_growth.py [--widths 2 4 8 16 32 64] [--repetitions 3] [--hidden-factor 1]

For each width d a random layer with one head of size d is made, without an MLP and with a contractive one of d hidden
units (times --hidden-factor), a pair for it (constructions.single_layer.pair), and its certificate. Printed are the time
to make the pair and the certificate, the size of the file, the time of the kernel process (median; with the start of
Python, printed once), and at the end the growth exponents in d: the slope of log time over log d, fitted over the upper
half of the widths with the start of Python taken off.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from constructions.single_layer.pair import NoPairError, UnmemorizablePair, unmemorizable_pair
from verify.claims.unmemorizable_pair import certificate
from verify.instances import random_layer
from verify.kernel_process import KERNEL


def made(d: int, hidden: int) -> UnmemorizablePair:
    """A pair for the first random layer that has one."""
    rng = random.Random(f"{d}/{hidden}")
    while True:
        try:
            return unmemorizable_pair(random_layer(rng, d, r=hidden, contractive=True))
        except NoPairError:
            continue


def kernel_seconds(path: Path | None, repetitions: int) -> float:
    """Median time of the kernel's process on one file (its own hash where there is none: the start of Python)."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        argument = "--hash" if path is None else str(path)
        run = subprocess.run([sys.executable, "-I", str(KERNEL), argument], capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - start)
        if run.returncode != 0:
            raise SystemExit(f"the kernel did not accept its certificate: {run.stdout}{run.stderr}")
    return statistics.median(times)


def exponent(points: list[tuple[int, float]]) -> float:
    """The slope of log y over log d by least squares, over the upper half of the widths."""
    upper = [(math.log(d), math.log(max(y, 1e-6))) for d, y in points[len(points) // 2 :]]
    if len(upper) < 2:
        return math.nan
    x_0, y_0 = (statistics.mean(column) for column in zip(*upper, strict=True))
    return sum((x - x_0) * (y - y_0) for x, y in upper) / sum((x - x_0) ** 2 for x, _ in upper)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--hidden-factor", type=int, default=1)
    args = parser.parse_args()
    start_up = kernel_seconds(None, max(5, args.repetitions))
    print(f"kernel process without a certificate: {1e3 * start_up:.0f} ms; medians of {args.repetitions}")
    print(f"{'d':>4} {'hidden':>6} {'pair':>10} {'certificate':>12} {'file':>11} {'kernel':>10}")
    for factor in (0, args.hidden_factor):
        sizes: list[tuple[int, float]] = []
        seconds: list[tuple[int, float]] = []
        making: list[tuple[int, float]] = []
        for d in args.widths:
            start = time.perf_counter()
            pair = made(d, factor * d)
            pair_time = time.perf_counter() - start
            start = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "pair.json"
                certificate(pair.model, pair.proof).write(path)
                certificate_time = time.perf_counter() - start
                size = path.stat().st_size
                kernel = kernel_seconds(path, args.repetitions)
            print(
                f"{d:>4} {factor * d:>6} {pair_time:>8.3f} s {certificate_time:>10.3f} s {size / 1024:>7.1f} KiB"
                f" {1e3 * kernel:>7.0f} ms",
                flush=True,
            )
            sizes.append((d, size))
            seconds.append((d, kernel - start_up))
            making.append((d, pair_time))
        kind = "with a contractive MLP" if factor else "without an MLP"
        print(
            f"growth {kind}: kernel d^{exponent(seconds):.1f}, file d^{exponent(sizes):.1f}, pair d^{exponent(making):.1f}"
        )


if __name__ == "__main__":
    main()
