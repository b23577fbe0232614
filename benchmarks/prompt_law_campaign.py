"""Gradient descent on prompts against the certified loss curve: is anything ever below, how often is the curve met?

    PYTHONPATH=. python benchmarks/prompt_law_campaign.py [--count N] [--seed S] [--restarts R]

Random instances with d ≤ 8, n ≤ 8 and 1, 2, 4 or 16 prompt tokens by turns, a third of them with a contractive MLP.
L-BFGS with exact gradients starts from up to R random prompts of several scales and stops early when it is within 1e-6
of the certified optimum (relative; absolute where the optimum is below 1e-3). A loss below the certified lower bound is
checked in exact arithmetic and, if it stands, ends the run. Whatever stays above is classified:

- `unattained`: the infimum is at an end of the axis of masses, or belongs to prompts with fewer tokens;
- `local minimum`: the gradient vanishes, and the exact prompt of the certified curve is better;
- `not converged`: the gradient does not vanish (its norm is shown).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass

import flint
import numpy as np
from flint import arb, fmpq
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize

from constructions.data import Dataset, Example
from constructions.experiments.prompt_loss import PromptLoss
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.curve import LossBounds, RationalPrompt, loss_curve
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.preimage import preimage
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Undecided
from verify.instances import random_matrix, random_mlp

Floats = NDArray[np.float64]
LENGTHS = (1, 2, 4, 16)
CLOSE, SMALL = 1e-6, 1e-3
END = 25.0  # masses further than e^25 from the contexts' are taken for an end of the axis
FLAT = 1e-6  # gradient norm, relative to 1 + loss, that counts as vanishing


class SharedQueryLoss:
    """The loss of a prompt at queries of one logit vector, with its exact gradient, all queries at once."""

    def __init__(self, problem: LossProblem) -> None:
        self.q = np.array([float(x) for x in problem.q])
        self.V = np.array([[float(x) for x in row] for row in problem.V.rows()])
        with flint.ctx.workprec(128):
            self.log_S = np.array([float(view.mass.enclosure().log()) for view in problem.views])
            outputs = [[x.enclosure() for x in view.output.column(0)] for view in problem.views]
        self.A = np.array([[float(x) for x in row] for row in outputs])
        self.a = np.array([[float(x) for x in points[0]] for points in problem.shifted])

    def __call__(self, flat: Floats) -> tuple[float, Floats]:
        P = flat.reshape(len(self.q), -1)
        scores = self.q @ P
        top = scores.max()
        e = np.exp(scores - top)
        Z = e.sum()
        weights, log_s = e / Z, top + np.log(Z)
        values = self.V @ P
        u = values @ weights
        mu = np.exp(-np.logaddexp(0.0, self.log_S - log_s))
        lam = np.exp(-np.logaddexp(0.0, log_s - self.log_S))
        residual = lam[:, None] * self.A + mu[:, None] * u - self.a
        by_u = 2 * mu @ residual
        by_log_s = 2 * float((mu * lam) @ ((u - self.A) * residual).sum(axis=1))
        gradient = np.outer(self.V.T @ by_u, weights)
        gradient += np.outer(self.q, weights * (by_u @ values - by_u @ u + by_log_s))
        return float((residual * residual).sum()), gradient.ravel()


@dataclass(frozen=True)
class Descent:
    """The best of several runs."""

    loss: float
    prompt: Floats
    gradient: float
    runs: int
    evaluations: int


def descend(loss: SharedQueryLoss, length: int, restarts: int, target: float, seed: int, most: int = 3000) -> Descent:
    """L-BFGS from random starts until ``target`` is reached or ``restarts`` runs are done."""
    rng = np.random.default_rng(seed)
    best: Descent | None = None
    evaluations = 0

    def stop(*, intermediate_result: OptimizeResult) -> None:
        if intermediate_result.fun <= target:
            raise StopIteration

    for run in range(restarts):
        start = rng.normal(size=len(loss.q) * length) * 4.0 ** (run % 4 - 1)
        options = {"maxiter": most, "maxfun": 2 * most, "ftol": 1e-16, "gtol": 1e-12, "maxcor": 20}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options, callback=stop)
        evaluations += int(found.nfev)
        value, gradient = loss(found.x)
        if best is None or value < best.loss:
            norm = float(np.linalg.norm(gradient))
            best = Descent(value, found.x.reshape(len(loss.q), -1), norm, run + 1, evaluations)
        if best.loss <= target:
            break
    assert best is not None
    return Descent(best.loss, best.prompt, best.gradient, run + 1, evaluations)


def instance(seed: int) -> LossProblem:
    """Small random data: a shared query token, weights of moderate size."""
    rng = random.Random(f"campaign/{seed}")
    d, n = rng.randint(1, 8), rng.randint(1, 8)

    def matrix(rows: int, columns: int, scale: float) -> RationalMatrix:
        return RationalMatrix.of(
            [[fmpq(round(rng.gauss(0, scale) * 256), 256) for _ in range(columns)] for _ in range(rows)]
        )

    head = Head(*(matrix(d, d, d**-0.5) for _ in range(3)))
    mlp = random_mlp(rng, d, rng.randint(1, 3), contractive=True) if rng.random() < 1 / 3 else FeedForward.none(d)
    token = matrix(d, 1, 1)
    layer = Layer(Attention((head,)), mlp)
    examples = [
        Example(random_matrix(rng, d, rng.randint(1, 4), denominator=2).hstack(token), matrix(d, 1, 1))
        for _ in range(n)
    ]
    queries = list(Dataset(tuple(examples)).queries(Transformer((layer,))))
    return LossProblem.of(layer, queries, [preimage(mlp, query.target) for query in queries])


def self_check(problem: LossProblem) -> None:
    """The fast loss is the loss of the library's own search, gradient included."""
    model, data = problem.attention_only()
    slow, fast = PromptLoss(model, list(data.queries(model))), SharedQueryLoss(problem)
    x = np.random.default_rng(1).normal(size=3 * model.width)
    (v, g), (w, h) = slow(x), fast(x)
    if abs(v - w) > 1e-9 * (1 + abs(v)) or np.abs(g - h).max() > 1e-8 * (1 + np.abs(g).max()):
        raise SystemExit(f"the two losses disagree: {v} and {w}")


def truly_below(bounds: LossBounds, descent: Descent) -> bool:
    """Whether the prompt that the floats are has a loss certainly below the lower bound."""
    tokens = RationalMatrix.of([[fmpq(*float(x).as_integer_ratio()) for x in row] for row in descent.prompt])
    with flint.ctx.workprec(bounds.precision + 256):
        loss = bounds.problem.loss_at(tokens, [1] * tokens.shape[1])
        return bool(loss < arb(bounds.lower))


def mass_and_length(bounds: LossBounds) -> tuple[float, int]:
    """log s − ρ of the certified prompt, and its number of tokens."""
    assert isinstance(bounds.prompt, RationalPrompt)
    scores = bounds.problem.q_scores(bounds.prompt.tokens)
    with flint.ctx.workprec(bounds.precision):
        top = max(scores)
        parts = [arb(n) * arb(x - top).exp() for n, x in zip(bounds.prompt.counts, scores, strict=True)]
        log_s = sum(parts, arb(0)).log() + arb(top - bounds.problem.reference)
    return float(log_s), bounds.prompt.length


def classify(bounds: LossBounds, descent: Descent, length: int) -> str:
    sigma, tokens = mass_and_length(bounds)
    if abs(sigma) > END or tokens < length:
        return "unattained"
    return "local minimum" if descent.gradient <= FLAT * (1 + descent.loss) else "not converged"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--restarts", type=int, default=24)
    args = parser.parse_args()

    self_check(instance(args.seed))
    start = time.perf_counter()
    certified = 0.0
    widest = 0.0
    table: dict[int, Counter[str]] = {length: Counter() for length in LENGTHS}
    exceptions = []
    for k in range(args.count):
        length = LENGTHS[k % len(LENGTHS)]
        problem = instance(args.seed + k)
        begin = time.perf_counter()
        try:
            bounds = next(loss_curve(problem, [length]))
        except Undecided as reason:
            table[length]["undecided"] += 1
            exceptions.append(f"instance {k}: undecided: {reason}")
            continue
        certified += time.perf_counter() - begin
        lower, upper = float(bounds.lower), float(bounds.upper)
        widest = max(widest, (upper - lower) / max(upper, SMALL))
        target = upper + (CLOSE if upper < SMALL else CLOSE * upper)
        descent = descend(SharedQueryLoss(problem), length, args.restarts, target, args.seed + k)
        if descent.loss < lower and truly_below(bounds, descent):
            print(f"instance {k}: loss {descent.loss!r} is below the certified {lower!r}: {descent.prompt.tolist()}")
            return 1
        table[length]["instances"] += 1
        if descent.loss <= target:
            table[length]["met"] += 1
            continue
        why = classify(bounds, descent, length)
        table[length][why] += 1
        sigma, tokens = mass_and_length(bounds)
        exceptions.append(
            f"instance {k} (d={len(problem.q)}, n={len(problem.queries)}, {length} tokens): {why}: descent "
            f"{descent.loss:.9g} (gradient {descent.gradient:.1e}), exact prompt of {tokens} tokens {upper:.9g} "
            f"(log mass {sigma:+.2f} from the contexts')"
        )

    columns = ("instances", "met", "local minimum", "unattained", "not converged", "undecided")
    print(f"{'tokens':>8}" + "".join(f"{name:>15}" for name in columns))
    total: Counter[str] = Counter()
    for length, row in table.items():
        total.update(row)
        print(f"{length:>8}" + "".join(f"{row[name]:>15}" for name in columns))
    print(f"{'all':>8}" + "".join(f"{total[name]:>15}" for name in columns))
    print("\nbelow the certified lower bound: 0")
    print(f"within {CLOSE:g} of the certified optimum: {total['met'] / max(1, total['instances']):.1%}")
    print(f"widest certified gap, relative (to {SMALL:g} where the loss is smaller): {widest:.1e}")
    print(f"seconds: {time.perf_counter() - start:.0f}, of these {certified:.0f} for the certified bounds")
    for line in exceptions:
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
