"""The converse of several queries, run: from positive entropies and divergences to laws, and from laws to a prompt.

For linearly independent logit vectors q_1..q_n, log masses σ_i and means p̄_i belong to a prompt if all

    H_i = σ_i − q_i·p̄_i > 0,    D_ik = σ_k − σ_i + (q_i − q_k)·p̄_i > 0    (i ≠ k).

First laws w_1..w_n with entropies H_i and divergences D_ik, made of n² gadgets, each with one parameter x > 0:

    for D_ik one atom of mass x/T under w_i, (x/T) e^{−T} under w_k, x/T² under the others (x is near D_ik);
    for H_i  N equal atoms, together of mass x/L under w_i, x/L² under the others, L = log N (x is near H_i).

What is left of each law is one more atom, either one for each gadget, on the product of their alphabets (2^{n²} kinds
of atoms), or a single one for all gadgets together (n² + 1 kinds). The n² parameters are found by Newton's method in
floats for the smallest N, then T, of a list that admit a solution, refined in balls, and proved to exist by
Krawczyk's test: the balls that come out contain laws with exactly these entropies and divergences. Then tokens with
``q_i·p_j = σ_i + log w_ij``, their parts orthogonal to the q_i fitted to the means. Source: THEORY section 3.2
(ours); proof in docs/theory/several-queries.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod

import flint
import numpy as np
from flint import arb, arb_mat, fmpq
from numpy.typing import NDArray

from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.prompt_law import ClusteredPrompt, UnreachableError
from constructions.verdict import Undecided

Row = list[fmpq]
Floats = NDArray[np.float64]
PRECISION = 128
ALPHABETS = ("union", "product")
SIZES = tuple(1 << k for k in (2, 3, 4, 5, 6, 8, 10, 12, 16, *(k << j for j in range(3, 14) for k in (3, 4))))
STEEPNESSES = tuple(1 << k for k in range(2, 21, 2))
"""The values of N and T that are tried, in this order."""
MAX_STEPS = 80


@dataclass(frozen=True)
class Numbers:
    """What n laws are to have: ``entropies`` (n) and ``divergences`` (n×n, row i column k is D_ik; 0 on the
    diagonal)."""

    entropies: tuple[fmpq, ...]
    divergences: tuple[tuple[fmpq, ...], ...]

    @classmethod
    def of(cls, entropies: Sequence[fmpq], divergences: Sequence[Sequence[fmpq]]) -> Numbers:
        """Raises UnreachableError unless all are positive (the diagonal of the divergences apart, which is not
        read)."""
        n = len(entropies)
        if len(divergences) != n or any(len(row) != n for row in divergences):
            raise ValueError(f"divergences: expected a {n}×{n} table")
        for i, x in enumerate(entropies):
            if not x > 0:
                raise UnreachableError(f"the entropy H_{i} = {x} is not positive")
        for i, k in _pairs(n):
            if not divergences[i][k] > 0:
                raise UnreachableError(f"the divergence D_{i},{k} = {divergences[i][k]} is not positive")
        table = tuple(tuple(x if i != k else fmpq(0) for k, x in enumerate(row)) for i, row in enumerate(divergences))
        return cls(tuple(entropies), table)

    @property
    def n(self) -> int:
        return len(self.entropies)

    def flat(self) -> Row:
        """In the order of the gadgets: D_ik row by row, then H_i."""
        return [*(self.divergences[i][k] for i, k in _pairs(self.n)), *self.entropies]


def _pairs(n: int) -> list[tuple[int, int]]:
    return [(i, k) for i in range(n) for k in range(n) if i != k]


@dataclass(frozen=True)
class Laws:
    """n positive laws on one alphabet: atom kind j occurs ``counts[j]`` times, each atom with the weight
    ``exp(log_weights[i, j])`` under law i (n×c balls)."""

    log_weights: arb_mat
    counts: tuple[int, ...]

    @property
    def n(self) -> int:
        return int(self.log_weights.nrows())

    @cached_property
    def totals(self) -> arb_mat:
        """The weight of each kind of atom (n×c)."""
        kinds = len(self.counts)
        entries = [self.log_weights[i, j].exp() * self.counts[j] for i in range(self.n) for j in range(kinds)]
        return arb_mat(self.n, kinds, entries)

    def entropy(self, i: int) -> arb:
        return -sum((self.totals[i, j] * self.log_weights[i, j] for j in range(len(self.counts))), arb(0))

    def divergence(self, i: int, k: int) -> arb:
        """KL(w_i ‖ w_k)."""
        w, log = self.totals, self.log_weights
        return sum((w[i, j] * (log[i, j] - log[k, j]) for j in range(len(self.counts))), arb(0))


@dataclass(frozen=True)
class _Gadgets:
    """The n² gadgets for one T and N: mass of gadget s under law i is ``exp(log_c[i][s]) x_s``.

    ``blocks`` are the sets of gadgets that share their rest atom.
    """

    n: int
    T: int
    N: int
    blocks: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, n: int, T: int, N: int, alphabet: str) -> _Gadgets:
        if alphabet not in ALPHABETS:
            raise ValueError(f"alphabet: expected one of {', '.join(ALPHABETS)}, found {alphabet}")
        every = tuple(range(n * n))
        return cls(n, T, N, (every,) if alphabet == "union" else tuple((s,) for s in every))

    @cached_property
    def counts(self) -> list[int]:
        return [1] * (self.n * (self.n - 1)) + [self.N] * self.n

    def log_coefficients(self) -> list[list[arb]]:
        """n rows of n² balls."""
        T = arb(self.T)
        steep, flat = T.log(), arb(self.N).log().log()
        rows = []
        for law in range(self.n):
            row = [-steep * (1 if law in (i, k) else 2) - (T if law == k else 0) for i, k in _pairs(self.n)]
            rows.append([*row, *[-flat * (1 if law == i else 2) for i in range(self.n)]])
        return rows

    # -- floats: which parameters -------------------------------------------------------------------------------------

    def guess(self, target: Floats) -> Floats | None:
        """Parameters with these numbers in floats; None where Newton's method finds none. Newton in the logarithms of
        the parameters, for the logarithms of the numbers."""
        log_c = np.array([[float(x) for x in row] for row in self.log_coefficients()])
        log_N = np.log(2.0) * np.array([count.bit_length() - 1 for count in self.counts])
        u = np.log(target)
        for block in self.blocks:  # at most half of the weight in a block is outside its rest
            used = (np.exp(log_c[:, block]) @ np.exp(u[list(block)])).max()
            u[list(block)] -= max(0.0, float(np.log(2 * used)))
        state = self._logarithms(u, log_c, log_N, target)
        for _ in range(MAX_STEPS):
            if state is None:
                return None
            gap, slopes = state
            size = float(np.abs(gap).max())
            if size < 1e-11:
                found: Floats = np.exp(u)
                return found
            try:
                step = -np.linalg.solve(slopes, gap)
            except np.linalg.LinAlgError:
                return None
            if not np.isfinite(step).all():
                return None
            factor = min(1.0, 2.0 / float(np.abs(step).max()))
            while factor > 1e-4:
                next_state = self._logarithms(u + factor * step, log_c, log_N, target)
                if next_state is not None and float(np.abs(next_state[0]).max()) < size * (1 - factor / 8):
                    break
                factor /= 2
            else:
                return None
            u, state = u + factor * step, next_state
        return None

    def _logarithms(self, u: Floats, log_c: Floats, log_N: Floats, target: Floats) -> tuple[Floats, Floats] | None:
        """log of the numbers over the targets, and its derivatives by u = log x; None where a rest is not positive."""
        n = self.n
        c, x = np.exp(log_c), np.exp(u)
        entropies, divergences = np.zeros(n), np.zeros((n, n))
        d_entropies, d_divergences = np.zeros((n, n * n)), np.zeros((n, n, n * n))
        for block in self.blocks:
            s = list(block)
            w = c[:, s] * x[s]
            rest = 1 - w.sum(axis=1)
            if rest.min() < 1e-9:
                return None
            log_rest = np.log1p(-w.sum(axis=1))
            log_atom = log_c[:, s] + u[s] - log_N[s]
            entropies -= rest * log_rest + (w * log_atom).sum(axis=1)
            d_entropies[:, s] += w * (log_rest[:, None] - log_atom)
            ratio = log_c[:, None, s] - log_c[None, :, s]
            log_ratio = log_rest[:, None] - log_rest[None, :]
            divergences += rest[:, None] * log_ratio + (w[:, None, :] * ratio).sum(axis=2)
            d_divergences[:, :, s] += w[:, None, :] * (ratio - log_ratio[:, :, None] - 1)
            d_divergences[:, :, s] += (rest[:, None] / rest[None, :])[:, :, None] * w[None, :, :]
        places = _pairs(n)
        values = np.array([*(divergences[i, k] for i, k in places), *entropies])
        if not (values > 0).all():
            return None
        slopes = np.array([*(d_divergences[i, k] for i, k in places), *d_entropies])
        return np.log(values / target), slopes / values[:, None]

    # -- balls: the parameters ----------------------------------------------------------------------------------------

    def numbers(self, x: Sequence[arb], log_c: Sequence[Sequence[arb]]) -> tuple[list[arb], arb_mat]:
        """All D_ik and H_i and their derivatives (n²×n²) at a box of parameters."""
        n, size = self.n, self.n * self.n
        log_x = [value.log() for value in x]
        c = [[value.exp() for value in row] for row in log_c]
        entropies = [arb(0) for _ in range(n)]
        divergences = [[arb(0) for _ in range(n)] for _ in range(n)]
        slopes = arb_mat(size, size)
        for block in self.blocks:
            rest = [1 - sum((c[i][s] * x[s] for s in block), arb(0)) for i in range(n)]
            log_rest = [value.log() for value in rest]
            for i in range(n):
                entropies[i] -= rest[i] * log_rest[i]
                for s in block:
                    log_atom = log_c[i][s] + log_x[s] - arb(self.counts[s]).log()
                    entropies[i] -= c[i][s] * x[s] * log_atom
                    slopes[size - n + i, s] = c[i][s] * (log_rest[i] - log_atom)
            for row, (i, k) in enumerate(_pairs(n)):
                log_ratio = log_rest[i] - log_rest[k]
                divergences[i][k] += rest[i] * log_ratio
                for s in block:
                    ratio = log_c[i][s] - log_c[k][s]
                    divergences[i][k] += c[i][s] * x[s] * ratio
                    slopes[row, s] = c[i][s] * (ratio - log_ratio - 1) + rest[i] / rest[k] * c[k][s]
        return [*(divergences[i][k] for i, k in _pairs(n)), *entropies], slopes

    def proved(self, start: Floats, target: Row, bits: int) -> list[arb] | None:
        """Balls of relative radius 2^-bits that contain parameters with exactly these numbers, or None."""
        log_c = self.log_coefficients()
        size = len(target)
        centre = [fmpq(*float(x).as_integer_ratio()) for x in start]
        Y = arb_mat(size, size)
        for _ in range(2 + flint.ctx.prec.bit_length()):
            value, slopes = self.numbers([arb(x) for x in centre], log_c)
            gap = [arb(midpoint(v - t)) for v, t in zip(value, target, strict=True)]
            try:
                Y = arb_mat(size, size, [arb(midpoint(y)) for y in slopes.mid().inv().entries()])
            except ZeroDivisionError:
                return None
            step = (Y * arb_mat(size, 1, gap)).entries()
            centre = [midpoint(arb(x) - s) for x, s in zip(centre, step, strict=True)]
            if not all(x > 0 for x in centre):
                return None
        value, _ = self.numbers([arb(x) for x in centre], log_c)
        moved = (Y * arb_mat(size, 1, [v - t for v, t in zip(value, target, strict=True)])).entries()
        radii = [x / fmpq(2) ** bits for x in centre]
        box = [arb(x, r) for x, r in zip(centre, radii, strict=True)]
        off = Y * self.numbers(box, log_c)[1]
        for s in range(size):
            total = moved[s].abs_upper()
            for t in range(size):
                total += abs(off[s, t] - int(s == t)).abs_upper() * arb(radii[t])
            if not total < arb(radii[s]):
                return None
        return box

    def laws(self, x: Sequence[arb]) -> Laws:
        """The laws on the product of the blocks' alphabets."""
        log_c = self.log_coefficients()
        kinds: list[list[tuple[int, list[arb]]]] = []  # for each block: count and log weights of its atoms
        for block in self.blocks:
            rest = [(1 - sum((row[s].exp() * x[s] for s in block), arb(0))).log() for row in log_c]
            logs = [[row[s] + x[s].log() - arb(self.counts[s]).log() for row in log_c] for s in block]
            kinds.append([(1, rest), *((self.counts[s], log) for s, log in zip(block, logs, strict=True))])
        choices = list(product(*kinds))
        total = [sum((log[i] for _, log in choice), arb(0)) for i in range(self.n) for choice in choices]
        counts = tuple(prod(count for count, _ in choice) for choice in choices)
        return Laws(arb_mat(self.n, len(choices), total), counts)


def realize_laws(numbers: Numbers, *, alphabet: str = "union", precision: int = PRECISION) -> Laws:
    """Balls (of about ``precision`` bits) around laws that have exactly these entropies and divergences.

    ``alphabet`` is "union" (n² + 1 kinds of atoms) or "product" (2^{n²}). Raises Undecided when no size of the
    gadgets that is tried admits a solution.

    >>> laws = realize_laws(Numbers.of([fmpq(1), fmpq(2)], [[fmpq(0), fmpq(1, 2)], [fmpq(3), fmpq(0)]]))
    >>> laws.entropy(1).contains(2), laws.divergence(0, 1).contains(fmpq(1, 2)), len(laws.counts)
    (True, True, 5)
    """
    target = numbers.flat()
    floats = np.array([float(x) for x in target])
    with flint.ctx.workprec(2 * precision + 64):
        for N in SIZES:
            for T in STEEPNESSES:
                gadgets = _Gadgets.of(numbers.n, T, N, alphabet)
                start = gadgets.guess(floats)
                box = None if start is None else gadgets.proved(start, target, 2 * precision)
                if box is not None:
                    return gadgets.laws(box)
    raise Undecided("the converse of several queries: these entropies and divergences ask for larger alphabets")


def numbers_of(Q: RationalMatrix, log_masses: Sequence[fmpq], means: RationalMatrix) -> Numbers:
    """H_i and D_ik of log masses (n) and means (d×n, column i is p̄_i) at the logit vectors Q (n×d, row i is q_i).

    Raises UnreachableError when one is not positive: for linearly independent q_i this is all that can fail.

    >>> one = RationalMatrix.identity(2)
    >>> numbers_of(one, [fmpq(2), fmpq(2)], one).divergences[0][1]
    1
    """
    n, d = Q.shape
    if means.shape != (d, n) or len(log_masses) != n:
        raise ValueError(f"expected {n} log masses and {d}×{n} means, found {len(log_masses)} and {means.shape}")
    at = Q.times(means)  # q_k·p̄_i in row k, column i
    entropies = [log_masses[i] - at[i, i] for i in range(n)]
    divergences = [[log_masses[k] - log_masses[i] + at[i, i] - at[k, i] for k in range(n)] for i in range(n)]
    return Numbers.of(entropies, divergences)


def means_with(Q: RationalMatrix, log_masses: Sequence[fmpq], numbers: Numbers) -> RationalMatrix:
    """The shortest means (d×n) with these entropies and divergences: ``q_k·p̄_i = σ_k − H_i − D_ik``.

    >>> one = RationalMatrix.identity(2)
    >>> means_with(one, [fmpq(2), fmpq(2)], numbers_of(one, [fmpq(2), fmpq(2)], one)) == one
    True
    """
    n = numbers.n
    at = [[log_masses[k] - numbers.entropies[i] - numbers.divergences[i][k] for i in range(n)] for k in range(n)]
    return _pseudoinverse(Q).times(RationalMatrix.of(at))


def _pseudoinverse(Q: RationalMatrix) -> RationalMatrix:
    """Q^T (Q Q^T)^{-1} (d×n). Raises ValueError for dependent rows."""
    if Q.rank() < Q.shape[0]:
        raise ValueError("the logit vectors are linearly dependent: the converse is about independent ones")
    return Q.T.times(Q.times(Q.T).inverse())


def realize_prompt(
    Q: RationalMatrix,
    log_masses: Sequence[fmpq],
    means: RationalMatrix,
    *,
    alphabet: str = "union",
    precision: int = PRECISION,
) -> ClusteredPrompt:
    """Balls around a prompt that has, exactly, the mass e^{log_masses[i]} and the mean in column i of ``means`` (d×n)
    at the logit vector in row i of Q (n×d, independent rows).

    Raises UnreachableError when an entropy or a divergence is not positive, Undecided where :func:`realize_laws` does.

    >>> one = RationalMatrix.identity(2)
    >>> prompt = realize_prompt(one, [fmpq(2), fmpq(2)], one)
    >>> worst_residual(one, [fmpq(2), fmpq(2)], one, prompt) < 1e-25
    True
    """
    n = Q.shape[0]
    pseudoinverse = _pseudoinverse(Q)
    laws = realize_laws(numbers_of(Q, log_masses, means), alphabet=alphabet, precision=precision)
    with flint.ctx.workprec(2 * precision + 64):
        kinds = len(laws.counts)
        scores = [arb(log_masses[i]) + laws.log_weights[i, j] for i in range(n) for j in range(kinds)]
        tokens = arb_mat(pseudoinverse.mat) * arb_mat(n, kinds, scores)
        across = RationalMatrix(means.mat - pseudoinverse.times(Q).times(means).mat)  # orthogonal to all q_i
        if any(x != 0 for x in across.mat.entries()):
            w = laws.totals  # of full rank, since on the atoms of the entropy gadgets it is
            tokens += arb_mat(across.mat) * (w * w.transpose()).inv() * w
        return ClusteredPrompt(BallMatrix(tokens), laws.counts)


def summaries(Q: RationalMatrix, prompt: ClusteredPrompt) -> list[tuple[arb, list[arb]]]:
    """(log S, p̄) of a prompt at each row of Q (n×d), from the definition, in balls at flint's current precision."""
    scores = arb_mat(Q.mat) * prompt.tokens.mat
    d, kinds = prompt.tokens.shape
    found = []
    for i in range(Q.shape[0]):
        top = max(scores[i, j].mid() for j in range(kinds))
        weights = [(scores[i, j] - top).exp() * count for j, count in enumerate(prompt.counts)]
        mass = sum(weights, arb(0))
        sums = (prompt.tokens.mat * arb_mat(kinds, 1, weights)).entries()
        found.append((mass.log() + top, [sums[c] / mass for c in range(d)]))
    return found


def worst_residual(
    Q: RationalMatrix,
    log_masses: Sequence[fmpq],
    means: RationalMatrix,
    prompt: ClusteredPrompt,
    precision: int = PRECISION,
) -> float:
    """An upper bound of ``|log S_i − σ_i|`` and ``|p̄_i − means_i|`` in every entry, for all prompts in the balls."""
    worst = 0.0
    with flint.ctx.workprec(precision):
        for i, (log_mass, mean) in enumerate(summaries(Q, prompt)):
            gaps = [log_mass - arb(log_masses[i]), *(x - arb(means[c, i]) for c, x in enumerate(mean))]
            worst = max([worst, *(float(gap.abs_upper()) for gap in gaps)])
    return worst


__all__ = [
    "ALPHABETS",
    "Laws",
    "Numbers",
    "means_with",
    "numbers_of",
    "realize_laws",
    "realize_prompt",
    "summaries",
    "worst_residual",
]
