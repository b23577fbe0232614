"""Deciding a dataset: can any prompt make this layer memorize it?

The answer is ``unmemorizable`` with a proof object, ``memorizable`` with its witness, or ``undecided`` with the reason.
Source: THEORY sections 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from flint import fmpq

from constructions.data import Dataset, Query
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.matrix import FieldError, Matrix
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.decide_heads import HeadsAnswer, answer_heads, search_prompt
from constructions.single_layer.decide_several import SeveralAnswer, SeveralQueries, answer_several
from constructions.single_layer.loss_problem import LossProblem, NoLossProblemError
from constructions.single_layer.one_query import OneQueryDecision, decide_one_query, infimum_is_zero
from constructions.single_layer.preimage import Preimage, preimage
from constructions.single_layer.separation import NoSeparation, Unmemorizable, separate, shared_heads
from constructions.single_layer.several_heads import SeveralHeads
from constructions.transformer import Transformer
from constructions.verdict import Memorization, Undecided


@dataclass(frozen=True)
class Decision:
    """What was decided, by which argument, and what is known beside it.

    ``proof`` is the pair of queries that no prompt meets, ``one_query`` the exact solution of a group of queries with
    one logit vector. ``infimum`` (positive, zero, or None: not determined) tells whether the loss over all allowed
    prompts stays away from zero; ``without_prompt`` whether the layer meets all targets with no prompt at all (None:
    not determined).
    """

    verdict: Memorization
    argument: str | None
    reason: str
    proof: Unmemorizable | None = None
    one_query: OneQueryDecision | None = None
    several: SeveralAnswer | None = None
    heads: HeadsAnswer | None = None
    infimum: str | None = None
    minimal_prompt_length: int | None = None
    without_prompt: bool | None = None


def decide(model: Transformer, data: Dataset, prompt_length: int | None = None, *, explicit: bool = False) -> Decision:
    """Whether some prompt (of at most ``prompt_length`` tokens; of any length when None) meets every target of
    ``data``.

    ``explicit`` asks for an explicit prompt also where finding one takes a search. Raises ValueError when model and
    data do not fit each other.

    >>> from constructions.data import Example
    >>> from constructions.transformer import Attention, FeedForward, Head, Layer
    >>> I = RationalMatrix.identity(2)
    >>> model = Transformer((Layer(Attention((Head(I, I, I),)), FeedForward.none(2)),))
    >>> X = RationalMatrix.of([[1, 0], [2, 1]])
    >>> data = Dataset((Example(X, RationalMatrix.of([[1], [0]])), Example(X, RationalMatrix.of([[0], [1]]))))
    >>> decide(model, data).argument
    'contradictory-data'
    """
    queries = list(data.queries(model))
    if model.E is not None and prompt_length is not None:
        fixed = model.E.shape[1] - data.examples[0].X.shape[1]
        if fixed > prompt_length:
            raise ValueError(f"prompt length: E fixes it to {fixed}, which exceeds the allowed {prompt_length}")
    without_prompt = meets_targets_without_prompt(model, data)

    def undecided(reason: str) -> Decision:
        return Decision(Memorization.UNDECIDED, None, reason, without_prompt=without_prompt)

    if len(model.layers) > 1:
        return undecided(
            f"the model has {len(model.layers)} layers; what is proved here is about a single layer "
            "(promptcert depth says what is known of several)"
        )
    layer = model.layers[0]
    if layer.attention.kind != "softmax":
        return undecided("hardmax attention: a prompt can take over the whole attention, the split does not hold")
    if layer.mlp.units is not None:
        return undecided("preimages are computed for ReLU units only, this MLP has piecewise-linear ones")
    contradiction = _contradiction(queries)
    if contradiction is not None:
        return _unmemorizable(contradiction, without_prompt, "positive")

    preimages: dict[tuple[fmpq, ...], Preimage] = {}
    for query in queries:
        if query.target not in preimages:
            try:
                preimages[query.target] = preimage(layer.mlp, query.target)
            except Undecided as limit:
                return undecided(f"{query}: {limit}")
        if preimages[query.target].is_empty:
            found = Unmemorizable("out-of-range", (query,), (preimages[query.target],))
            return _unmemorizable(found, without_prompt, None)

    groups, why_not = _loss_problems(model, queries, preimages)
    infimum = _infimum(groups, prompt_length)
    reasons = []
    for first, second in combinations(queries, 2):
        if not shared_heads(layer, first, second):
            continue
        answer = separate(layer, first, second, (preimages[first.target], preimages[second.target]))
        if isinstance(answer, Unmemorizable):
            return _unmemorizable(answer, without_prompt, infimum)
        reasons.append((first, second, answer))

    solved = [decide_one_query(problem, prompt_length) for problem in groups]
    for group in solved:
        if not group.memorizable and group.undecided is None:
            return _one_query_against(group, len(solved) == 1, without_prompt, infimum)
    if len(solved) == 1 and solved[0].possible is not None:
        needed = solved[0].possible.written_length
        number = (
            f"a number of tokens of {solved[0].possible.length.bit_length()} bits"
            if needed is None
            else (f"{needed} tokens")
        )
        reason = f"the {len(queries)} queries share one logit vector, and the prompt law is met with {number}"
        shortest = None if solved[0].undecided else needed
        return Decision(
            Memorization.MEMORIZABLE,
            "one-query",
            reason,
            one_query=solved[0],
            infimum="zero",
            minimal_prompt_length=shortest,
            without_prompt=without_prompt,
        )
    if model.E is None and (len(layer.attention.heads) > 1 or len(solved) > 1):
        try:
            pairs = SeveralHeads.of(layer, queries, [preimages[query.target] for query in queries])
            if len(solved) > 1 and layer.attention.heads[0].V.is_invertible:
                criterion = _several(queries, groups, prompt_length, explicit, infimum, without_prompt)
                if criterion.verdict is not Memorization.UNDECIDED:
                    return criterion
                short = search_prompt(pairs, prompt_length)
                return criterion if short is None else _heads(short, infimum, without_prompt)
            return _heads(answer_heads(pairs, prompt_length, explicit=explicit), infimum, without_prompt)
        except Undecided as limit:
            return undecided(str(limit))
    boundary = next((group.undecided for group in solved if group.undecided), None)
    return undecided(boundary or why_not or _explain(queries, reasons))


def _several(
    queries: list[Query],
    groups: list[LossProblem],
    prompt_length: int | None,
    explicit: bool,
    infimum: str | None,
    without_prompt: bool | None,
) -> Decision:
    """Several logit vectors, each group of queries solvable by itself."""
    try:
        answer = answer_several(SeveralQueries.of(queries, groups), prompt_length, explicit=explicit)
    except Undecided as limit:
        return Decision(Memorization.UNDECIDED, None, str(limit), without_prompt=without_prompt)
    how = f"{len(groups)} different logit vectors"
    if answer.against is not None:
        return Decision(
            Memorization.UNMEMORIZABLE,
            "several-queries",
            f"{how}: the entropies and divergences that every allowed prompt has cannot all be non-negative",
            several=answer,
            infimum=infimum,
            without_prompt=without_prompt,
        )
    reason = f"{how}: entropies and divergences can all be positive, so some prompt has them"
    if answer.too_short is not None:
        reason += f"; it needs more than {answer.too_short.length} tokens"
    if answer.proved is not None:
        reason += f"; one of {answer.proved.length} tokens is proved"
    return Decision(
        Memorization.MEMORIZABLE,
        "several-queries",
        reason,
        several=answer,
        infimum="zero",
        minimal_prompt_length=answer.minimal_length,
        without_prompt=without_prompt,
    )


def _heads(answer: HeadsAnswer, infimum: str | None, without_prompt: bool | None) -> Decision:
    """Several heads, or one of a size below the width with several logit vectors."""
    count = len(answer.data.pairs.heads)
    how = "one head" if count == 1 else f"{count} heads"
    if answer.against is not None:
        return Decision(
            Memorization.UNMEMORIZABLE,
            "several-heads",
            f"{how}: what the heads are to give contradicts the entropies and divergences of every allowed prompt, or "
            "itself",
            heads=answer,
            infimum=infimum,
            without_prompt=without_prompt,
        )
    if answer.peeled is not None:
        reason = f"{how}, different logit vectors throughout: they can be peeled off one by one"
    elif answer.shared is not None:
        reason = f"{how}: the logit vectors are independent in what the heads do not see, and shared ones agree"
    else:
        reason = f"{how}: no theorem decides these data, a search does"
    if answer.proved is not None:
        reason += f"; a prompt of {answer.proved.length} tokens is proved"
    elif answer.clusters is not None:
        reason += f"; the prompt of the proof has about 10^{answer.clusters.log10_length:.0f} tokens"
    return Decision(
        Memorization.MEMORIZABLE,
        "several-heads" if answer.peeled is None else "peeling",
        reason,
        heads=answer,
        infimum="zero",
        without_prompt=without_prompt,
    )


def _loss_problems(
    model: Transformer, queries: list[Query], preimages: dict[tuple[fmpq, ...], Preimage]
) -> tuple[list[LossProblem], str | None]:
    """The queries grouped by logit vector, each group as a one-query problem; none, with the reason, where that does
    not apply."""
    layer = model.layers[0]
    if model.E is not None:
        return [], "the embedding E fixes the prompt length; no pair of queries is separated"
    if len(layer.attention.heads) > 1:
        return [], None
    try:
        return [
            LossProblem.of(layer, group, [preimages[query.target] for query in group])
            for group in by_logit_vector(model, queries)
        ], None
    except NoLossProblemError as reason:
        return [], f"{reason}; no pair of queries is separated"


def by_logit_vector(model: Transformer, queries: list[Query]) -> list[list[Query]]:
    """The queries of a one-head layer grouped by their logit vector, in order of appearance."""
    head = model.layers[0].attention.heads[0]
    vectors = head.logit_vectors(RationalMatrix.of_columns([query.token for query in queries]))
    groups: dict[tuple[fmpq, ...], list[Query]] = {}
    for k, query in enumerate(queries):
        groups.setdefault(tuple(vectors.column(k)), []).append(query)
    return list(groups.values())


def _infimum(groups: list[LossProblem], prompt_length: int | None) -> str | None:
    """Positive if the loss of one group stays away from zero, zero if there is one group and its loss does not."""
    for problem in groups:
        decision = decide_one_query(problem, prompt_length)
        if decision.undecided is not None:
            return None
        if not decision.memorizable and not infimum_is_zero(problem, prompt_length):
            return "positive"
    return "zero" if len(groups) == 1 else None


def _one_query_against(
    group: OneQueryDecision, alone: bool, without_prompt: bool | None, infimum: str | None
) -> Decision:
    how = {
        "range": "a shifted preimage is not in the range of V",
        "sign": "the equations have no solution with positive prompt mass",
        "masses": "the equations ask for two different prompt masses",
        "entropy": "the mass that the equations ask for is outside what the prompt law allows",
        "integer": "the equations ask for a number of tokens that is not allowed",
        "length": "more tokens are needed than allowed",
    }
    arguments = list(dict.fromkeys(reason.argument for reason in group.impossible))
    where = ", ".join(str(query) for query in group.problem.queries)
    unlimited = decide_one_query(group.problem) if group.length is not None else group
    shortest = None if unlimited.possible is None or unlimited.undecided else unlimited.possible.written_length
    reason = f"{where}: " + "; ".join(how[argument] for argument in arguments)
    if shortest is not None:
        reason += f" ({shortest} tokens would do for these)"
    return Decision(
        Memorization.UNMEMORIZABLE,
        "one-query",
        reason,
        one_query=group,
        infimum=infimum,
        minimal_prompt_length=shortest if alone else None,
        without_prompt=without_prompt,
    )


def _unmemorizable(proof: Unmemorizable, without_prompt: bool | None, infimum: str | None) -> Decision:
    where = " and ".join(str(query) for query in proof.queries)
    how = {
        "contradictory-data": "the same input is asked for two different outputs",
        "out-of-range": "the target is no output of the MLP",
        "cone": "the output of the prompt alone would lie on two sides of a hyperplane",
        "closeness": "the two equations leave no positive mass for the prompt",
    }[proof.argument]
    return Decision(
        Memorization.UNMEMORIZABLE,
        proof.argument,
        f"{where}: {how}",
        proof,
        infimum=infimum,
        without_prompt=without_prompt,
    )


def _contradiction(queries: list[Query]) -> Unmemorizable | None:
    seen: dict[tuple[RationalMatrix, tuple[fmpq, ...]], Query] = {}
    for query in queries:
        other = seen.setdefault((query.context, tuple(query.token)), query)
        if other.target != query.target:
            return Unmemorizable("contradictory-data", (other, query))
    return None


def _explain(queries: list[Query], failures: list[tuple[Query, Query, NoSeparation]]) -> str:
    if failures:
        first, second, answer = failures[0]
        return f"{first} and {second}: {answer.reason}; no pair of queries is separated"
    if len(queries) == 1:
        return "a single query: no pair to separate"
    return "no two queries share a logit vector at any head"


def meets_targets_without_prompt(model: Transformer, data: Dataset) -> bool | None:
    """Whether the model meets every target with no prompt, decided exactly; None where that is not decided (an
    embedding that leaves room for a prompt, softmax at depth 2 or more)."""
    if model.E is not None:
        return None
    for query in data.queries(model):
        target = column_vector(list(query.target))
        output: Matrix
        try:
            output = (
                model(query.X).columns(query.column, query.column + 1)
                if len(model.layers) > 1
                else (model.layers[0].output(query.X, query.column))
            )
        except FieldError:
            return None
        if isinstance(output, RationalMatrix):
            output = ExpMatrix.embed(output)
        if output != ExpMatrix.embed(target):
            return False
    return True
