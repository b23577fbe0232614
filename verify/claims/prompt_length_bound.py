"""Claim: how long a prompt must be (THEORY section 4): the rank bound, tight, empty, and with several heads."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from flint import fmpq

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.decide import decide
from constructions.single_layer.independence import IndependenceTree, LambdaCut
from constructions.single_layer.preimage import preimage
from constructions.single_layer.prompt_length import (
    NotTightError,
    PromptDataset,
    Tight,
    TooShort,
    empty_bound_dataset,
    isotropic_dataset,
    meets,
    naive_dataset,
    one_token_two_heads,
    prove_independent,
    prove_tight,
    tight_dataset,
    too_short,
)
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence, Memorization, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims import several_queries
from verify.claims.claim import Case, CaseResult, Claim, Constant, Finding, Settings
from verify.claims.prompt_law import finite_preimage, single_layer_instance
from verify.falsifiers.prompt_length_bound import FALSIFIER
from verify.instances import random_mlp
from verify.search import adversary

SLUG = "prompt-length-bound"


def _tree(tree: IndependenceTree) -> dict[str, Any]:
    if isinstance(tree, LambdaCut):
        return {
            "pair": tree.pair,
            "at": write.scalar(tree.at),
            "below": _tree(tree.below),
            "above": _tree(tree.above),
        }
    return {"rows": write.matrix(tree.rows), "weights": write.vector(tree.weights)}


def too_short_certificate(model: Transformer, found: TooShort) -> Certificate:
    """No prompt of at most ``found.length`` tokens meets every query."""
    witness = {
        "queries": list(found.used),
        "preimages": [finite_preimage(each) for each in found.preimages],
        "combinations": [_tree(tree) for tree in found.trees],
    }
    instance = single_layer_instance(model, found.queries, found.length)
    return Certificate(SLUG, "too-short", Evidence.EXACT, instance, witness)


def _inputs(data: PromptDataset) -> dict[str, Any]:
    return {
        "layer": write.layer(Transformer((data.layer,))),
        "inputs": [{"X": write.matrix(X), "column": X.shape[1] - 1} for X in data.inputs],
        "prompt": write.matrix(data.prompt),
    }


def tight_certificate(found: Tight) -> Certificate:
    """No prompt of at most ``found.length`` tokens gives the outputs of the dataset's own prompt."""
    instance = {**_inputs(found.data), "length": None if found.length is None else write.integer(found.length)}
    witness = {"factor": write.matrix(found.factor), "tree": _tree(found.tree)}
    return Certificate(SLUG, "tight", Evidence.EXACT, instance, witness)


def independent_certificate(data: PromptDataset, tree: IndependenceTree) -> Certificate:
    """Fewer tokens than independent contributions."""
    return Certificate(SLUG, "independent", Evidence.EXACT, _inputs(data), {"tree": _tree(tree)})


def prompt_certificate(model: Transformer, data: Dataset, prompt: RationalMatrix) -> Certificate:
    """This very prompt meets every query; MLPs without hidden units or with one preimage point."""
    queries = list(data.queries(model))
    points = []
    for query in queries:
        found = preimage(model.layers[0].mlp, query.target)
        points.append(next(z for z in found.points or [] if meets(model.layers[0], query, prompt, z)))
    instance = {
        "layer": write.layer(model),
        "queries": [write.query(query) for query in queries],
        "prompt": write.matrix(prompt),
    }
    return Certificate(SLUG, "prompt", Evidence.EXACT, instance, {"points": [write.vector(z) for z in points]})


# -- cases ----------------------------------------------------------------------------------------------------------


def _tight(d: int, n: int, seed: int, hidden: int = 0) -> CaseResult:
    mlp = random_mlp(random.Random(f"{SLUG}/{seed}/{d}"), d, hidden, contractive=True) if hidden else None
    try:
        found = prove_tight(tight_dataset(d, n, seed, mlp))
    except NotTightError as error:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, str(error))
    summary = f"d = {d}: {n} tokens memorize {n} examples, and {found.length} do not"
    data = found.data.rounded()
    model = Transformer((found.data.layer,))
    attack = adversary(model, data, lengths=(n - 1,), restarts=3, seed=seed, max_iterations=400)
    measured = {"best_loss_with_one_token_less": float(f"{attack.loss:.6g}")}
    constant = Constant(
        f"tokens for {n} independent queries, d = {d}",
        f"at least {n} (cf. Theorem 4)",
        f"{n} serve, {found.length} do not",
        "none: met",
    )
    return CaseResult(
        Verdict.PROVED, Evidence.EXACT, summary, tight_certificate(found), measured, constants=(constant,)
    )


def _isotropic(d: int, n: int, seed: int) -> CaseResult:
    rng = random.Random(f"{SLUG}/isotropic/{seed}/{d}")

    def matrix(size: int) -> RationalMatrix:
        return RationalMatrix.of([[fmpq(rng.randint(-size, size), 4) for _ in range(d)] for _ in range(d)])

    layer = Layer(Attention((Head(matrix(3), matrix(3), matrix(6)),)), FeedForward.none(d))
    try:
        found = prove_tight(isotropic_dataset(layer, n, seed))
    except NotTightError as error:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, str(error))
    summary = f"any weights, d = {d}: {n} tokens memorize {n} examples, and {found.length} do not"
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, tight_certificate(found))


def parallel_data(d: int, n: int, seed: int) -> tuple[Transformer, Dataset]:
    """Rational data with a_i = α_i v_i and A_i = β_i v_i, α_i/β_i outside of (0, 1): logits zero, so A_i is the mean of
    the context's values."""
    rng = random.Random(f"{SLUG}/parallel/{seed}/{d}/{n}")
    I = RationalMatrix.identity(d)
    layer = Layer(Attention((Head(RationalMatrix.zeros(d, d), I, I),)), FeedForward.none(d))
    while True:
        v = [[fmpq(rng.randint(-3, 3)) for _ in range(d)] for _ in range(n)]
        if RationalMatrix.of(v).rank() == n:
            break
    examples = []
    for direction in v:
        beta, alpha = rng.choice([(0, 2), (1, 1), (1, -1), (2, 3), (-1, 1)])
        x = [fmpq(rng.randint(-2, 2)) for _ in range(d)]
        first = [2 * beta * y - z for y, z in zip(direction, x, strict=True)]  # the mean of both is β v
        target = [alpha * y + z for y, z in zip(direction, x, strict=True)]
        examples.append(Example(RationalMatrix.of_columns([first, x]), RationalMatrix.of_columns([target])))
    return Transformer((layer,)), Dataset(tuple(examples))


def _too_short(d: int, n: int, seed: int) -> CaseResult:
    model, data = parallel_data(d, n, seed)
    layer, queries = model.layers[0], list(data.queries(model))
    found = too_short(layer, queries, [preimage(layer.mlp, query.target) for query in queries])
    if found is None or found.length is None or len(found.used) < n:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, "the contributions were not shown to be independent")
    summary = f"d = {d}: no prompt of at most {found.length} tokens memorizes these {n} examples"
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, too_short_certificate(model, found))


def _empty_bound() -> CaseResult:
    """The bound holds with two tokens; no prompt of any length memorizes."""
    model, data = empty_bound_dataset()
    layer, queries = model.layers[0], list(data.queries(model))
    found = too_short(layer, queries, [preimage(layer.mlp, query.target) for query in queries])
    if found is None or found.length != 1:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, "the bound of two tokens was not shown")
    return CaseResult(
        Verdict.PROVED, Evidence.EXACT, "two examples: the bound says two tokens", too_short_certificate(model, found)
    )


def _empty() -> CaseResult:
    model, data = empty_bound_dataset()
    decision = decide(model, data)
    if decision.verdict is not Memorization.UNMEMORIZABLE or decision.several is None:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, "expected unmemorizable data")
    assert decision.several.against is not None
    summary = "the same two examples: no prompt of any length memorizes them"
    certificate = several_queries.impossible_certificate(model, decision.several.against)
    constant = Constant(
        "tokens for two queries that block each other", "at least 2", "no number is enough", "unbounded"
    )
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, certificate, constants=(constant,))


def _naive(d: int, n: int, seed: int) -> CaseResult:
    model, data, prompt = naive_dataset(d, n, seed)
    summary = f"{n} examples with independent targets, and one zero token memorizes them"
    tokens = prompt.shape[1]
    constant = Constant(
        f"tokens for {n} queries with independent targets alone",
        f"{n} (naive)",
        f"{tokens} serves",
        f"{n - tokens} fewer",
    )
    proof = prompt_certificate(model, data, prompt)
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, proof, constants=(constant,))


def _two_heads() -> CaseResult:
    data = one_token_two_heads()
    try:
        tree = prove_independent(data)
    except NotTightError as error:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, str(error))
    summary = "two heads: two independent contributions, and one token gives them"
    constant = Constant("tokens for 2 independent queries, 2 heads", "2 (so for one head)", "1 serves", "1 fewer")
    proof = independent_certificate(data, tree)
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, proof, constants=(constant,))


def cases(settings: Settings) -> list[Case]:
    seed = settings.seed
    found = [
        Case("tight-d2-n2", partial(_tight, 2, 2, seed)),
        Case("tight-d4-n3-mlp3", partial(_tight, 4, 3, seed, 3)),
        Case("tight-d5-n5", partial(_tight, 5, 5, seed)),
        Case("tight-any-weights-d3-n2", partial(_isotropic, 3, 2, seed)),
        Case("parallel-d4-n3", partial(_too_short, 4, 3, seed)),
        Case("empty-bound", _empty_bound),
        Case("empty", _empty),
        Case("naive-d3-n3", partial(_naive, 3, 3, seed)),
        Case("one-token-two-heads", _two_heads),
    ]
    if settings.thorough:
        found += [Case(f"tight-d{d}-n{n}", partial(_tight, d, n, seed)) for d in (3, 6, 7, 8) for n in range(2, d + 1)]
        found += [Case(f"parallel-d{d}-n{d}", partial(_too_short, d, d, seed)) for d in (2, 3, 6)]
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Length of a prompt",
    statement=(
        "n queries whose contributions a_i − λ_i A_i are independent for all weights λ need n tokens, nd parameters; "
        "with h heads only Σ_j min(m, s_j) ≥ n follows. The bound is met for every n ≤ d, and it can be empty."
    ),
    source="Theorem 4 of the paper; THEORY section 4 (tight, empty and several heads: ours)",
    scope="that no prompt of so many tokens serves these data, or that this prompt does",
    cases=cases,
    depends=("several-queries",),
    findings=(
        Finding("The lower bound n is attained, for every n ≤ d.", "tight-d5-n5"),
        Finding("The lower bound can be empty: data that no prompt of any length memorizes.", "empty"),
        Finding("Independent targets alone bound nothing: one zero token serves n of them.", "naive-d3-n3"),
        Finding("With several heads one token can give two independent contributions.", "one-token-two-heads"),
    ),
    falsifier=FALSIFIER,
)
