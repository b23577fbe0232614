"""How the kernel's time grows with the width: unmemorizable-pair certificates for random one-head layers.

    PYTHONPATH=. python benchmarks/kernel_growth.py [--widths 2 4 … 512] [--repetitions 3] [--hidden-factor 1]

For each width d a random layer with one head of size d is made, without an MLP and with a contractive one of d hidden
units (times --hidden-factor), a pair for it (constructions.single_layer.pair), and its certificate. Printed are the
time to make the pair and to write the certificate, the size of the file, and the processor time of the kernel (median),
with the start of Python, which is measured too and printed first.

At the end stand the growth exponents in d: the slope of log y over log d by least squares. The start of Python is taken
off the kernel's time, and only widths where at least as much remains enter the fit, since the rest is noise; fewer than
three of them give no exponent.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
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


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def kernel_seconds(path: Path | None, repetitions: int) -> float:
    """Median processor time of the kernel on one file (its own hash where there is none: the start of Python)."""
    times = []
    for _ in range(repetitions):
        before = processor_seconds()
        argument = "--hash" if path is None else str(path)
        run = subprocess.run([sys.executable, "-I", str(KERNEL), argument], capture_output=True, text=True, check=False)
        times.append(processor_seconds() - before)
        if run.returncode != 0:
            raise SystemExit(f"the kernel did not accept its certificate: {run.stdout}{run.stderr}")
    return statistics.median(times)


def exponent(points: list[tuple[int, float]]) -> str:
    """The slope of log y over log d by least squares."""
    if len(points) < 3:
        return "(too few widths above the start of Python to fit)"
    logs = [(math.log(d), math.log(y)) for d, y in points]
    x_0, y_0 = (statistics.mean(column) for column in zip(*logs, strict=True))
    slope = sum((x - x_0) * (y - y_0) for x, y in logs) / sum((x - x_0) ** 2 for x, _ in logs)
    return f"d^{slope:.1f} over d = {points[0][0]}..{points[-1][0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64, 128, 256, 512])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--hidden-factor", type=int, default=1)
    args = parser.parse_args()
    start_up = kernel_seconds(None, max(9, args.repetitions))
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
            seconds.append((d, kernel))
            making.append((d, pair_time))
        print("with a contractive MLP:" if factor else "without an MLP:")
        print(f"  kernel {exponent([(d, y - start_up) for d, y in seconds if y >= 2 * start_up])}")
        for name, points in (("file", sizes), ("pair", making)):
            print(f"  {name:>6} {exponent(points[len(points) // 2 :])}")


if __name__ == "__main__":
    main()
