"""Small and several heads on random data: how often is something proved, and how short are explicit prompts?

    PYTHONPATH=. python benchmarks/several_heads_campaign.py [--count N] [--peelings N] [--prompts N] [--seed S]

Four tables:

1. Greedy peeling against the linear program (*), on random layers and tokens; they must agree, stuck ones included.
2. Two heads with hs = d ≥ 4, n = 2..6 examples with distinct last tokens and with a shared one; one head with s < d, n
   up to 8. For every verdict the kernel's check of its certificate; for distinct tokens and n = 2, d = 4 an explicit
   prompt of at most 64 tokens, proved by interval Newton.
3. Lengths of the prompts in the proof of Theorem B, as powers of ten.
4. The stuck layer: its inequality at random prompts of several scales.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.decide_heads import answer_heads
from constructions.single_layer.peeling import Peeled, Stuck, holds, peel, star
from constructions.single_layer.several_heads import HeadPairs
from constructions.transformer import Head
from constructions.verdict import Undecided
from verify.claims.several_heads import certificates, in_range, random_data, random_layer, several_heads, stuck_layer
from verify.kernel_process import accepted


def peelings(count: int, seed: int) -> None:
    rng = random.Random(f"peel/{seed}")
    found: Counter[str] = Counter()
    seconds = [0.0, 0.0]
    while sum(found.values()) < count:
        d, h, n = rng.randint(2, 4), rng.randint(1, 3), rng.randint(1, 4)
        s = rng.randint(1, d)

        def matrix(rows: int, columns: int) -> RationalMatrix:
            return RationalMatrix.of([[rng.randint(-3, 3) for _ in range(columns)] for _ in range(rows)])

        heads = [Head(matrix(s, d), matrix(s, d), matrix(s, d), matrix(d, s)) for _ in range(h)]
        pairs = HeadPairs.of(heads, matrix(d, n))
        if not pairs.distinct:
            continue
        answers = []
        for k, method in enumerate((peel, star)):
            start = time.perf_counter()
            answers.append(method(pairs))
            seconds[k] += time.perf_counter() - start
        if type(answers[0]) is not type(answers[1]):
            raise SystemExit(f"greedy peeling and the linear program disagree: {pairs}")
        for answer in answers:
            if isinstance(answer, Peeled) and not holds(pairs, answer.heights, answer.directions):
                raise SystemExit(f"heights and directions do not satisfy (*): {pairs}")
            if isinstance(answer, Stuck) and not balanced(pairs, answer):
                raise SystemExit(f"the flow is not balanced: {pairs}")
        found["stuck" if isinstance(answers[0], Stuck) else "peeled"] += 1
    print(f"peeling and (*) agree on {count} random instances: {dict(found)}")
    print(f"seconds: greedy {seconds[0]:.2f}, (*) {seconds[1]:.2f}\n")


def balanced(pairs: HeadPairs, stuck: Stuck) -> bool:
    rows, columns = stuck.flow.rows(), stuck.flow.T.rows()
    for alpha in range(len(pairs)):
        if sum(rows[alpha]) != sum(columns[alpha]) or min(rows[alpha]) < 0 or rows[alpha][alpha] != 0:
            return False
        eta = pairs.V[pairs.head(alpha)].T.apply(stuck.values.rows()[alpha])
        for i, x in enumerate(eta):
            moved = (c * (pairs.q[beta][i] - pairs.q[alpha][i]) for beta, c in enumerate(rows[alpha]))
            if sum(moved) != x:
                return False
    return True


def datasets(count: int, prompts: int, seed: int, folder: Path) -> None:
    kinds = [("two heads, hs = d", n, False) for n in range(2, 7)]
    kinds += [("two heads, hs = d", 2, True), ("two heads, hs = d", 3, True)]
    kinds += [("one head, s < d", n, False) for n in (2, 4, 8)]
    print(
        f"{'layer':<20}{'n':>3}{'last tokens':>13}{'memorizable':>13}{'not':>5}{'undecided':>11}{'prompt':>9}{'s':>7}"
    )
    lengths: dict[str, list[float]] = {}
    for layer, n, shared in kinds:
        verdicts: Counter[str] = Counter()
        tokens: list[int | None] = []
        paths = []
        start = time.perf_counter()
        for k in range(count):
            rng = random.Random(f"heads/{seed}/{layer}/{n}/{shared}/{k}")
            d = rng.choice((4, 6))
            model = random_layer(rng, d, d // 2, 2) if layer.startswith("two") else random_layer(rng, d, d - 1, 1)
            data = several_heads(model, in_range(model, random_data(rng, model, n, shared=shared)))
            explicit = n == 2 and not shared and d == 4 and layer.startswith("two") and len(tokens) < prompts
            try:
                answer = answer_heads(data, explicit=explicit, seed=k)
            except Undecided:
                verdicts["undecided"] += 1
                continue
            verdicts["not" if answer.against is not None else "memorizable"] += 1
            if explicit:
                tokens.append(None if answer.proved is None else answer.proved.length)
            if answer.clusters is not None:
                lengths.setdefault(f"{layer}, n = {n}", []).append(answer.clusters.log10_length)
            for ending, certificate in certificates(model, answer):
                path = folder / f"{len(paths)}{ending}.json"
                certificate.write(path)
                paths.append(path)
        seconds = time.perf_counter() - start
        accepted(paths)
        found = [m for m in tokens if m is not None]
        rate = f"{len(found)}/{len(tokens)}" if tokens else ""
        print(
            f"{layer:<20}{n:>3}{'shared' if shared else 'distinct':>13}{verdicts['memorizable']:>13}"
            f"{verdicts['not']:>5}{verdicts['undecided']:>11}{rate:>9}{seconds:>7.1f}"
        )
        if found:
            middle = sorted(found)[len(found) // 2]
            print(f"    tokens of the proved prompts: {min(found)} to {max(found)}, median {middle}")
    print("the kernel accepts all certificates\n")
    print("tokens of the prompt in the proof of Theorem B, powers of ten: least, median, largest")
    for name, values in lengths.items():
        values.sort()
        print(f"{name:<26}{values[0]:>12.0f}{values[len(values) // 2]:>12.0f}{values[-1]:>14.0f}")


def stuck(prompts: int, seed: int) -> None:
    layer, tokens = stuck_layer()
    pairs = HeadPairs.of(layer.attention.heads, tokens)
    found = peel(pairs)
    assert isinstance(found, Stuck)
    rng = np.random.default_rng(seed)
    q = np.array([[float(x) for x in row] for row in pairs.q])
    eta = np.array([[float(x) for x in row] for row in found.values.rows()])
    V = np.array([[[float(x) for x in row] for row in V.rows()] for V in pairs.V])
    largest = -np.inf
    for _ in range(prompts):
        P = rng.normal(size=(2, int(rng.integers(1, 17)))) * np.exp(rng.uniform(-3, 4))
        P += rng.normal(size=(2, 1)) * np.exp(rng.uniform(-3, 2))
        scores = q @ P
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        outputs = np.array([V[pairs.head(a)] @ (P @ weights[a]) for a in range(len(pairs))])
        scale = 1 + np.abs(eta * outputs).sum()
        largest = max(largest, float((eta * outputs).sum() / scale))
    print(f"\nstuck layer: largest Σ η·v over {prompts} random prompts, relative: {largest:.3g} (proved: at most 0)")
    if largest > 1e-9:
        raise SystemExit("the inequality of the stuck layer fails")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50, help="datasets of each kind")
    parser.add_argument("--peelings", type=int, default=1000)
    parser.add_argument("--prompts", type=int, default=50, help="explicit prompts to search for")
    parser.add_argument("--random-prompts", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    peelings(args.peelings, args.seed)
    with tempfile.TemporaryDirectory() as folder:
        datasets(args.count, args.prompts, args.seed, Path(folder))
    stuck(args.random_prompts, args.seed)


if __name__ == "__main__":
    main()
