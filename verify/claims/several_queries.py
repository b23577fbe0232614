"""Claim: which data with several queries a prompt memorizes, by n² inequalities in its masses (THEORY section 3.2)."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.criterion_search import FeasiblePoint
from constructions.single_layer.decide import by_logit_vector
from constructions.single_layer.decide_several import (
    CriterionDecision,
    GroupImpossible,
    Refuted,
    SeveralQueries,
    decide_several,
    log_bracket,
    refute_length,
    shortest_found,
)
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.newton_prompt import ProvedPrompt
from constructions.single_layer.preimage import preimage
from constructions.single_layer.several_queries import System
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.boxes import box_tree, prompt_witness
from verify.claims.claim import Case, CaseResult, Claim, Finding, Settings
from verify.claims.prompt_law import finite_preimage, single_layer_instance
from verify.falsifiers.several_queries import FALSIFIER
from verify.instances import random_head, random_matrix
from verify.search import adversary

SLUG = "several-queries"


def point_certificate(model: Transformer, data: SeveralQueries, system: System, point: FeasiblePoint) -> Certificate:
    """A point at which all inequalities are strict: some prompt memorizes."""
    Q = RationalMatrix.of([group.q for group in system.groups])
    dual = Q.times(Q.T).inverse().times(Q)  # row g times q_k is 1 if g = k, else 0
    witness = {
        "points": [write.vector(z) for z in data.points(system)],
        "inverse": write.matrix(data.inverse),
        "dual": write.matrix(dual),
        "equations": _equations(data, system),
        "box": [[write.scalar(low), write.scalar(high)] for low, high in point.box],
    }
    return Certificate(SLUG, "memorizable", Evidence.EXACT, single_layer_instance(model, data.queries, None), witness)


def impossible_certificate(model: Transformer, decision: CriterionDecision) -> Certificate:
    """No prompt (of at most ``decision.length`` tokens) memorizes: for each combination a tree, or a group that
    cannot be met."""
    data, length = decision.data, decision.length
    witness = {
        "preimages": [finite_preimage(found) for found in data.preimages],
        "inverse": write.matrix(data.inverse),
        "log_length": None if length is None else [write.scalar(x) for x in log_bracket(length)],
        "combinations": [_argument(data, argument) for argument in decision.against],
    }
    instance = single_layer_instance(model, data.queries, length)
    return Certificate(SLUG, "no-prompt-memorizes", Evidence.EXACT, instance, witness)


def prompt_certificate(model: Transformer, data: SeveralQueries, system: System, proved: ProvedPrompt) -> Certificate:
    """An explicit prompt, proved by Krawczyk's test."""
    witness = {
        "points": [write.vector(z) for z in data.points(system)],
        "equations": _equations(data, system),
        **prompt_witness(proved),
    }
    instance = single_layer_instance(model, data.queries, proved.length)
    return Certificate(SLUG, "prompt", Evidence.ENCLOSED, instance, witness)


def _equations(data: SeveralQueries, system: System) -> list[list[int] | None]:
    return [None if place is None else list(place) for place in data.equation_places(system)]


def _argument(data: SeveralQueries, argument: GroupImpossible | Refuted) -> dict[str, Any]:
    if isinstance(argument, GroupImpossible):
        places = [list(place) for place in argument.places]
        if argument.argument == "masses":
            return {"argument": "masses", "equations": places}
        return {"argument": argument.argument, "equation": places[0]}
    system = argument.system
    brackets = [None if b is None else [write.scalar(x) for x in b] for b in system.brackets]
    return {
        "argument": "tree",
        "equations": _equations(data, system),
        "brackets": brackets,
        "tree": box_tree(argument.tree, system.inequalities, len(system.groups), system.length),
    }


def several_queries(model: Transformer, data: Dataset) -> SeveralQueries:
    """The queries of a one-head layer, grouped. Raises NoLossProblemError or Undecided."""
    queries = list(data.queries(model))
    layer = model.layers[0]
    problems = [
        LossProblem.of(layer, group, [preimage(layer.mlp, query.target) for query in group])
        for group in by_logit_vector(model, queries)
    ]
    return SeveralQueries.of(queries, problems)


# -- cases ----------------------------------------------------------------------------------------------------------


def random_data(rng: random.Random, d: int, n: int) -> tuple[Transformer, Dataset]:
    """A layer of width d with moderate weights and n examples of two tokens with different last tokens."""
    head = random_head(rng, d, d)
    scaled = Head(head.W_q.scaled("1/4"), head.W_k.scaled("1/2"), head.W_v.scaled("1/2"), head.W_o.scaled("1/2"))
    examples = [
        Example(random_matrix(rng, d, 2, size=4, denominator=2), random_matrix(rng, d, 1, size=4, denominator=2))
        for _ in range(n)
    ]
    return Transformer((Layer(Attention((scaled,)), FeedForward.none(d)),)), Dataset(tuple(examples))


def _decided(d: int, n: int, seed: int, expected: str) -> CaseResult:
    """The first random dataset from ``seed`` on that is decided the ``expected`` way."""
    for k in range(100):
        model, data = random_data(random.Random(f"{SLUG}/{seed}/{d}/{n}/{k}"), d, n)
        grouped = several_queries(model, data)
        decision = decide_several(grouped)
        if (decision.possible is not None) == (expected == "memorizable"):
            break
    else:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, f"no {expected} dataset among 100")
    if decision.possible is not None:
        summary = f"{n} examples, d = {d}: some prompt memorizes them"
        return CaseResult(
            Verdict.PROVED, Evidence.EXACT, summary, point_certificate(model, grouped, *decision.possible)
        )
    attack = adversary(model, data, lengths=(4, 16), restarts=2, seed=seed, max_iterations=300)
    measured = {"adversary_best_loss": float(f"{attack.loss:.6g}"), "adversary_prompt_length": attack.prompt_length}
    summary = f"{n} examples, d = {d}: no prompt of any length memorizes them"
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, impossible_certificate(model, decision), measured)


def two_token_data() -> tuple[Transformer, Dataset]:
    """d = 2, V = q-map = I, queries e_1, e_2 with contexts of output 0, and targets that a short prompt reaches."""
    I = RationalMatrix.identity(2)
    model = Transformer((Layer(Attention((Head(I, I, I),)), FeedForward.none(2)),))
    first = Example(RationalMatrix.of([[-1, 1], [0, 0]]), RationalMatrix.of([[2], ["1/5"]]))
    second = Example(RationalMatrix.of([[0, 0], [-1, 1]]), RationalMatrix.of([["1/5"], [2]]))
    return model, Dataset((first, second))


def _explicit() -> CaseResult:
    model, data = two_token_data()
    grouped = several_queries(model, data)
    decision = decide_several(grouped)
    if decision.possible is None:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, "expected memorizable data")
    system = decision.possible[0]
    proved = shortest_found(*decision.possible, 1)
    if proved is None:
        return CaseResult(Verdict.UNDECIDED, Evidence.ENCLOSED, "no explicit prompt was found")
    summary = f"an exact prompt of {proved.length} tokens lies within 2^-60 of the printed one"
    return CaseResult(Verdict.PROVED, Evidence.ENCLOSED, summary, prompt_certificate(model, grouped, system, proved))


def _length() -> CaseResult:
    """Random data that some prompt memorizes, but none of at most 2 tokens."""
    model, data = random_data(random.Random(110), 5, 2)
    proof = refute_length(several_queries(model, data), 2)
    if proof is None:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, "two tokens were not excluded")
    return CaseResult(Verdict.PROVED, Evidence.EXACT, "no two tokens memorize", impossible_certificate(model, proof))


def cases(settings: Settings) -> list[Case]:
    seed = settings.seed
    found = [Case("explicit-prompt-d2-n2", _explicit), Case("two-tokens-are-not-enough", _length)]
    sizes = [(3, 2), (4, 3), (5, 4)]
    if settings.thorough:
        sizes += [(d, n) for d in (2, 4, 6) for n in (2, 3, 4) if n <= d]
    for d, n in dict.fromkeys(sizes):
        for expected in ("memorizable", "unmemorizable"):
            found.append(Case(f"{expected}-d{d}-n{n}", partial(_decided, d, n, seed, expected)))
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Several queries",
    statement=(
        "For linearly independent logit vectors a prompt exists with given masses and means iff all entropies H_i "
        "and divergences "
        "D_ik are positive (boundary apart); so memorization is decided by n² inequalities in n masses."
    ),
    source="THEORY section 3.2 (ours)",
    scope="that some prompt memorizes these data, or that none does, or an explicit prompt",
    cases=cases,
    depends=("prompt-law",),
    findings=(
        Finding("Memorization by prompts is decidable for independent queries and one head.", "memorizable-d4-n3"),
    ),
    falsifier=FALSIFIER,
)
