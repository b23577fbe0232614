"""Certified spectral norms against numpy's, which nobody certifies, and against an exact LDL^T.

    OPENBLAS_NUM_THREADS=1 PYTHONPATH=. python benchmarks/spectral_norms.py [--sizes 16 … 384] [--cap 60]

Square matrices of normally distributed float32. For each size: the certified bound over numpy's value, least and
largest (at least 1, and at most 1 plus the relative error asked for), for two ways to the bound:

  rounded     constructions.numbers.norm_enclosure.enclose_norm, from below and from above, for real networks
  factor      constructions.numbers.spectral_norm.spectral_norm, with a factor that becomes part of a certificate

and their times as multiples of numpy.linalg.norm(W, 2). `LDL^T` is the textbook's proof of the same bound: the
factorisation of σ² − W^T W in rationals, all pivots above 0, until one takes longer than the cap.

Then whole layers as `promptcert inspect` measures them: ranks of W_q, W_k, W_v, six norms of every head, W_o, W_1, W_2,
with a relative error of 1/1000.

At the end the bare kernel checks a certificate with the factor of the largest size: attention-lipschitz, relation
`bound`, one head with W_q = 0 (processor time, the start of Python included).
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flint import fmpq, fmpq_mat

from constructions.checkpoints.measure import measure
from constructions.checkpoints.weights import LayerWeights
from constructions.depth.constants import HeadNorms, LayerNorms, Region
from constructions.numbers.dyadic import Floats, dyadic, power_of_two
from constructions.numbers.norm_enclosure import enclose_norm
from constructions.numbers.rational import RationalMatrix
from constructions.numbers.spectral_norm import NormProof, spectral_norm
from constructions.transformer import Attention, FeedForward, Head, Layer
from verify.claims.attention_lipschitz import bound_certificate
from verify.kernel_process import KERNEL

ERROR = fmpq(1, 100)


def drawn(rng: np.random.Generator, n: int) -> Floats:
    return rng.standard_normal((n, n)).astype(np.float32).astype(np.float64)


def exact(W: Floats) -> RationalMatrix:
    M, exponent = dyadic(W)
    return RationalMatrix(fmpq_mat(M) * power_of_two(exponent))


def positive_by_ldl(N: fmpq_mat) -> bool:
    """Whether all pivots of an exact LDL^T are above 0 (N symmetric, n×n)."""
    rows = [list(row) for row in N.tolist()]
    for k in range(len(rows)):
        pivot = rows[k][k]
        if pivot <= 0:
            return False
        for i in range(k + 1, len(rows)):
            share = rows[i][k] / pivot
            for j in range(k + 1, i + 1):
                rows[i][j] -= share * rows[j][k]
    return True


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def ldl_seconds(W: RationalMatrix, bound: fmpq) -> float:
    def prove() -> bool:
        n = W.shape[0]
        return positive_by_ldl(RationalMatrix.identity(n).scaled(bound * bound).mat - W.T.times(W).mat)

    taken, proved = seconds(prove)
    if not proved:
        raise SystemExit("LDL^T disagrees")
    return taken


def one_size(n: int, repetitions: int, with_ldl: bool) -> float | None:
    """Print a line; the time of one LDL^T."""
    rng = np.random.default_rng(n)
    times: dict[str, list[float]] = {"numpy": [], "rounded": [], "factor": []}
    ratios: dict[str, list[float]] = {"rounded": [], "factor": []}
    ldl = None
    for round_ in range(repetitions + 1):
        W = drawn(rng, n)
        rational = exact(W)
        taken = {}
        taken["numpy"], value = seconds(lambda W=W: float(np.linalg.norm(W, 2)))
        taken["rounded"], enclosed = seconds(lambda W=W: enclose_norm(W, ERROR))
        taken["factor"], proof = seconds(lambda rational=rational: spectral_norm(rational, ERROR))
        if round_ == 0:  # the first call of everything is slower
            if with_ldl:
                ldl = ldl_seconds(rational, proof.bound)
            continue
        for name, time_ in taken.items():
            times[name].append(time_)
        for name, bound in (("rounded", enclosed.upper), ("factor", proof.bound)):
            ratios[name].append(float(bound.p) / float(bound.q) / value)
            if not 1 <= ratios[name][-1] <= 1.0101:
                raise SystemExit(f"{name}: the bound is {ratios[name][-1]} times numpy's value")
    base = statistics.median(times["numpy"])
    line = f"{n:>5} {1000 * base:>9.2f}"
    for name in ("rounded", "factor"):
        median = statistics.median(times[name])
        line += f" | {min(ratios[name]):.4f}-{max(ratios[name]):.4f} {1000 * median:>8.1f} {median / base:>6.1f}x"
    line += " |" + (f" {ldl:>8.2f} s {ldl / base:>9.0f}x" if ldl is not None else "        -")
    print(line, flush=True)
    return ldl


def layer(d: int, heads: int) -> None:
    """Everything about one layer with four hidden units for each entry of a token."""
    rng, s = np.random.default_rng(d), d // heads

    def draw(*shape: int) -> Floats:
        return (rng.standard_normal(shape) * 0.02).astype(np.float32).astype(np.float64)

    matrices = [draw(heads, s, d) for _ in range(3)]
    biases = [draw(heads, s) for _ in range(3)]
    mlp = [draw(4 * d, d), draw(d, 4 * d), None, draw(4 * d), draw(d), None]
    weights = LayerWeights(0, *matrices, draw(heads, d, s), *biases, draw(d), *mlp, {})
    taken, _ = seconds(lambda: measure(weights, fmpq(1, 1000), causal=False, scaled=True))
    print(f"layer of width {d} with {heads} heads: {taken:.2f} s", flush=True)


def kernel(n: int) -> None:
    """The kernel's check of a certificate that holds one norm proof of an n×n matrix."""
    W = exact(drawn(np.random.default_rng(n), n))
    zero = RationalMatrix.zeros(n, n)
    head = Head(zero, zero, W)
    attention = Layer(Attention((head,)), FeedForward.none(n))
    making, proof = seconds(lambda: spectral_norm(W, ERROR))
    nothing = NormProof(fmpq(0), None)
    norms = LayerNorms((HeadNorms(nothing, proof, fmpq(0)),), None, nothing, nothing, fmpq(0), False)
    certificate = bound_certificate(attention, norms, Region(fmpq(1), fmpq(1), 0, 1), "max", "joint")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "norm.json"
        certificate.write(path)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = subprocess.run(
            [sys.executable, "-I", str(KERNEL), str(path)], capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if run.returncode != 0:
            raise SystemExit(f"the kernel did not accept its certificate: {run.stdout}{run.stderr}")
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"kernel, norm proof at {n}: {used:.1f} s (found and proved here in {making:.2f} s), "
            f"certificate of {path.stat().st_size / 1e6:.1f} MB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[16, 32, 64, 128, 256, 384])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--cap", type=float, default=60, help="seconds that one LDL^T may take")
    args = parser.parse_args()
    print(f"relative error {ERROR}; medians of {args.repetitions}, times in ms")
    way = f"{'ms':>8} {'ratio':>7}"
    print(f"{'size':>5} {'numpy':>9} | {'rounded':>13} {way} | {'factor':>13} {way} | LDL^T")
    expected = 0.0
    for n in args.sizes:
        # twice the size takes at least 16 times as long
        found = one_size(n, args.repetitions, expected * 16 <= args.cap)
        expected = float("inf") if found is None else found
    for d, heads in ((384, 12), (768, 12), (1024, 16)):
        layer(d, heads)
    kernel(args.sizes[-1])


if __name__ == "__main__":
    main()
