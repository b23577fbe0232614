"""Makers of unmemorizable pairs: for a layer, a token and two targets, two contexts that no prompt can serve at once.

The dataset is ``X_1 = [x_1, x_0] → y_1``, ``X_2 = [x_2, x_0] → y_2`` with a shared last token x_0. Three
constructions, each returning the dataset together with its proof object:

- :func:`orthogonal_pair`, the paper's: w orthogonal to all shifted preimages (needs d ≥ 2 + their dimension);
- :func:`cone_pair`, sharper: some w with ``w·a ≤ 0 ≤ w·b`` on the preimages, outside one degenerate case;
- :func:`closeness_pair`: for any two different targets in the range, two contexts that are close to each other.

Source: THEORY section 2 (cf. Wang et al. 2023, Theorem 2 and Lemma 7).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from flint import fmpq

from constructions.data import Dataset, Example
from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalLike, RationalMatrix, column_vector, dot, vector
from constructions.single_layer.direction import required_score, token_for_mean
from constructions.single_layer.preimage import Preimage, preimage
from constructions.single_layer.separation import (
    PairOfQueries,
    Reach,
    Row,
    Separation,
    SystemInW,
    Unmemorizable,
    unreached_by_others,
)
from constructions.transformer import Layer, Transformer

RHO_NEAR_TOP = fmpq(12784645427610737951093587390229801554395, 10**40)
"""A rational close to ``1 + W(1/e)``, where ``ρ/(1+e^ρ)`` attains its maximum ``W(1/e) = 0.2784…``: there it is within
10^-80 of that maximum."""


class NoPairError(ValueError):
    """The construction does not apply to this layer, token and targets; the message names the condition that fails."""


@dataclass(frozen=True)
class UnmemorizablePair:
    """A single-layer model, a dataset of two examples, and the proof that no prompt memorizes both."""

    model: Transformer
    data: Dataset
    proof: Unmemorizable


def orthogonal_pair(
    layer: Layer,
    token: Sequence[RationalLike],
    y_1: Sequence[RationalLike],
    y_2: Sequence[RationalLike],
    *,
    head: int = 0,
) -> UnmemorizablePair:
    """The paper's construction: w orthogonal to every shifted preimage, so both contexts must not pull along w.

    ``token`` is x_0 (d numbers), ``y_1``, ``y_2`` the targets. Raises NoPairError when no such w exists (it does when
    d ≥ 2 + the dimension of the span and the head is not shadowed by others), or a target is out of range.

    >>> from constructions.transformer import Attention, FeedForward, Head
    >>> I = RationalMatrix.identity(4)
    >>> layer = Layer(Attention((Head(I, I, I),)), FeedForward.none(4))
    >>> pair = orthogonal_pair(layer, [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0])
    >>> pair.proof.argument
    'cone'
    """
    maker = _Maker(layer, head, vector(token), (vector(y_1), vector(y_2)))
    conditions = [v for preimage in maker.preimages for v in shifted_span(preimage, maker.token)]
    system = SystemInW(maker.basis, [])
    rows = [sign for v in conditions for sign in (system.along(v), [-x for x in system.along(v)])]
    return maker.from_cone(system, rows, "orthogonal to all shifted preimages (d ≥ 2 + their dimension suffices)")


def cone_pair(
    layer: Layer,
    token: Sequence[RationalLike],
    y_1: Sequence[RationalLike],
    y_2: Sequence[RationalLike],
    *,
    head: int = 0,
) -> UnmemorizablePair:
    """The sharper construction: one w with ``w·a ≤ 0 ≤ w·b`` for all shifted preimages a of y_1 and b of y_2.

    Raises NoPairError when no such w exists or in the degenerate case: every such w has V^T w parallel to the logit
    vector q, and ``q·x_0`` exceeds W(1/e) = 0.2784…

    >>> from constructions.transformer import Attention, FeedForward, Head
    >>> I = RationalMatrix.identity(2)
    >>> layer = Layer(Attention((Head(I, I, I),)), FeedForward.none(2))
    >>> cone_pair(layer, [1, 0], [1, 1], [2, 1]).data.examples[0].X
    RationalMatrix.of([['1', '1'], ['0', '0']])
    >>> try:
    ...     cone_pair(layer, [1, 0], [1, 1], [1, 2])
    ... except NoPairError as refusal:
    ...     print(str(refusal)[:15])
    degenerate case
    """
    maker = _Maker(layer, head, vector(token), (vector(y_1), vector(y_2)))
    reaches = [Reach(piece, maker.token, "upper") for piece in maker.preimages[0].pieces]
    reaches += [Reach(piece, maker.token, "lower") for piece in maker.preimages[1].pieces]
    system = SystemInW(maker.basis, reaches)
    rows = [
        bound if reach.side == "upper" else [-x for x in bound]
        for reach, bound in zip(reaches, system.bounds, strict=True)
    ]
    return maker.from_cone(system, rows, "with w·a ≤ 0 ≤ w·b on the shifted preimages")


def closeness_pair(
    layer: Layer,
    token: Sequence[RationalLike],
    y_1: Sequence[RationalLike],
    y_2: Sequence[RationalLike],
    *,
    head: int = 0,
) -> UnmemorizablePair:
    """Two close contexts for any two different targets in the range of the MLP (no dimension condition).

    Raises NoPairError when the targets are equal, out of range, or (several heads) not told apart by this head.

    >>> from constructions.transformer import Attention, FeedForward, Head
    >>> I = RationalMatrix.identity(2)
    >>> layer = Layer(Attention((Head(I, I, I),)), FeedForward.none(2))
    >>> closeness_pair(layer, [1, 0], [1, 1], [1, 2]).proof.argument
    'closeness'
    """
    maker = _Maker(layer, head, vector(token), (vector(y_1), vector(y_2)))
    if list(maker.targets[0]) == list(maker.targets[1]):
        raise NoPairError("expected two different targets, found equal ones: one prompt can serve close contexts then")
    chosen: list[list[Row]] = []
    for piece_1 in maker.preimages[0].pieces:
        chosen.append([])
        for piece_2 in maker.preimages[1].pieces:
            system = SystemInW(
                maker.basis, [Reach(piece_1, maker.token, "upper"), Reach(piece_2, maker.token, "lower")]
            )
            gap = [m - M for M, m in zip(*system.bounds, strict=True)]
            best = system.maximize(gap)
            if best is None or best.value <= 0:
                raise NoPairError(f"head {head}: the other heads reach every direction that tells the preimages apart")
            chosen[-1].append(system.vector(best.point))
    base = [fmpq(int(i == 0)) for i in range(layer.width)]
    across = RationalMatrix.of([maker.q]).nullspace()
    step = across[0] if across else [fmpq(1)]  # across q the masses of both contexts stay equal
    for halvings in range(400):
        other = [x + e / fmpq(2) ** halvings for x, e in zip(base, step, strict=True)]
        pair = maker.assemble("closeness", (other, base), lambda i, j: chosen[i][j])
        if pair is not None:
            return pair
    raise NoPairError("no pair of contexts within 2^-400 of each other was close enough")


class _Maker:
    """What all three constructions share: the checked input, preimages, and the assembly of a certified pair."""

    def __init__(self, layer: Layer, head: int, token: Row, targets: tuple[Row, Row]) -> None:
        if layer.attention.kind != "softmax":
            raise NoPairError("attention: expected softmax, found hardmax")
        if not 0 <= head < len(layer.attention.heads):
            raise NoPairError(f"head: expected 0 to {len(layer.attention.heads) - 1}, found {head}")
        for name, values in (("token", token), ("y_1", targets[0]), ("y_2", targets[1])):
            if len(values) != layer.width:
                raise NoPairError(f"{name}: expected {layer.width} entries (the layer's width), found {len(values)}")
        self.layer, self.head, self.token, self.targets = layer, head, token, targets
        self.q = layer.attention.heads[head].logit_vectors(column_vector(token)).column(0)
        self.V = layer.attention.heads[head].V
        self.basis = unreached_by_others(layer, head)
        if self.basis.shape[1] == 0:
            raise NoPairError(f"head {head}: the other heads reach every direction, so it does not decouple")
        self.preimages: tuple[Preimage, Preimage] = (preimage(layer.mlp, targets[0]), preimage(layer.mlp, targets[1]))
        for name, found in zip(("y_1", "y_2"), self.preimages, strict=True):
            if found.is_empty:
                raise NoPairError(
                    f"{name} is out of range: the MLP has no preimage of it (one example is unmemorizable by itself)"
                )

    def from_cone(self, system: SystemInW, rows: list[Row], condition: str) -> UnmemorizablePair:
        """A pair for some w with ``rows ≤ 0`` whose v = V^T w is not parallel to q; by κ = e^ρ where all are
        parallel."""
        s_0 = dot(self.q, self.token)
        across = RationalMatrix.of([self.q]).nullspace()
        for direction in (sign for e in across for sign in (e, [-x for x in e])):
            along = system.along(self.V.apply(direction))
            best = system.maximize(along, at_most_zero=rows)
            if best is not None and best.value > 0:
                w = system.vector(best.point)
                return self._pair(w, self._means(self.V.T.apply(w), direction, s_0))
        if any(x != 0 for x in self.q):
            for sign in (1, -1):
                along = [sign * x for x in system.along(self.V.apply(self.q))]
                best = system.maximize(along, at_most_zero=rows)
                if best is not None and best.value > 0:
                    return self._parallel_pair(system.vector(best.point), sign, s_0)
        raise NoPairError(f"head {self.head}: no w {condition} that sees the head's output (V^T w ≠ 0)")

    def _means(self, v: Row, direction: Row, s_0: fmpq) -> tuple[Row, Row]:
        """Means z_1, z_2 with q·z = s_0 and v·z = ±1, along a direction across q with v·direction > 0."""
        square = dot(self.q, self.q)
        foot = [s_0 / square * x for x in self.q] if square != 0 else [fmpq(0)] * len(v)
        result = []
        for goal in (fmpq(1), fmpq(-1)):
            step = (goal - dot(v, foot)) / dot(v, direction)
            result.append([x + step * e for x, e in zip(foot, direction, strict=True)])
        return result[0], result[1]

    def _pair(self, w: Row, means: tuple[Row, Row]) -> UnmemorizablePair:
        tokens = []
        for z in means:
            x = token_for_mean(column_vector(z), self.token).as_rational()
            assert x is not None  # κ = 1 keeps the token rational
            tokens.append(x.column(0))
        pair = self.assemble("cone", (tokens[0], tokens[1]), lambda i, j: w)
        assert pair is not None  # w·A_1 = 1 and w·A_2 = −1 by the direction lemma
        return pair

    def _parallel_pair(self, w: Row, sign: int, s_0: fmpq) -> UnmemorizablePair:
        """V^T w is ``sign`` times a positive multiple of q: the output along w is q·z = s_0 − ρ/(1+e^ρ), of both
        signs when s_0 < W(1/e)."""
        head = self.layer.attention.heads[self.head]
        low = required_score(head, self.token, RHO_NEAR_TOP)
        if low.sign() >= 0:
            raise NoPairError(
                "degenerate case: every w with w·a ≤ 0 ≤ w·b has V^T w parallel to the logit vector q, and "
                f"q·x_0 = {s_0} is not below W(1/e) = 0.2784… (by 10^-80); choose another token or target, or "
                "closeness_pair"
            )
        rho_up = fmpq(0) if s_0 > 0 else fmpq(2) * (s_0 - 1)  # −ρ/(1+e^ρ) > −ρ/2 for ρ < 0
        for bits in range(8, 264, 16):
            tokens = [self._token_at(rho, bits) for rho in (rho_up, RHO_NEAR_TOP)]
            if sign < 0:
                tokens.reverse()
            pair = self.assemble("cone", (tokens[0], tokens[1]), lambda i, j: w)
            if pair is not None:
                return pair
        raise NoPairError(f"degenerate case: q·x_0 = {s_0} is too close to W(1/e) = 0.2784… for a rational token")

    def _token_at(self, rho: fmpq, bits: int) -> Row:
        """x_1 of the direction lemma for the mean along q, rounded to a rational."""
        square = dot(self.q, self.q)
        need = required_score(self.layer.attention.heads[self.head], self.token, rho)
        z = ExpMatrix([[ExpFraction(ExpSum.of(x / square)) * need] for x in self.q], 1)
        exact = token_for_mean(z, self.token, rho)
        return [_rounded(x, bits) for x in exact.column(0)]

    def assemble(
        self, argument: str, tokens: tuple[Row, Row], w: Callable[[int, int], Row]
    ) -> UnmemorizablePair | None:
        """The pair with context tokens x_1, x_2, if ``w(i, j)`` certifies every pair (i, j) of preimage pieces."""
        model = Transformer((self.layer,))
        examples = tuple(
            Example(RationalMatrix.of_columns([x, self.token]), column_vector(y))
            for x, y in zip(tokens, self.targets, strict=True)
        )
        data = Dataset(examples)
        first, second = data.queries(model)
        view = PairOfQueries.of(self.layer, self.head, first, second)
        table: list[tuple[Separation, ...]] = []
        for i, piece_1 in enumerate(self.preimages[0].pieces):
            line = []
            for j, piece_2 in enumerate(self.preimages[1].pieces):
                found = view.certify(argument, w(i, j), (piece_1, piece_2))  # type: ignore[arg-type]
                if found is None:
                    return None
                line.append(found)
            table.append(tuple(line))
        return UnmemorizablePair(model, data, Unmemorizable(argument, (first, second), self.preimages, tuple(table)))


def shifted_span(preimage: Preimage, token: Sequence[fmpq]) -> list[Row]:
    """Vectors that span all shifted preimages a = z − x_0 (for an infinite preimage a space that contains them)."""
    vectors = []
    for piece in preimage.pieces:
        if piece.point is not None:
            vectors.append([z - x for z, x in zip(piece.point, token, strict=True)])
        else:
            problem = piece.problem
            vectors.append([z - x for z, x in zip(problem.offset, token, strict=True)])
            vectors += [problem.W_2.column(i) for i, active in enumerate(piece.signs or ()) if active]
    return vectors


def _rounded(x: ExpFraction, bits: int) -> fmpq:
    top = max(x.denominator.terms)
    numerator, denominator = x.numerator.approximate(top, bits + 64), x.denominator.approximate(top, bits + 64)
    power = fmpq(2) ** bits
    return fmpq((numerator / denominator * power).floor()) / power


def unmemorizable_pair(layer: Layer, *, head: int = 0) -> UnmemorizablePair:
    """A pair for a layer with nothing else given: x_0 and targets are tried from a short list, the cone first.

    Raises NoPairError when the head does not decouple from the others or sees nothing (V = 0 on what others leave).

    >>> from constructions.transformer import Attention, FeedForward, Head
    >>> I = RationalMatrix.identity(2)
    >>> unmemorizable_pair(Layer(Attention((Head(I, I, I),)), FeedForward.none(2))).proof.argument
    'cone'
    """
    d = layer.width

    def unit(j: int) -> Row:
        return [fmpq(int(i == j)) for i in range(d)]

    @cache
    def reached(k: int) -> Row:
        """A target in the range: the output of the MLP at 0, at a unit vector, at (1, …, 1) or at (−1, …, −1)."""
        z = [fmpq(0)] * d if k == 0 else unit(k - 1) if k <= d else [fmpq(1 if k == d + 1 else -1)] * d
        y = layer.mlp(column_vector(z))
        assert isinstance(y, RationalMatrix)  # the MLP of a rational point
        return y.column(0)

    last = NoPairError("no pair of different targets was found")
    for construct in (cone_pair, closeness_pair):
        for token in (unit(0), unit(d - 1), [fmpq(0)] * d):
            for i, j in combinations(range(d + 3), 2):
                if reached(i) == reached(j):
                    continue
                try:
                    return construct(layer, token, reached(i), reached(j), head=head)
                except NoPairError as error:
                    last = error
    raise last
