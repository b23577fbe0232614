"""What queries ask of a prompt, computed a second time: by the model's own attention, head by head, in balls."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import flint
from flint import arb, arb_mat, fmpq

from constructions.data import Dataset, Example, Query
from constructions.numbers.exponential import ExpFraction
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.context import HeadView
from constructions.single_layer.independence import Box, Contribution, DominantRows, IndependenceTree
from constructions.single_layer.preimage import preimage
from constructions.single_layer.prompt_length import PromptDataset, TooShort, too_short
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from verify.instances import random_matrix

PRECISION = 256
Row = list[fmpq]


def attention_output(attention: Attention, X: RationalMatrix) -> ExpMatrix:
    """At the last token of X, over X."""
    output = attention(X.columns(X.shape[1] - 1, X.shape[1]), X)
    return output if isinstance(output, ExpMatrix) else ExpMatrix.embed(output)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Asked:
    """``output`` (d) and what each head gives on the context alone (h×d): the contribution is output − Σ λ_j A_j."""

    output: list[ExpFraction]
    heads: list[list[ExpFraction]]

    @classmethod
    def of(cls, layer: Layer, X: RationalMatrix, output: Sequence[ExpFraction]) -> Asked:
        heads = [attention_output(Attention((head,)), X).column(0) for head in layer.attention.heads]
        return cls(list(output), heads)

    def contribution(self, weights: Sequence[fmpq]) -> list[arb]:
        """At the weights λ_1, …, λ_h, at flint's precision."""
        found = [x.enclosure() for x in self.output]
        for weight, A in zip(weights, self.heads, strict=True):
            found = [x - arb(weight) * y.enclosure() for x, y in zip(found, A, strict=True)]
        return found


def asked_by_prompt(data: PromptDataset) -> list[Asked]:
    """The outputs are those that the model gives with the dataset's prompt."""
    found = []
    for X in data.inputs:
        x, seen = X.columns(X.shape[1] - 1, X.shape[1]), data.prompt.hstack(X)
        output = data.layer.attention(x, seen)
        assert isinstance(output, ExpMatrix)
        found.append(Asked.of(data.layer, X, output.column(0)))
    return found


def asked_by_queries(layer: Layer, queries: Sequence[Query], points: Sequence[Sequence[fmpq]]) -> list[Asked]:
    """The outputs are z_k − x_k."""
    found = []
    for query, z in zip(queries, points, strict=True):
        output = [ExpFraction.of(a - b) for a, b in zip(z, query.token, strict=True)]
        found.append(Asked.of(layer, query.context, output))
    return found


def independent_at(asked: Sequence[Asked], weights: Sequence[Sequence[fmpq]]) -> bool:
    """Whether the Gram determinant of the contributions is positive, proved in balls."""
    with flint.ctx.workprec(PRECISION):
        rows = [each.contribution(row) for each, row in zip(asked, weights, strict=True)]
        matrix = arb_mat(rows)
        return bool((matrix * matrix.transpose()).det() > 0)


def random_weights(rng: random.Random, n: int, h: int) -> list[Row]:
    """A point of the open cube, often near its boundary."""

    def one() -> fmpq:
        x = fmpq(rng.randint(1, 999), 1000)
        return x * fmpq(1, 10**6) if rng.random() < 0.2 else 1 - x * fmpq(1, 10**6) if rng.random() < 0.2 else x

    return [[one() for _ in range(h)] for _ in range(n)]


def leaf_at(tree: IndependenceTree, weights: Sequence[Sequence[fmpq]]) -> DominantRows:
    """The leaf whose box holds a point."""
    flat = [x for row in weights for x in row]
    while not isinstance(tree, DominantRows):
        tree = tree.below if flat[tree.pair] <= tree.at else tree.above
    return tree


def leaves(tree: IndependenceTree, box: Box) -> Iterator[tuple[Box, DominantRows]]:
    if isinstance(tree, DominantRows):
        yield box, tree
        return
    low, high = box[tree.pair]
    at = max(low, min(tree.at, high))
    for part, child in (((low, at), tree.below), ((at, high), tree.above)):
        yield from leaves(child, (*box[: tree.pair], part, *box[tree.pair + 1 :]))


def dominant_at(asked: Sequence[Asked], leaf: DominantRows, weights: Sequence[Sequence[fmpq]]) -> bool:
    """Whether the rows, applied to the contributions at one point, make a matrix that is strictly diagonally dominant
    after its columns are scaled by the leaf's weights and by T_k, the product of all denominators; in balls."""
    with flint.ctx.workprec(PRECISION):
        vectors = [each.contribution(row) for each, row in zip(asked, weights, strict=True)]
        scales = []
        for each, weight in zip(asked, leaf.weights, strict=True):
            scale = arb(weight) * each.output[0].denominator.enclosure()
            for A in each.heads:
                scale *= A[0].denominator.enclosure()
            scales.append(scale)
        for i, r in enumerate(leaf.rows.rows()):
            sizes = [
                scale * sum((arb(x) * y for x, y in zip(r, v, strict=True)), arb(0))
                for scale, v in zip(scales, vectors, strict=True)
            ]
            rest = sum((abs(x) for k, x in enumerate(sizes) if k != i), arb(0))
            if not sizes[i] > rest:
                return False
    return True


def demand_tree(tree: IndependenceTree, asked: Sequence[Asked], rng: random.Random, samples: int = 5) -> None:
    """Everything that a tree says, at random weights: its leaf dominates there, and the contributions are
    independent."""
    n, h = len(asked), len(asked[0].heads)
    for _ in range(samples):
        weights = random_weights(rng, n, h)
        assert dominant_at(asked, leaf_at(tree, weights), weights)
        assert independent_at(asked, weights)
    whole = ((fmpq(0), fmpq(1)),) * (n * h)
    for box, leaf in leaves(tree, whole):
        assert all(low < high for low, high in box)
        inside = [low + (high - low) * fmpq(rng.randint(1, 99), 100) for low, high in box]
        assert dominant_at(asked, leaf, [inside[k * h : (k + 1) * h] for k in range(n)])


# -- instances --------------------------------------------------------------------------------------------------------


def parallel(d: int, ratios: Sequence[tuple[int, int]], seed: int = 0) -> tuple[Transformer, Dataset]:
    """a_i = α_i v_i and A_i = β_i v_i for (α_i, β_i) in ``ratios``, v_i independent as far as d allows; all logits are
    zero, so that A_i is the mean of the context's tokens."""
    rng = random.Random(f"parallel/{d}/{seed}/{ratios}")
    I = RationalMatrix.identity(d)
    layer = Layer(Attention((Head(RationalMatrix.zeros(d, d), I, I),)), FeedForward.none(d))
    n = len(ratios)
    while True:
        v = random_matrix(rng, n, d)
        if v.rank() == min(n, d):
            break
    examples = []
    for (alpha, beta), direction in zip(ratios, v.rows(), strict=True):
        x = random_matrix(rng, d, 1, size=2).column(0)
        first = [2 * beta * y - z for y, z in zip(direction, x, strict=True)]
        target = [alpha * y + z for y, z in zip(direction, x, strict=True)]
        examples.append(Example(RationalMatrix.of_columns([first, x]), column_vector(target)))
    return Transformer((layer,)), Dataset(tuple(examples))


def bound_of(model: Transformer, data: Dataset) -> TooShort | None:
    layer, queries = model.layers[0], list(data.queries(model))
    return too_short(layer, queries, [preimage(layer.mlp, query.target) for query in queries])


def random_asked(seed: int) -> tuple[Layer, list[Query], list[Contribution]]:
    """Random contexts and outputs of width 2 to 4 under one or two heads. Seeds 11, 19, 26, 32 and 47 need cuts."""
    rng = random.Random(f"cuts/{seed}")
    d, h = 2 + seed % 3, 1 + seed % 2
    heads = tuple(Head(*[random_matrix(rng, d, d, denominator=4) for _ in range(3)]) for _ in range(h))
    layer = Layer(Attention(heads), FeedForward.none(d))
    model, n = Transformer((layer,)), rng.randint(2, d)
    examples = [
        Example(random_matrix(rng, d, 3, size=4, denominator=2), random_matrix(rng, d, 1, size=6)) for _ in range(n)
    ]
    queries = list(Dataset(tuple(examples)).queries(model))
    found = []
    for query in queries:
        views = [HeadView.of(head, query.token, query.context) for head in heads]
        found.append(Contribution.rational([y - x for y, x in zip(query.target, query.token, strict=True)], views))
    return layer, queries, found
