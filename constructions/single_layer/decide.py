"""Deciding a dataset: can any prompt make this layer memorize it?

The answer is ``unmemorizable`` with a proof object, ``memorizable`` with its witness, or ``undecided`` with the reason.
Source: THEORY sections 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from flint import fmpq

from constructions.data import Dataset, Query
from constructions.numbers.exponential import ExpMatrix
from constructions.numbers.matrix import FieldError, Matrix
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.preimage import Preimage, preimage
from constructions.single_layer.separation import NoSeparation, Unmemorizable, separate, shared_heads
from constructions.transformer import Transformer
from constructions.verdict import Memorization, Undecided


@dataclass(frozen=True)
class Decision:
    """What was decided, by which argument, and what is known beside it.

    ``infimum`` (positive, zero, or None: not determined) tells whether the loss over all prompts stays away from zero;
    ``without_prompt`` whether the layer meets all targets with no prompt at all (None: not determined).
    """

    verdict: Memorization
    argument: str | None
    reason: str
    proof: Unmemorizable | None = None
    infimum: str | None = None
    minimal_prompt_length: int | None = None
    without_prompt: bool | None = None


def decide(model: Transformer, data: Dataset, prompt_length: int | None = None) -> Decision:
    """Whether some prompt (of at most ``prompt_length`` tokens; of any length when None) meets every target of
    ``data``.

    Raises ValueError when model and data do not fit each other.

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
        return undecided(f"the model has {len(model.layers)} layers; what is proved here is about a single layer")
    layer = model.layers[0]
    if layer.attention.kind != "softmax":
        return undecided("hardmax attention: a prompt can take over the whole attention, the split does not hold")
    if layer.mlp.units is not None:
        return undecided("preimages are computed for ReLU units only, this MLP has piecewise-linear ones")
    contradiction = _contradiction(queries)
    if contradiction is not None:
        return _unmemorizable(contradiction, without_prompt)

    preimages: dict[tuple[fmpq, ...], Preimage] = {}
    for query in queries:
        if query.target not in preimages:
            try:
                preimages[query.target] = preimage(layer.mlp, query.target)
            except Undecided as limit:
                return undecided(f"{query}: {limit}")
        if preimages[query.target].is_empty:
            found = Unmemorizable("out-of-range", (query,), (preimages[query.target],))
            return _unmemorizable(found, without_prompt)

    reasons = []
    for first, second in combinations(queries, 2):
        if not shared_heads(layer, first, second):
            continue
        answer = separate(layer, first, second, (preimages[first.target], preimages[second.target]))
        if isinstance(answer, Unmemorizable):
            return _unmemorizable(answer, without_prompt)
        reasons.append((first, second, answer))
    return undecided(_explain(queries, reasons))


def _unmemorizable(proof: Unmemorizable, without_prompt: bool | None) -> Decision:
    where = " and ".join(str(query) for query in proof.queries)
    how = {
        "contradictory-data": "the same input is asked for two different outputs",
        "out-of-range": "the target is no output of the MLP",
        "cone": "the output of the prompt alone would lie on two sides of a hyperplane",
        "closeness": "the two equations leave no positive mass for the prompt",
    }[proof.argument]
    return Decision(
        Memorization.UNMEMORIZABLE, proof.argument, f"{where}: {how}", proof=proof, without_prompt=without_prompt
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
