"""Claim: what a prompt can do to one query, exactly (THEORY section 3.1): reachable set, loss curve, decision."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from flint import fmpq

from constructions.data import Dataset, Example, Query
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.curve import LawPoint, LossBounds, RationalPrompt, loss_curve
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.one_query import Impossible, Possible, decide_one_query, infimum_is_zero
from constructions.single_layer.preimage import Preimage, preimage
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Constant, Finding, Settings
from verify.claims.unmemorizable_pair import preimage_proof
from verify.falsifiers.prompt_law import FALSIFIER
from verify.instances import random_layer, random_matrix
from verify.search import adversary

SLUG = "prompt-law"


def single_layer_instance(model: Transformer, queries: Sequence[Query], length: int | None) -> dict[str, Any]:
    return {
        "layer": write.layer(model),
        "queries": [write.query(query) for query in queries],
        "length": None if length is None else write.integer(length),
    }


def finite_preimage(found: Preimage) -> dict[str, Any]:
    """A preimage proof that also pins every piece of a tree to one point."""
    proof = preimage_proof(found)
    if found.factor is not None:
        return proof
    points = []
    for piece in found.pieces:
        assert piece.point is not None
        d = len(piece.point)
        multipliers = []
        for i in range(d):
            unit = [fmpq(int(i == j)) for j in range(d)]
            bounds = (piece.upper(unit), piece.upper([-x for x in unit]))
            multipliers.append(
                [write.vector(bound[1]) for bound in bounds if bound is not None and bound[1] is not None]
            )
        points.append({"z": write.vector(piece.point), "multipliers": multipliers})
    return {**proof, "points": points}


def loss_certificate(model: Transformer, bounds: LossBounds) -> Certificate:
    """The certificate of certified loss bounds."""
    problem = bounds.problem
    witness = {
        "preimages": [finite_preimage(found) for found in problem.preimages],
        "reference": write.scalar(problem.reference),
        "g": None if problem.g is None else write.vector(problem.g),
        "log_length": None if bounds.log_length is None else [write.scalar(x) for x in bounds.log_length],
        "orthogonal": [[write.vector(r) for r in parts] for parts in problem.orthogonal],
        "precision": bounds.precision,
        "lower": {
            "value": write.scalar(bounds.lower),
            "covers": [
                {
                    "integers": None if cover.integers is None else write.integer(cover.integers),
                    "breakpoints": write.vector(cover.breakpoints),
                }
                for cover in bounds.covers
            ],
        },
        "upper": {"value": write.scalar(bounds.upper), **_prompt(bounds.prompt)},
    }
    return Certificate(
        SLUG, "loss-bounds", Evidence.ENCLOSED, single_layer_instance(model, problem.queries, bounds.length), witness
    )


def _prompt(prompt: RationalPrompt | LawPoint) -> dict[str, Any]:
    if isinstance(prompt, LawPoint):
        return {"mean": write.vector(prompt.mean), "sigma": write.scalar(prompt.sigma)}
    return {"tokens": write.matrix(prompt.tokens), "counts": [write.integer(n) for n in prompt.counts]}


def memorizable_certificate(model: Transformer, problem: LossProblem, possible: Possible) -> Certificate:
    """Some prompt of at most ``possible.length`` tokens memorizes (of any length where that is too long to write)."""
    points = [found.pieces[i].point for found, i in zip(problem.preimages, possible.choice, strict=True)]
    free = None
    if problem.g is None and not problem.integer_masses:
        free = next(k for k in problem.V.nullspace() if dot(list(problem.q), k) != 0)
    witness = {
        "points": [write.vector(point) for point in points if point is not None],
        "sources": [write.vector(source) for source in possible.sources],
        "free": None if free is None else write.vector(free),
        "g": None if problem.g is None else write.vector(problem.g),
        "equation": None if possible.equation is None else list(possible.equation.place),
    }
    instance = single_layer_instance(model, problem.queries, possible.written_length)
    return Certificate(SLUG, "memorizable", Evidence.EXACT, instance, witness)


def impossible_certificate(
    model: Transformer, problem: LossProblem, length: int | None, reasons: Sequence[Impossible]
) -> Certificate:
    """No prompt (of at most ``length`` tokens) memorizes: one reason for each combination of preimages."""
    witness = {
        "preimages": [finite_preimage(found) for found in problem.preimages],
        "g": None if problem.g is None else write.vector(problem.g),
        "combinations": [_reason(reason) for reason in reasons],
    }
    return Certificate(
        SLUG, "no-prompt-memorizes", Evidence.EXACT, single_layer_instance(model, problem.queries, length), witness
    )


def _reason(reason: Impossible) -> dict[str, Any]:
    places = [list(equation.place) for equation in reason.equations]
    if reason.argument == "range":
        assert reason.w is not None
        return {"argument": "range", "query": reason.query, "w": write.vector(reason.w)}
    if reason.argument == "length":
        return {"argument": "length"}
    if reason.argument == "masses":
        return {"argument": "masses", "equations": places}
    return {"argument": reason.argument, "equation": places[0]}


def problem_of(model: Transformer, data: Dataset) -> LossProblem:
    """The loss problem of a single-layer model with data of one logit vector. Raises NoLossProblemError."""
    layer = model.layers[0]
    queries = list(data.queries(model))
    return LossProblem.of(layer, queries, [preimage(layer.mlp, query.target) for query in queries])


# -- cases ----------------------------------------------------------------------------------------------------------


def _bounded(
    model: Transformer, data: Dataset, length: int | None, *, attack: bool = True, expected: fmpq | None = None
) -> CaseResult:
    """Certified loss bounds at one length, with what gradient descent reaches beside them."""
    bounds = next(loss_curve(problem_of(model, data), [length]))
    if expected is not None and not bounds.lower <= expected <= bounds.upper:
        return CaseResult(
            Verdict.REFUTED, Evidence.EXACT, f"expected the infimum {expected}, found [{bounds.lower}, {bounds.upper}]"
        )
    measured: dict[str, Any] = {
        "lower": float(bounds.lower),
        "upper": float(bounds.upper),
        "prompt_length": bounds.prompt.length if isinstance(bounds.prompt, RationalPrompt) else None,
    }
    if attack:
        best = adversary(*bounds.problem.attention_only(), lengths=[length or 8], restarts=2, max_iterations=300)
        measured["gradient_descent_loss"] = float(f"{best.loss:.6g}")
    limit = "any number of" if length is None else f"at most {length}"
    summary = f"loss over prompts of {limit} tokens in [{float(bounds.lower):.9g}, {float(bounds.upper):.9g}]"
    return CaseResult(Verdict.PROVED, Evidence.ENCLOSED, summary, loss_certificate(model, bounds), measured)


def _random_data(seed: int, d: int, n: int, r: int) -> tuple[Transformer, Dataset]:
    rng = random.Random(f"{SLUG}/{seed}/{d}/{n}/{r}")
    layer = random_layer(rng, d, r=r)
    quarter = Attention(
        tuple(
            Head(h.W_q.scaled("1/4"), h.W_k.scaled("1/4"), h.W_v.scaled("1/2"), h.W_o.scaled("1/2"))
            for h in layer.attention.heads
        )
    )
    token = random_matrix(rng, d, 1, size=2)
    examples = [
        Example(random_matrix(rng, d, 2, denominator=2).hstack(token), random_matrix(rng, d, 1, denominator=2))
        for _ in range(n)
    ]
    return Transformer((Layer(quarter, layer.mlp),)), Dataset(tuple(examples))


def _random_curve(seed: int, d: int, n: int, r: int, length: int | None) -> CaseResult:
    model, data = _random_data(seed, d, n, r)
    return _bounded(model, data, length)


def two_contexts(masses: Sequence[int], targets: Sequence[Sequence[int]]) -> tuple[Transformer, Dataset]:
    """Queries at x_0 = 0 with logit vector e_1 (a query bias), context masses S_k, context outputs 0, shifted
    preimages a_k (d = 2)."""
    I, zero = RationalMatrix.identity(2), RationalMatrix.zeros(2, 2)
    head = Head(zero, I, I, b_q=column_vector([1, 0]))
    model = Transformer((Layer(Attention((head,)), FeedForward.none(2)),))
    examples = [
        Example(RationalMatrix.zeros(2, mass), column_vector(list(target)))
        for mass, target in zip(masses, targets, strict=True)
    ]
    return model, Dataset(tuple(examples))


def long_example() -> tuple[Transformer, Dataset]:
    """One example, d = 1, all weights 1: c = S (a − A) = −2e^3 and g·a = 1, so ⌈2e^3⌉ = 41 tokens are needed."""
    one = RationalMatrix.of([[1]])
    model = Transformer((Layer(Attention((Head(one, one, one),)), FeedForward.none(1)),))
    return model, Dataset((Example(RationalMatrix.of([[3, 1]]), one.scaled(2)),))


def _one_example() -> CaseResult:
    model, data = long_example()
    problem = problem_of(model, data)
    possible = decide_one_query(problem).possible
    if possible is None or possible.length != 41:
        return CaseResult(Verdict.REFUTED, Evidence.EXACT, f"expected 41 tokens, found {possible}")
    summary = "one example is memorized by 41 tokens (and by no fewer: case one-example-shorter)"
    certified = f"{possible.length}, and no fewer (case one-example-shorter)"
    constant = Constant(
        "tokens for one example", "at least 1 (n for n queries, cf. Theorem 4)", certified, f"{possible.length} times"
    )
    proof = memorizable_certificate(model, problem, possible)
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, proof, constants=(constant,))


def _one_example_shorter() -> CaseResult:
    model, data = long_example()
    return _impossible(model, data, 40, "length", "no prompt of at most 40 tokens memorizes the example")


def _impossible(model: Transformer, data: Dataset, length: int | None, argument: str, summary: str) -> CaseResult:
    """Unmemorizable by ``argument`` for the one combination of preimages."""
    problem = problem_of(model, data)
    decision = decide_one_query(problem, length)
    if decision.possible is not None or [reason.argument for reason in decision.impossible] != [argument]:
        return CaseResult(Verdict.REFUTED, Evidence.EXACT, f"expected unmemorizable by {argument}, found {decision}")
    proof = impossible_certificate(model, problem, length, decision.impossible)
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, proof)


def zero_infimum_data() -> tuple[Transformer, Dataset]:
    """Two examples with equal targets and different contexts: the loss tends to 0 as the prompt's mass grows, and is
    never 0."""
    I = RationalMatrix.identity(2)
    model = Transformer((Layer(Attention((Head(I, I, I),)), FeedForward.none(2)),))
    first = Example(RationalMatrix.of([[1, 1], [2, 0]]), column_vector([1, 1]))
    second = Example(RationalMatrix.of([[0, 1], [-1, 0]]), column_vector([1, 1]))
    return model, Dataset((first, second))


def _zero_infimum() -> CaseResult:
    model, data = zero_infimum_data()
    if not infimum_is_zero(problem_of(model, data), None):
        return CaseResult(Verdict.REFUTED, Evidence.EXACT, "expected the infimum 0")
    return _impossible(model, data, None, "sign", "no prompt memorizes, yet the loss comes as close to 0 as one likes")


def _integer_mass() -> CaseResult:
    model, data = integer_mass_data()
    return _impossible(model, data, None, "integer", "the equations ask for 3/2 tokens of score 0: no prompt has them")


def integer_mass_data() -> tuple[Transformer, Dataset]:
    """q = 0 and ``s (a_1 − a_2) = C_1 − C_2`` solved by s = 3/2 alone: B_1 = (7/2, 0), B_2 = (0, 7/2)."""
    I = RationalMatrix.identity(2)
    model = Transformer((Layer(Attention((Head(I, I, I),)), FeedForward.none(2)),))
    first = Example(RationalMatrix.of([["7/2", 0], [0, 0]]), column_vector([1, 0]))
    second = Example(RationalMatrix.of([[0, 0], ["7/2", 0]]), column_vector([0, 1]))
    return model, Dataset((first, second))


def cases(settings: Settings) -> list[Case]:
    seed = settings.seed
    found = [
        Case("one-example-41-tokens", _one_example),
        Case("one-example-shorter", _one_example_shorter),
        Case("infimum-zero", _zero_infimum),
        Case("integer-masses", _integer_mass),
        Case("limit-at-small-mass", _small_mass),
    ]
    sizes: list[tuple[int, int, int, int | None]] = [(2, 2, 0, 1), (3, 2, 2, 4), (3, 4, 3, 16), (4, 3, 0, None)]
    if settings.thorough:
        sizes += [
            (d, n, r, length) for d in (1, 2, 5, 8) for n in (1, 3, 8) for r in (0, 3) for length in (1, 2, 16, None)
        ]
    for d, n, r, length in sizes:
        name = f"curve-d{d}-n{n}-mlp{r}-length-{length or 'any'}"
        found.append(Case(name, partial(_random_curve, seed, d, n, r, length)))
    return found


def _small_mass() -> CaseResult:
    """S = (2, 3), A = 0, a = (0,3), (0,2), g = e_1 (masses in units of e^{q·x_0}): the loss tends to 0 as s → 0,
    while without a prompt it is 13."""
    model, data = two_contexts((2, 3), ((0, 3), (0, 2)))
    problem = problem_of(model, data)
    if not infimum_is_zero(problem, None):
        return CaseResult(Verdict.REFUTED, Evidence.EXACT, "expected the infimum 0")
    return _bounded(model, data, 4, attack=False, expected=fmpq(0))


CLAIM = Claim(
    slug=SLUG,
    title="Prompt law, one query",
    statement=(
        "A prompt acts on a query through (p̄, S) alone, and prompts of m tokens reach exactly log S = q·p̄ + H "
        "with H = 0 (m = 1) "
        "or 0 < H ≤ log m; so the least loss at a query is a problem in one variable."
    ),
    source="THEORY section 3.1 (ours)",
    scope="the least loss for these data and prompt length, or that and with how many tokens they are memorized",
    cases=cases,
    depends=("attention-split",),
    findings=(
        Finding("One example can need arbitrarily many tokens: 41 here, and no fewer.", "one-example-41-tokens"),
        Finding("Unmemorizable does not imply a positive loss floor.", "infimum-zero"),
        Finding(
            "The limit of the loss for vanishing prompt mass is not the loss without a prompt (0 against 13).",
            "limit-at-small-mass",
        ),
    ),
    falsifier=FALSIFIER,
)
