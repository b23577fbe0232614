"""A prompt beside a low-rank update beside full fine-tuning: how many parameters does it take to memorize given data?

Source: THEORY sections 3, 4 and 5 (the comparison of section 5 of the paper).
"""

from __future__ import annotations

from dataclasses import dataclass

from constructions.data import Dataset, Query
from constructions.single_layer.decide import Decision, decide
from constructions.single_layer.low_rank import NoUpdateError, TriangularUpdate, triangular_update
from constructions.single_layer.preimage import preimage
from constructions.single_layer.prompt_length import TooShort, too_short
from constructions.transformer import Layer, Transformer
from constructions.verdict import Memorization, Undecided


@dataclass(frozen=True)
class Comparison:
    """What is proved of each way to memorize. ``at_least`` and ``at_most`` are numbers of prompt tokens (``at_most``
    None: no explicit prompt; both None for data that no prompt memorizes); ``update`` is a low-rank update of the MLP,
    or ``no_update`` says why there is none; ``full`` counts all weights of the layer."""

    decision: Decision
    width: int
    at_least: int | None
    at_most: int | None
    rank_bound: TooShort | None
    update: TriangularUpdate | None
    no_update: str | None
    queries: tuple[Query, ...]
    full: int


def compare(model: Transformer, data: Dataset) -> Comparison:
    """Raises ValueError when model and data do not fit each other; where nothing is proved the bounds are trivial."""
    decision = decide(model, data, explicit=True)
    layer = model.layers[0]
    queries = _different(list(data.queries(model)))
    wanted = decision.verdict is not Memorization.UNMEMORIZABLE and not decision.without_prompt
    bound = _rank_bound(model, queries) if wanted else None  # it is about prompts of one token or more
    at_least: int | None = 1 if decision.without_prompt is False else 0
    at_most: int | None = None
    if decision.verdict is Memorization.UNMEMORIZABLE or (bound is not None and bound.length is None):
        at_least = None
    else:
        lower = [at_least or 0]
        if bound is not None and bound.length is not None:
            lower.append(bound.length + 1)
        if decision.several is not None and decision.several.too_short is not None:
            lower.append((decision.several.too_short.length or 0) + 1)
        if decision.minimal_prompt_length is not None and not decision.without_prompt:
            lower.append(decision.minimal_prompt_length)
        at_least = max(lower)
        at_most = 0 if decision.without_prompt else _shortest(decision)
    update, reason = None, None
    try:
        if len(model.layers) > 1:
            raise NoUpdateError(f"the model has {len(model.layers)} layers; the update is for a single layer")
        if model.E is not None:
            raise NoUpdateError("positional embedding: it fixes the prompt length, the update is for no prompt")
        if layer.attention.kind != "softmax":
            raise NoUpdateError("hardmax attention: features are computed for softmax")
        update = triangular_update(layer, queries)
    except NoUpdateError as error:
        reason = str(error)
    return Comparison(
        decision, model.width, at_least, at_most, bound, update, reason, tuple(queries), parameter_count(model)
    )


def parameter_count(model: Transformer) -> int:
    """All entries of all weights and biases (an MLP with no hidden units has none)."""

    def layer_count(layer: Layer) -> int:
        heads = sum(
            matrix.shape[0] * matrix.shape[1]
            for head in layer.attention.heads
            for matrix in (head.W_q, head.W_k, head.W_v, head.W_o)
        )
        mlp = layer.mlp
        return heads + (0 if mlp.hidden == 0 else 2 * mlp.hidden * mlp.width + mlp.hidden + mlp.width)

    return sum(layer_count(layer) for layer in model.layers)


def _different(queries: list[Query]) -> list[Query]:
    """Each query once."""
    seen: dict[tuple[object, ...], Query] = {}
    for query in queries:
        seen.setdefault((tuple(query.token), query.context, query.target), query)
    return list(seen.values())


def _rank_bound(model: Transformer, queries: list[Query]) -> TooShort | None:
    layer = model.layers[0]
    if len(model.layers) > 1 or model.E is not None or layer.attention.kind != "softmax" or layer.mlp.units is not None:
        return None
    try:
        return too_short(layer, queries, [preimage(layer.mlp, query.target) for query in queries])
    except Undecided:
        return None


def _shortest(decision: Decision) -> int | None:
    lengths = [decision.minimal_prompt_length]
    for answer in (decision.several, decision.heads):
        if answer is not None and answer.proved is not None:
            lengths.append(answer.proved.length)
    known = [length for length in lengths if length is not None]
    return min(known) if known else None
