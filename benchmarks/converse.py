"""The converse of several queries on random entropies and divergences: explicit prompts, and what they miss.

    PYTHONPATH=. python benchmarks/converse.py [--count 8] [--seed 0] [--precision 128]

For n = 2, 3 queries, d = 3..5 and both alphabets: H_i and D_ik log-uniform in [1/4, 4], log masses in [−4, 4], means
with these numbers and a random part orthogonal to the queries. Printed: kinds of tokens, tokens (median and largest, as
powers of two: most of them are equal), the worst residual of log S and p̄ in any entry, computed from the tokens by
definition, and seconds for a prompt (median and largest).
"""

from __future__ import annotations

import argparse
import random
import time
from statistics import median

from flint import fmpq

from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.converse import ALPHABETS, Numbers, means_with, realize_prompt, worst_residual
from constructions.verdict import Undecided
from verify.instances import random_full_rank, random_matrix


def random_numbers(rng: random.Random, n: int) -> Numbers:
    """Log-uniform in [1/4, 4]."""

    def number() -> fmpq:
        return fmpq(round(2**20 * 4 ** rng.uniform(-1, 1)), 2**20)

    return Numbers.of([number() for _ in range(n)], [[number() for _ in range(n)] for _ in range(n)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", type=int, default=128)
    args = parser.parse_args()
    print(f"{args.count} prompts in each line, {args.precision} bits")
    print("  n  d  alphabet  kinds   tokens: median    largest  worst residual  seconds: median  largest")
    for n in (2, 3):
        for d in range(3, 6):
            for alphabet in ALPHABETS:
                lengths, seconds, worst, kinds, undecided = [], [], 0.0, 0, 0
                for k in range(args.count):
                    rng = random.Random(f"converse/{args.seed}/{n}/{d}/{k}")
                    Q = random_full_rank(rng, n, d).scaled("1/2")
                    log_masses = random_matrix(rng, n, 1, size=8, denominator=2).column(0)
                    means = means_with(Q, log_masses, random_numbers(rng, n)).mat
                    if d > n:
                        moves = random_matrix(rng, d - n, n, denominator=2)
                        means += RationalMatrix.of_columns(Q.nullspace()).times(moves).mat
                    start = time.perf_counter()
                    try:
                        prompt = realize_prompt(
                            Q, log_masses, RationalMatrix(means), alphabet=alphabet, precision=args.precision
                        )
                    except Undecided:
                        undecided += 1
                        continue
                    seconds.append(time.perf_counter() - start)
                    lengths.append(prompt.length.bit_length())
                    kinds = len(prompt.counts)
                    gap = worst_residual(Q, log_masses, RationalMatrix(means), prompt, args.precision)
                    worst = max(worst, gap)
                note = f"  undecided: {undecided}" if undecided else ""
                print(
                    f"{n:3}{d:3}  {alphabet:8}{kinds:7}{'2^' + format(median(lengths), 'g'):>17}"
                    f"{'2^' + str(max(lengths)):>11}{worst:16.1e}{median(seconds):17.3f}{max(seconds):9.3f}{note}"
                )


if __name__ == "__main__":
    main()
