"""Heads of a real size: making, deciding and checking an unmemorizable pair at d = 64, 256, 768.

    PYTHONPATH=. python benchmarks/real_width.py [--widths 64 256 768] [--decide 64 …] [--floor 64 …] [--check 64 256 …]

For each width three layers with one head: the head has size d, size 64, and size d with an MLP of d hidden units. The
weights are multiples of 1/1024 up to 1/8 in size, inputs of multiples of 1/64. Printed are processor seconds, and how
many times as long that is as one exact flint solve with a d×d matrix of such weights: to make a pair for the layer
(``pair``), to decide a dataset of two examples of four tokens that nobody made for the purpose (``decide``), to
certify its least loss over all prompts of at most 4 tokens (``floor``), and the kernel's time for the pair's
certificate (``kernel``), with the size of its file. At the end the exponents in d.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flint import fmpq
from kernel_growth import exponent

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.curve import loss_curve
from constructions.single_layer.decide import decide
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.pair import unmemorizable_pair
from constructions.single_layer.preimage import preimage
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from verify.claims.unmemorizable_pair import certificate
from verify.instances import random_matrix
from verify.kernel_process import KERNEL

KINDS = ("head of size d", "head of size 64", "head of size d, MLP")


def weights(rng: random.Random, rows: int, columns: int) -> RationalMatrix:
    return random_matrix(rng, rows, columns, size=128, denominator=1024)


def real_layer(rng: random.Random, d: int, kind: str) -> Layer:
    """One head; the MLP's W_1 is divided by d, which makes it injective."""
    s = min(d, 64) if "64" in kind else d
    head = Head(weights(rng, s, d), weights(rng, s, d), weights(rng, s, d), weights(rng, d, s))
    mlp = FeedForward.none(d)
    if "MLP" in kind:
        W_1, W_2 = weights(rng, d, d).scaled(fmpq(1, d)), weights(rng, d, d)
        mlp = FeedForward(W_1, weights(rng, d, 1), W_2, weights(rng, d, 1))
    return Layer(Attention((head,)), mlp)


def real_data(rng: random.Random, d: int) -> Dataset:
    """Two examples of four tokens, the last one shared."""

    def tokens(m: int) -> RationalMatrix:
        return random_matrix(rng, d, m, size=64, denominator=64)

    last = tokens(1)
    return Dataset(tuple(Example(tokens(3).hstack(last), tokens(1)) for _ in range(2)))


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def kernel_seconds(path: Path) -> float:
    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    run = subprocess.run([sys.executable, "-I", str(KERNEL), str(path)], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"the kernel did not accept its certificate: {run.stdout}{run.stderr}")
    return used() - before


def floor(layer: Layer, data: Dataset) -> None:
    queries = list(data.queries(Transformer((layer,))))
    problem = LossProblem.of(layer, queries, [preimage(layer.mlp, query.target) for query in queries])
    next(loss_curve(problem, [4]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256, 768])
    for name, widths in (("decide", [64, 256, 768]), ("floor", [64, 256, 768]), ("check", [64, 256])):
        parser.add_argument(f"--{name}", type=int, nargs="*", default=widths, help="widths at which this is done too")
    args = parser.parse_args()
    times: dict[str, list[tuple[int, float]]] = {}
    for d in args.widths:
        rng = random.Random(f"real width/{d}")
        square, right = weights(rng, d, d), weights(rng, d, 1)
        one_solve = seconds(lambda: square.mat.solve(right.mat))  # noqa: B023 - called at once
        print(f"d = {d}: one flint solve {one_solve:.3f} s", flush=True)
        for kind in KINDS:
            layer, data = real_layer(rng, d, kind), real_data(rng, d)
            line: list[tuple[str, float]] = []
            start = time.process_time()
            pair = unmemorizable_pair(layer)
            line.append(("pair", time.process_time() - start))
            if d in args.decide:
                line.append(("decide", seconds(lambda: decide(Transformer((layer,)), data))))  # noqa: B023
            if d in args.floor:
                line.append(("floor", seconds(lambda: floor(layer, data))))  # noqa: B023
            size = ""
            if d in args.check:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "pair.json"
                    certificate(pair.model, pair.proof).write(path)
                    size = f"  file {path.stat().st_size / 2**20:.1f} MiB"
                    line.append(("kernel", kernel_seconds(path)))
            told = "  ".join(f"{name} {took:.2f} s ({took / one_solve:.0f}x)" for name, took in line)
            print(f"  {kind:<20} {told}{size}", flush=True)
            for name, took in line:
                times.setdefault(f"{name}, {kind}", []).append((d, took))
    for name, points in times.items():
        print(f"{name}: {exponent(points)}")


if __name__ == "__main__":
    main()
