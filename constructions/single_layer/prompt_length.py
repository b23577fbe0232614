"""How long a prompt must be: the rank bound on given data, and datasets on which it is tight, empty or not needed.

A prompt of m tokens makes head j contribute from a space of dimension min(m, s_j). So if what n queries ask of it is
independent whatever weights it takes (:mod:`constructions.single_layer.independence`), then ``Σ_j min(m, s_j, d) ≥ n``.
Source: THEORY section 4 (cf. Theorem 4 of the paper), made tight; proofs in docs/theory/prompt-length.md.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy
from flint import fmpq

from constructions.data import Dataset, Example, Query
from constructions.numbers.definite import positive_definite_factor
from constructions.numbers.exponential import ExpFraction, ExpSum, midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.context import HeadView
from constructions.single_layer.independence import Contribution, Independence, IndependenceTree
from constructions.single_layer.loss_problem import MAX_COMBINATIONS
from constructions.single_layer.preimage import Preimage
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer

Row = list[fmpq]


def needed_tokens(layer: Layer, n: int) -> int | None:
    """The least m with ``Σ_j min(m, s_j, d) ≥ n``; None if there is none.

    >>> I = RationalMatrix.identity(2)
    >>> layer = Layer(Attention((Head(I, I, I), Head(I, I, I))), FeedForward.none(2))
    >>> needed_tokens(layer, 2), needed_tokens(layer, 3), needed_tokens(layer, 5)
    (1, 2, None)
    """
    sizes = [min(head.head_size, layer.width) for head in layer.attention.heads]
    return next((m for m in range(1, layer.width + 1) if sum(min(m, s) for s in sizes) >= n), None)


@dataclass(frozen=True)
class TooShort:
    """No prompt of at most ``length`` tokens (None: of any length) meets the ``used`` queries of the dataset: a tree
    for every combination of their preimages."""

    layer: Layer
    queries: tuple[Query, ...]
    used: tuple[int, ...]
    preimages: tuple[Preimage, ...]
    length: int | None
    trees: tuple[IndependenceTree, ...]


def too_short(layer: Layer, queries: Sequence[Query], preimages: Sequence[Preimage]) -> TooShort | None:
    """The largest length that the rank bound excludes for given data, with its proof; None if it excludes nothing.

    Preimages must be finite for the queries that are used.
    """
    finite = [k for k, preimage in enumerate(preimages) if preimage.points and len(preimage.pieces) <= 4]
    heads = layer.attention.heads
    views = [[HeadView.of(head, query.token, query.context) for head in heads] for query in queries]

    def contributions(used: Sequence[int], choice: Sequence[int]) -> list[Contribution]:
        found = []
        for k, c in zip(used, choice, strict=True):
            z = preimages[k].pieces[c].point
            assert z is not None
            found.append(Contribution.rational([x - y for x, y in zip(z, queries[k].token, strict=True)], views[k]))
        return found

    # a query whose contribution can vanish spoils every list that it is in
    alone = [k for k in finite if Independence(contributions([k], [0]), max_nodes=100).run() is not None]
    order = _most_independent(contributions(alone, [0] * len(alone)), alone)
    for n in range(len(order), 0, -1):
        needed = needed_tokens(layer, n)
        if needed == 1:
            break
        used = sorted(order[:n])
        choices = list(product(*[range(len(preimages[k].pieces)) for k in used]))
        if len(choices) > MAX_COMBINATIONS:
            continue
        trees = []
        for choice in choices:
            tree = Independence(contributions(used, choice)).run()
            if tree is None:
                break
            trees.append(tree)
        else:
            length = None if needed is None else needed - 1
            return TooShort(layer, tuple(queries), tuple(used), tuple(preimages[k] for k in used), length, tuple(trees))
    return None


def _most_independent(queries: Sequence[Contribution], names: Sequence[int]) -> list[int]:
    """Queries in an order in which the first n point in directions as different as possible (floats)."""
    if not queries:
        return []
    vectors = np.array([query.floats[0] - query.floats[1].sum(axis=0) / 2 for query in queries])
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    pivots = scipy.linalg.qr((vectors / np.maximum(norms, 1e-300)).T, mode="economic", pivoting=True)[2]
    rank = int(np.linalg.matrix_rank(vectors / np.maximum(norms, 1e-300)))
    return [names[int(p)] for p in pivots[:rank]]


@dataclass(frozen=True)
class PromptDataset:
    """Inputs, and the prompt (d×c) whose outputs at their last tokens are the targets: exact in Frac(E)."""

    layer: Layer
    inputs: tuple[RationalMatrix, ...]
    prompt: RationalMatrix

    def outputs(self) -> list[tuple[ExpFraction, ...]]:
        """The attention output with the prompt at the last token of each input."""
        found = []
        for X in self.inputs:
            total: list[ExpFraction] | None = None
            for head in self.layer.attention.heads:
                view = HeadView.of(head, X.column(X.shape[1] - 1), X.hstack(self.prompt))
                part = [ExpFraction(b, view.mass) for b in view.sums]
                total = part if total is None else [x + y for x, y in _over_one(total, part)]
            assert total is not None
            found.append(tuple(total))
        return found

    def contributions(self) -> list[Contribution]:
        """What the inputs ask of any prompt that gives them these outputs."""
        found = []
        for X, output in zip(self.inputs, self.outputs(), strict=True):
            token = X.column(X.shape[1] - 1)
            views = [HeadView.of(head, token, X) for head in self.layer.attention.heads]
            found.append(Contribution(output, tuple(views)))
        return found

    def rounded(self, bits: int = 40) -> Dataset:
        """A dataset with rational targets, the nearest ones, for experiments (not met exactly by the prompt)."""
        examples = []
        for X, output in zip(self.inputs, self.outputs(), strict=True):
            token = X.column(X.shape[1] - 1)
            feature = RationalMatrix.of_columns([[x + _rounded(a, bits) for x, a in zip(token, output, strict=True)]])
            target = self.layer.mlp(feature)
            assert isinstance(target, RationalMatrix)
            examples.append(Example(X, target))
        return Dataset(tuple(examples))


def _over_one(left: Sequence[ExpFraction], right: Sequence[ExpFraction]) -> list[tuple[ExpFraction, ExpFraction]]:
    """Both brought over the product of their denominators, entry by entry, so that all sums share one."""
    d_1, d_2 = left[0].denominator, right[0].denominator
    both = d_1 * d_2
    return [
        (ExpFraction(x.numerator * d_2, both), ExpFraction(y.numerator * d_1, both))
        for x, y in zip(left, right, strict=True)
    ]


def _rounded(x: ExpFraction, bits: int) -> fmpq:
    power = fmpq(2) ** bits
    return fmpq((midpoint(x.enclosure()) * power).floor()) / power


@dataclass(frozen=True)
class Tight:
    """No prompt of at most ``length`` tokens gives the outputs of the dataset's own prompt: the MLP is injective
    (``factor``: M + M^T is positive definite), and the contributions are independent."""

    data: PromptDataset
    length: int | None
    factor: RationalMatrix
    tree: IndependenceTree


class NotTightError(ValueError):
    """The dataset of a prompt is not shown tight: says which condition fails."""


def prove_tight(data: PromptDataset) -> Tight:
    """That the dataset of a prompt needs as many tokens as the rank bound says. Raises NotTightError."""
    mlp = data.layer.mlp
    r = mlp.hidden
    M = RationalMatrix(RationalMatrix.identity(r).mat + mlp.W_1.times(mlp.W_2).mat)
    found = RationalMatrix.zeros(0, 0).mat if r == 0 else positive_definite_factor(M.mat + M.T.mat)
    if found is None:
        raise NotTightError("the MLP is not shown injective (M + M^T is not positive definite)")
    needed = needed_tokens(data.layer, len(data.inputs))
    if needed == 1:
        raise NotTightError("a single token has enough dimensions for all inputs")
    tree = Independence(data.contributions()).run()
    if tree is None:
        raise NotTightError("what the inputs ask of a prompt is not shown to be independent for all weights")
    return Tight(data, None if needed is None else needed - 1, RationalMatrix(found), tree)


def prove_independent(data: PromptDataset) -> IndependenceTree:
    """That the contributions are independent whatever weights. Raises NotTightError."""
    tree = Independence(data.contributions()).run()
    if tree is None:
        raise NotTightError("what the inputs ask of a prompt is not shown to be independent for all weights")
    return tree


# -- makers -----------------------------------------------------------------------------------------------------------


def tight_dataset(d: int, n: int, seed: int = 0, mlp: FeedForward | None = None) -> PromptDataset:
    """One head of size d, n ≤ d inputs ``[−x_i, x_i]`` and a prompt of n tokens that no shorter prompt replaces.

    ``W_q = J W_k`` with J skew, so every token is isotropic, ``q_i·x_i = 0``, and the context output A_i is zero.
    Raises ValueError for n > d, NotTightError if no seed near the given one gives independent outputs.
    """
    if not 1 <= n <= d:
        raise ValueError(f"tight dataset: expected 1 ≤ n ≤ d = {d}, found n = {n}")
    for attempt in range(100):
        rng = random.Random(f"tight/{d}/{n}/{seed}/{attempt}")

        def matrix(rows: int, columns: int, rng: random.Random = rng) -> RationalMatrix:
            return RationalMatrix.of([[fmpq(rng.randint(-4, 4), 4) for _ in range(columns)] for _ in range(rows)])

        upper = matrix(d, d)
        J = RationalMatrix.of([[_skew(upper, i, j) for j in range(d)] for i in range(d)])
        # With weights of one size the queries of a wide layer agree on one token; smaller ones spread the attention.
        W_k, V = matrix(d, d).scaled(fmpq(1, 2 ** (attempt // 25))), matrix(d, d)
        if V.rank() < d:
            continue
        layer = Layer(Attention((Head(J.times(W_k), W_k, V),)), mlp or FeedForward.none(d))
        inputs = []
        for _ in range(n):
            x = matrix(d, 1).scaled(2)
            inputs.append(x.scaled(-1).hstack(x))
        found = PromptDataset(layer, tuple(inputs), matrix(d, n).scaled(2))
        vectors = np.array([query.floats[0] for query in found.contributions()])
        size = np.linalg.norm(vectors, axis=1)
        if size.min() > 1e-3 and np.linalg.cond(vectors / size[:, None]) < 1e4:
            return found
    raise NotTightError("no random weights near this seed give well separated outputs")


def _skew(upper: RationalMatrix, i: int, j: int) -> fmpq:
    return fmpq(0) if i == j else upper[i, j] if i < j else -upper[j, i]


def isotropic_dataset(layer: Layer, n: int, seed: int = 0) -> PromptDataset:
    """The same for given weights of one head: contexts ``[−x_i, x_i]`` whose output is small, where the bound is
    proved by boxes. Raises NotTightError, naming what fails."""
    d = layer.width
    if len(layer.attention.heads) != 1:
        raise NotTightError(f"expected one head, found {len(layer.attention.heads)}")
    if layer.attention.heads[0].V.rank() < n:
        raise NotTightError(f"V has rank {layer.attention.heads[0].V.rank()}, below the {n} inputs")
    reason = ""
    for attempt in range(20):
        rng = random.Random(f"isotropic/{n}/{seed}/{attempt}")
        inputs = []
        for _ in range(n):
            x = RationalMatrix.of([[fmpq(rng.randint(-4, 4), 4)] for _ in range(d)])
            inputs.append(x.scaled(-1).hstack(x))
        prompt = RationalMatrix.of([[fmpq(rng.randint(-8, 8), 2) for _ in range(n)] for _ in range(d)])
        data = PromptDataset(layer, tuple(inputs), prompt)
        try:
            prove_tight(data)
        except NotTightError as error:
            reason = str(error)
            continue
        return data
    raise NotTightError(f"no tight dataset found for these weights: {reason}")


def empty_bound_dataset() -> tuple[Transformer, Dataset]:
    """Two examples for which the bound says two tokens, and which no prompt of any length memorizes: the context
    outputs are zero, and the targets point against the difference of the logit vectors (d = 2, one head)."""
    R = RationalMatrix.of
    J = R([[0, 1], [-1, 0]])
    head = Head(J, R([[1, 0], [0, 1]]), R([[1, 0], [0, 1]]))  # q = J x, so q·x = 0
    layer = Layer(Attention((head,)), FeedForward.none(2))
    # q_1 = (1, 0) at x_1 = (0, 1); q_2 = (0, −1) at x_2 = (1, 0); q_1 − q_2 = (1, 1)
    first = Example(R([[0, 0], [-1, 1]]), R([[-1], [1]]))  # a_1 = (−1, 0)
    second = Example(R([[-1, 1], [0, 0]]), R([[1], [1]]))  # a_2 = (0, 1)
    return Transformer((layer,)), Dataset((first, second))


def one_token_two_heads() -> PromptDataset:
    """Two inputs with independent contributions that one token serves, by two heads (THEORY section 4)."""
    R = RationalMatrix.of
    I, J = RationalMatrix.identity(2), R([[0, 1], [-1, 0]])
    heads = (Head(J, I, I), Head(J.scaled(-1), I, J.T))
    inputs = (R([[0, 0], [-1, 1]]), R([[0, 0], [-2, 2]]))
    return PromptDataset(Layer(Attention(heads), FeedForward.none(2)), inputs, R([[1], [0]]))


def naive_dataset(d: int, n: int, seed: int = 0) -> tuple[Transformer, Dataset, RationalMatrix]:
    """n examples with independent shifted targets a_i that one zero token memorizes: α_i/β_i = 2/3 is inside (0, 1),
    so independence of the a_i alone bounds nothing. All logits are zero (W_q = 0), the targets rational."""
    rng = random.Random(f"naive/{d}/{n}/{seed}")
    I = RationalMatrix.identity(d)
    layer = Layer(Attention((Head(RationalMatrix.zeros(d, d), I, I),)), FeedForward.none(d))
    while True:
        rows = [[fmpq(rng.randint(-4, 4)) for _ in range(2 * n)] for _ in range(d)]
        X = RationalMatrix.of(rows)
        inputs = [X.columns(2 * i, 2 * i + 2) for i in range(n)]
        outputs = [[(X_i[r, 0] + X_i[r, 1]) / 3 for r in range(d)] for X_i in inputs]
        if RationalMatrix.of(outputs).rank() == n:
            break
    examples = [
        Example(X_i, RationalMatrix.of([[a + X_i[r, 1]] for r, a in enumerate(output)]))
        for X_i, output in zip(inputs, outputs, strict=True)
    ]
    return Transformer((layer,)), Dataset(tuple(examples)), RationalMatrix.zeros(d, 1)


def meets(layer: Layer, query: Query, prompt: RationalMatrix, z: Sequence[fmpq]) -> bool:
    """Whether this very prompt makes the attention give ``z − x`` at the query, exactly."""
    total: list[ExpFraction] = [ExpFraction(ExpSum.of(x - y)) for x, y in zip(query.token, z, strict=True)]
    for head in layer.attention.heads:
        view = HeadView.of(head, query.token, query.context.hstack(prompt))
        total = [x + ExpFraction(b, view.mass) for x, b in zip(total, view.sums, strict=True)]
    return all(x.numerator.is_zero for x in total)
