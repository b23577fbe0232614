"""Every falsifier against mutated copies of its claim, then against the claim itself.

    PYTHONPATH=. python benchmarks/planted_flaws.py [--claim SLUG]... [--seed 0] [--budget N]

A mutated copy has one condition dropped or one constant made too strong by one per cent. The first table says after
how many trials the falsifier found what is wrong with it, and what; or why no search can. The second one says how tight
each constant was found to be: the smallest slack, 1 − (what was reached)/(what the claim allows).
"""

from __future__ import annotations

import argparse
import sys
import time

from constructions.verdict import Verdict
from verify.claims.registry import REGISTRY
from verify.falsifiers.falsifier import falsify


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--claim", action="append", choices=list(REGISTRY))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=int, help="trials for each search (default: each falsifier's own)")
    args = parser.parse_args()
    falsifiers = [f for slug, claim in REGISTRY.items() if (f := claim.falsifier) and slug in (args.claim or REGISTRY)]
    missed = 0
    for falsifier in falsifiers:
        print(f"\n{falsifier.slug}")
        for flaw in falsifier.flaws():
            reason = falsifier.reason(flaw)
            if reason is not None:
                print(f"  {flaw}: cannot be found: {reason}")
                continue
            found = falsify(falsifier, flaw=flaw, seed=args.seed, budget=args.budget)
            if found.counterexample is None:
                missed += 1
                print(f"  {flaw}: NOT found in {found.tried} trials")
            else:
                print(f"  {flaw}: after {found.tried}: {found.counterexample.sentence} ({found.at})")
    print("\nthe claims as they stand")
    for falsifier in falsifiers:
        start = time.perf_counter()
        found = falsify(falsifier, seed=args.seed, budget=args.budget)
        took = time.perf_counter() - start
        missed += found.verdict is Verdict.REFUTED
        verdict = "REFUTED" if found.verdict is Verdict.REFUTED else "not refuted"
        print(f"  {falsifier.slug}: {verdict} in {found.tried} trials, {took:.1f} s")
        for name, measured in found.tightness.items():
            print(f"    {name}: smallest slack {float(measured.slack):.2g} at {measured.at}")  # type: ignore[arg-type]
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
