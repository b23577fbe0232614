"""Tight datasets for every width and number of examples, and the descent that tries to do with one token less.

    PYTHONPATH=. python benchmarks/prompt_length_campaign.py [--widths 2 8] [--seed S] [--restarts R] [--updates N]

For d and n ≤ d a random dataset made from a prompt of n tokens (THEORY section 4): the rank certificate excludes n − 1
tokens (checked by the kernel), gradient descent with n − 1 tokens stays above zero, and with n tokens, started near the
prompt, it comes down to zero. Then N random datasets with n ≤ 6: the low-rank update is solved in Frac(E), and all
outputs equal the targets exactly.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from constructions.data import Dataset
from constructions.experiments.prompt_loss import PromptLoss
from constructions.single_layer.low_rank import NoUpdateError, solve_exactly, triangular_update
from constructions.single_layer.prompt_length import NotTightError, PromptDataset, prove_tight, tight_dataset
from constructions.transformer import Transformer
from verify.claims.low_rank_memorization import random_data
from verify.claims.prompt_length_bound import tight_certificate
from verify.kernel_process import accepted
from verify.search import adversary


def near_prompt(data: PromptDataset, rounded: Dataset, seed: int) -> float:
    """The loss that L-BFGS reaches from a start near the dataset's own prompt, with as many tokens."""
    model = Transformer((data.layer,))
    loss = PromptLoss(model, list(rounded.queries(model)))
    P = np.array([[float(x) for x in row] for row in data.prompt.rows()])
    start = P + 0.05 * np.random.default_rng(seed).normal(size=P.shape)
    options = {"maxiter": 20000, "maxfun": 40000, "ftol": 1e-30, "gtol": 1e-14, "maxcor": 30}
    return float(minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options).fun)


def tight(widths: tuple[int, int], seed: int, restarts: int, folder: Path) -> None:
    print(f"{'d':>3}{'n':>4}{'excluded':>10}{'loss, n-1 tokens':>18}{'loss, n tokens':>16}{'proof s':>9}")
    paths = []
    for d in range(widths[0], widths[1] + 1):
        for n in range(1, d + 1):
            data = tight_dataset(d, n, seed)
            rounded = data.rounded(60)
            start = time.perf_counter()
            excluded, below, seconds = 0, float("nan"), 0.0
            try:
                found = prove_tight(data)
                excluded, seconds = found.length or 0, time.perf_counter() - start
                path = folder / f"{d}-{n}.json"
                tight_certificate(found).write(path)
                paths.append(path)
                model = Transformer((data.layer,))
                below = adversary(
                    model, rounded, lengths=(n - 1,), restarts=restarts, seed=seed, max_iterations=2000
                ).loss
            except NotTightError as error:
                if n > 1:  # one token always has enough dimensions for one example
                    raise SystemExit(f"d = {d}, n = {n}: {error}") from None
            above = near_prompt(data, rounded, seed)
            print(f"{d:>3}{n:>4}{excluded:>10}{below:>18.2e}{above:>16.2e}{seconds:>9.2f}")
    accepted(paths)
    print(f"the kernel accepts all {len(paths)} certificates\n")


def updates(count: int, seed: int) -> None:
    found: Counter[str] = Counter()
    start, slowest = time.perf_counter(), 0.0
    for k in range(count):
        rng = random.Random(f"updates/{seed}/{k}")
        n = rng.randint(1, 6)
        model, data = random_data(rng, rng.randint(1, 5), n, n + rng.randint(0, 3), rng.choice((1, 1, 2)))
        queries = list(data.queries(model))
        begin = time.perf_counter()
        try:
            update = triangular_update(model.layers[0], queries)
        except NoUpdateError as reason:
            found["repeated features" if "same feature" in str(reason) else str(reason)] += 1
            continue
        if not solve_exactly(update, queries).meets(queries):
            raise SystemExit(f"dataset {k}: the outputs are not the targets")
        if update.parameters != model.width + 2 * n + n * model.width or update.rank > 1:
            raise SystemExit(f"dataset {k}: {update.parameters} parameters, rank {update.rank}")
        found["outputs equal in Frac(E)"] += 1
        slowest = max(slowest, time.perf_counter() - begin)
    seconds = time.perf_counter() - start
    print(f"low-rank updates of {count} random datasets, n ≤ 6: {dict(found)}")
    print(f"parameters d + 2n + nd, rank 1 in W_1, in all of them; {seconds:.1f} s in all, slowest {slowest:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs=2, default=(2, 8))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--restarts", type=int, default=1)
    parser.add_argument("--updates", type=int, default=500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tight(tuple(args.widths), args.seed, args.restarts, Path(folder))
    updates(args.updates, args.seed)


if __name__ == "__main__":
    main()
