"""Explicit prompts for layers with several heads: the equations for Newton's method and Krawczyk's test, and the
honest length of the clusters in the proof of Theorem B.

Source: THEORY section 3.3; proofs in docs/theory/several-heads.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import flint
import numpy as np
from flint import arb, arb_mat, fmpq
from numpy.typing import NDArray

from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix, dot
from constructions.single_layer.newton_prompt import PRECISION, ProvedPrompt, from_start
from constructions.single_layer.peeling import Peeled
from constructions.single_layer.several_heads import SeveralHeads, range_basis

Floats = NDArray[np.float64]


class HeadsEquations:
    """``Σ_j (B_ij + Σ_t n_t e^{q_ij·p_t} V_j p_t) / (S_ij + Σ_t n_t e^{q_ij·p_t}) − a_i``, d equations for each query,
    at prompts with token p_t taken n_t = ``counts[t]`` times."""

    def __init__(self, data: SeveralHeads, choice: Sequence[int], counts: Sequence[int]) -> None:
        pairs = data.pairs
        self.counts = tuple(counts)
        self.d, self.h, self.n = pairs.width, len(pairs.heads), len(data.queries)
        self.count = self.n * self.d
        self.V, self.q = pairs.V, pairs.q
        self.a = data.shifted(choice)
        self.size = 1 + max((abs(float(x)) for row in self.a for x in row), default=0.0)
        with flint.ctx.workprec(PRECISION):
            self.scale = [fmpq((midpoint(view.mass.enclosure().log()) * 16).floor(), 16) for view in data.views]
            factors = [arb(-rho).exp() for rho in self.scale]
            self.S = [view.mass.enclosure() * x for view, x in zip(data.views, factors, strict=True)]
            self.B = [[b.enclosure() * x for b in view.sums] for view, x in zip(data.views, factors, strict=True)]
        self.V_float = np.array([[[float(x) for x in row] for row in V.rows()] for V in self.V])
        self.q_float = np.array([[float(x) for x in q] for q in self.q])
        self.scale_float = np.array([float(x) for x in self.scale])
        self.S_float = np.array([float(x) for x in self.S])
        self.B_float = np.array([[float(x) for x in row] for row in self.B])
        self.a_float = np.array([[float(x) for x in row] for row in self.a])
        self.counts_float = np.array([float(x) for x in self.counts])

    def _outputs(self, P: Floats) -> tuple[Floats, Floats, Floats]:
        """Weights e^{q·p} relative to the denominators (nh×c), values V_j p (h×d×c), outputs of the heads (nh×d)."""
        scores = np.clip(self.q_float @ P - self.scale_float[:, None], -600, 300)
        weights = self.counts_float * np.exp(scores)
        mass = self.S_float + weights.sum(axis=1)
        values = self.V_float @ P
        heads = np.arange(len(self.q)) % self.h
        sums = self.B_float + np.einsum("adt,at->ad", values[heads], weights)
        return weights / mass[:, None], values, sums / mass[:, None]

    def residual(self, flat: Floats) -> Floats:
        """All equations at a prompt, in floats."""
        outputs = self._outputs(flat.reshape(self.d, -1))[2]
        result: Floats = (outputs.reshape(self.n, self.h, self.d).sum(axis=1) - self.a_float).ravel()
        return result

    def jacobian(self, flat: Floats) -> Floats:
        """Derivatives by all entries of the token matrix (row-major), in floats."""
        weights, values, outputs = self._outputs(flat.reshape(self.d, -1))
        heads = np.arange(len(self.q)) % self.h
        shifted = values[heads] - outputs[:, :, None]
        block = np.einsum("act,ai,at->acit", shifted, self.q_float, weights)
        block += np.einsum("aci,at->acit", self.V_float[heads], weights)
        result: Floats = block.reshape(self.n, self.h, self.d, self.d, -1).sum(axis=1).reshape(self.count, -1)
        return result

    def enclosures(self, P: arb_mat, unknowns: Sequence[tuple[int, int]]) -> tuple[list[arb], arb_mat]:
        """All equations, and their derivatives by the unknowns, over a box of token matrices in balls."""
        columns = range(len(self.counts))
        values = [arb_mat(V.mat) * P for V in self.V]
        equations = [arb(-x) for row in self.a for x in row]
        derivatives = [[arb(0)] * len(unknowns) for _ in equations]
        for pair, vector in enumerate(self.q):
            i, j = divmod(pair, self.h)
            q = [arb(x) for x in vector]
            weights = [
                n * (sum((q[r] * P[r, t] for r in range(self.d)), arb(0)) - arb(self.scale[pair])).exp()
                for t, n in enumerate(self.counts)
            ]
            mass = self.S[pair] + sum(weights, arb(0))
            for c in range(self.d):
                output = (self.B[pair][c] + sum((weights[t] * values[j][c, t] for t in columns), arb(0))) / mass
                equations[i * self.d + c] += output
                row = derivatives[i * self.d + c]
                for u, (r, t) in enumerate(unknowns):
                    row[u] += weights[t] * (q[r] * (values[j][c, t] - output) + arb(self.V[j][c, r])) / mass
        return equations, arb_mat(len(equations), len(unknowns), [x for row in derivatives for x in row])


def find_heads_prompt(
    data: SeveralHeads, choice: Sequence[int], *, longest: int = 64, starts: int = 12, seed: int = 0
) -> ProvedPrompt | None:
    """A proved prompt of at most ``longest`` tokens from random starts, at growing lengths; None when no start led to
    one, and where the outputs of all heads together do not span the width: then the equations of a query are dependent,
    and Krawczyk's test cannot hold."""
    if reduce(RationalMatrix.hstack, data.pairs.V).rank() < data.pairs.width:
        return None
    rng = np.random.default_rng(seed)
    n, h = len(data.queries), len(data.pairs.heads)
    length = max(1, n)
    while length <= longest:
        equations = HeadsEquations(data, choice, (1,) * length)
        if length * equations.d >= equations.count:
            for k in range(starts):
                start = rng.normal(size=equations.d * length) * (0.5, 1.0, 2.0, 4.0)[k % 4]
                proved = from_start(equations, start)
                if proved is not None:
                    return proved
        length = length + 1 if length < n * h + 2 else max(length + 1, length * 3 // 2)
    return None


@dataclass(frozen=True)
class ClusterPrompt:
    """For each pair a cluster of ``e^{counts_log[α]}`` (rounded up) tokens around ``u_α + t k_α``; some prompt of these
    counts, its tokens within ``radius`` (in the span of the outputs) of these, gives exactly the outputs asked for."""

    t: fmpq
    radius: fmpq
    log10_length: float


def cluster_prompt(data: SeveralHeads, inputs: Sequence[Sequence[fmpq]], peeled: Peeled) -> ClusterPrompt | None:
    """The least power of two t for which the cluster construction of Theorem B is proved, with its length; None beyond
    t = 2^40.

    With y in the cube of radius r around the outputs asked for, all heads' outputs lie within r of y: then, by
    Brouwer's theorem, they are met exactly for some y.
    """
    pairs = data.pairs
    needed = [dot(q, k) - s for q, s, k in zip(pairs.q, peeled.heights, peeled.directions, strict=True)]
    shift = max(fmpq(0), *needed, *(-s for s in peeled.heights)) + 1
    heights = [s + shift for s in peeled.heights]
    radius = fmpq(1, 4)
    for exponent in range(-8, 41):
        t = fmpq(2) ** exponent
        with flint.ctx.workprec(PRECISION):
            if _clusters_work(data, inputs, heights, peeled.directions, t, radius):
                length = arb(0)
                for a, k in enumerate(peeled.directions):
                    length += (arb(t * (heights[a] - dot(pairs.q[a], k)))).exp() + 1
                return ClusterPrompt(t, radius, float(length.log() / arb(10).log()))
    return None


def _clusters_work(
    data: SeveralHeads,
    inputs: Sequence[Sequence[fmpq]],
    heights: Sequence[fmpq],
    directions: Sequence[Sequence[fmpq]],
    t: fmpq,
    radius: fmpq,
) -> bool:
    """Whether every head's output stays within ``radius`` of what its own cluster gives, for all clusters whose
    outputs are moved by at most ``radius`` in every coordinate, in balls."""
    pairs = data.pairs
    d = pairs.width
    moves = [_move(V) for V in pairs.V]
    tokens = []
    for a, (u, k) in enumerate(zip(inputs, directions, strict=True)):
        move = moves[pairs.head(a)]
        tokens.append([arb(u[r] + t * k[r], radius * move[r]) for r in range(d)])
    logs = [arb(t * (s - dot(pairs.q[a], k))) for a, (s, k) in enumerate(zip(heights, directions, strict=True))]
    for a in range(len(pairs)):
        V = pairs.V[pairs.head(a)]
        q = [arb(x) for x in pairs.q[a]]
        exponents = [
            log + sum((q[r] * token[r] for r in range(d)), arb(0)) for log, token in zip(logs, tokens, strict=True)
        ]
        view = data.views[a]
        own_value = V.apply(list(inputs[a]))
        worst = [arb(0)] * d
        for b, exponent in enumerate(exponents):
            if b == a:
                continue  # its tokens give y itself
            share = 2 * (exponent - exponents[a]).exp()  # counts are rounded up: e^x ≤ count ≤ 2 e^x
            value = arb_mat(V.mat) * arb_mat(d, 1, tokens[b])
            for c in range(d):
                worst[c] += share * (value[c, 0] - arb(own_value[c], radius)).abs_upper()
        for column, score in enumerate(view.scores):
            share = (arb(score) - exponents[a]).exp()
            for c in range(d):
                worst[c] += share * (arb(view.values[c, column]) - arb(own_value[c], radius)).abs_upper()
        if not all(x < arb(radius) for x in worst):
            return False
    return True


def _move(V: RationalMatrix) -> list[fmpq]:
    """How far a token moves, entry by entry, when its output moves by at most one in every coordinate within the range
    of V: by a generalised inverse."""
    basis = range_basis(V)
    if basis.shape[1] == 0:
        return [fmpq(0)] * V.shape[0]
    left = basis.T.times(basis).inverse().times(basis.T)
    sources = RationalMatrix.of_columns([V.solve(basis.column(i)) or [] for i in range(basis.shape[1])])
    inverse = sources.times(left)
    return [sum((abs(x) for x in row), fmpq(0)) for row in inverse.rows()]
