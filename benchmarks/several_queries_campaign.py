"""The criterion of several queries on random datasets, against gradient descent and explicit prompts.

    PYTHONPATH=. python benchmarks/several_queries_campaign.py [--count 200] [--seed 0] [--restarts 2]

Random datasets with d = 2..6, n = 2..4, n ≤ d, one head. Every dataset is decided. ``unmemorizable`` ones are
attacked by gradient descent over prompts (the best loss found is printed: it must stay above zero); for
``memorizable`` ones whose length bound is at most 32 tokens an explicit prompt is searched and
proved by interval Newton (Krawczyk).
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter

from constructions.single_layer.decide_several import MAX_TOKENS, decide_several, length_bound, shortest_found
from constructions.verdict import Undecided
from verify.claims.several_queries import random_data, several_queries
from verify.search import adversary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--restarts", type=int, default=2)
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    least_loss, dependent = float("inf"), 0
    short = proved = 0
    gaps: list[int] = []
    missed: list[str] = []
    start = time.perf_counter()
    for k in range(args.count):
        rng = random.Random(f"campaign/{args.seed}/{k}")
        d = rng.randint(2, 6)
        n = rng.randint(2, min(4, d))
        model, data = random_data(rng, d, n)
        grouped = several_queries(model, data)
        try:
            decision = decide_several(grouped)
        except Undecided as reason:
            if "dependent" in str(reason):  # equal up to a factor: zero tokens and the like
                dependent += 1
            counts["undecided"] += 1
            continue
        if decision.possible is None:
            counts["unmemorizable"] += 1
            attack = adversary(model, data, lengths=(8,), restarts=args.restarts, seed=k, max_iterations=300)
            least_loss = min(least_loss, attack.loss)
            continue
        counts["memorizable"] += 1
        more_than, _ = length_bound(grouped, limit=64)
        if more_than >= 32:
            continue
        short += 1
        found = shortest_found(*decision.possible, more_than + 1, seed=k)
        if found is None:
            missed.append(
                f"dataset {k} (d = {d}, n = {n}): more than {more_than} tokens needed, none of ≤ {MAX_TOKENS} found"
            )
        else:
            proved += 1
            gaps.append(found.length - more_than - 1)
    print(
        f"{args.count} datasets in {time.perf_counter() - start:.0f} s: {dict(counts)} "
        f"(undecided for dependent queries: {dependent})"
    )
    print(f"unmemorizable: least loss that gradient descent found {least_loss:.3g}")
    print(
        f"memorizable with length bound ≤ 32: {short}, "
        f"explicit prompt proved: {proved} ({100 * proved / max(1, short):.0f}%)"
    )
    if gaps:
        print(
            f"prompt found minus least length not excluded: median {sorted(gaps)[len(gaps) // 2]}, largest {max(gaps)}"
        )
    for line in missed:
        print(line)


if __name__ == "__main__":
    main()
