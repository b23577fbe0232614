"""Explicit memorizing prompts for several queries: Newton in floats, then balls, then Krawczyk's test proves an exact
one nearby.

The unknowns are entries of the prompt; for each group of queries with one logit vector the equations are ``C + Σ_j
e^{q·p_j} (V p_j − a) = 0`` (d of them) and, where the group fixes its mass s, ``Σ_j e^{q·p_j} = s``. Source: THEORY
section 3.2 (ours).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import flint
import numpy as np
import scipy
from flint import arb, arb_mat, fmpq
from numpy.typing import NDArray

from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.several_queries import System

Floats = NDArray[np.float64]
PRECISION = 192
CENTRE_BITS = 80
RADIUS = fmpq(1, 2**60)


@dataclass(frozen=True)
class ProvedPrompt:
    """A matrix within ``radius`` of ``tokens`` (d×c), entry by entry, with its column j taken ``counts[j]`` times, is a
    prompt that meets every query exactly: Krawczyk's test holds for the ``unknowns`` (entries of the matrix) with this
    preconditioner, the equations of group g divided by e^{references[g]}."""

    tokens: RationalMatrix
    counts: tuple[int, ...]
    radius: fmpq
    unknowns: tuple[tuple[int, int], ...]
    preconditioner: RationalMatrix
    precision: int
    references: tuple[fmpq, ...]

    @property
    def length(self) -> int:
        """The number of tokens of the prompt."""
        return sum(self.counts)

    def expanded(self, limit: int = 4096) -> RationalMatrix | None:
        """The centre with every token as often as it is taken; None if that makes more than ``limit``."""
        return None if self.length > limit else self.tokens.repeated(self.counts)


class Equations(Protocol):
    """As many equations for a prompt as it takes to meet every query: in floats, with their derivatives by all entries
    of the token matrix (row-major), and in balls over a box of token matrices."""

    d: int
    counts: tuple[int, ...]
    count: int
    scale: list[fmpq]
    size: float

    def residual(self, flat: Floats) -> Floats: ...
    def jacobian(self, flat: Floats) -> Floats: ...
    def enclosures(self, P: arb_mat, unknowns: Sequence[tuple[int, int]]) -> tuple[list[arb], arb_mat]: ...


class PromptEquations:
    """The equations of a system for prompts with given counts of tokens, scaled by the mass e^{sigma[g]} that is
    expected of the prompt (by the context mass when ``sigma`` is None)."""

    def __init__(self, system: System, counts: Sequence[int], sigma: Floats | None = None) -> None:
        self.system, self.counts = system, tuple(counts)
        problem = system.groups[0].combination.problem
        self.d = len(problem.q)
        self.V = problem.V
        self.count = sum(self.d + (group.equation is not None) for group in system.groups)
        with flint.ctx.workprec(PRECISION):
            if sigma is not None:
                self.scale = [fmpq(round(float(x) * 16), 16) for x in sigma]
            else:
                self.scale = [
                    fmpq((midpoint(group.combination.problem.views[0].mass.enclosure().log()) * 16).floor(), 16)
                    for group in system.groups
                ]
            self.C = [
                [(x.enclosure() * arb(-rho).exp()) for x in group.combination.C[0]]
                for group, rho in zip(system.groups, self.scale, strict=True)
            ]
            self.mass = [
                None
                if group.equation is None
                else group.equation.gamma.enclosure() * arb(-rho).exp() / arb(group.equation.delta)
                for group, rho in zip(system.groups, self.scale, strict=True)
            ]
        self.V_float = np.array([[float(x) for x in row] for row in self.V.rows()])
        self.q_float = np.array([[float(x) for x in group.q] for group in system.groups])
        self.a_float = np.array([[float(x) for x in group.combination.a[0]] for group in system.groups])
        self.C_float = np.array([[float(x) for x in row] for row in self.C])
        self.size = 1 + float(np.abs(self.C_float).max())
        self.counts_float = np.array([float(x) for x in self.counts])

    def _weights(self, g: int, P: Floats) -> Floats:
        result: Floats = self.counts_float * np.exp(np.clip(self.q_float[g] @ P - float(self.scale[g]), -600, 60))
        return result

    def residual(self, flat: Floats) -> Floats:
        """All equations at a prompt, in floats."""
        P = flat.reshape(self.d, -1)
        parts = []
        for g, mass in enumerate(self.mass):
            weights = self._weights(g, P)
            parts.append(self.C_float[g] + (self.V_float @ P - self.a_float[g][:, None]) @ weights)
            if mass is not None:
                parts.append(np.array([weights.sum() - float(mass)]))
        return np.concatenate(parts)

    def jacobian(self, flat: Floats) -> Floats:
        """Derivatives by all entries of the prompt (row-major), in floats."""
        P = flat.reshape(self.d, -1)
        rows = []
        for g, mass in enumerate(self.mass):
            weights = self._weights(g, P)
            values = self.V_float @ P - self.a_float[g][:, None]
            block = np.einsum("cj,i,j->cij", values, self.q_float[g], weights) + np.einsum(
                "ci,j->cij", self.V_float, weights
            )
            rows.append(block.reshape(self.d, -1))
            if mass is not None:
                rows.append(np.outer(self.q_float[g], weights).reshape(1, -1))
        return np.concatenate(rows)

    def enclosures(self, P: arb_mat, unknowns: Sequence[tuple[int, int]]) -> tuple[list[arb], arb_mat]:
        """All equations, and their derivatives by the unknowns, over a box of prompts in balls."""
        values = arb_mat(self.V.mat) * P
        equations: list[arb] = []
        derivatives: list[arb] = []
        for g, mass in enumerate(self.mass):
            q = [arb(x) for x in self.system.groups[g].q]
            a = [arb(x) for x in self.system.groups[g].combination.a[0]]
            weights = [
                n * (sum((q[i] * P[i, j] for i in range(self.d)), arb(0)) - arb(self.scale[g])).exp()
                for j, n in enumerate(self.counts)
            ]
            for c in range(self.d):
                shifted = [values[c, j] - a[c] for j in range(len(self.counts))]
                equations.append(self.C[g][c] + sum((w * x for w, x in zip(weights, shifted, strict=True)), arb(0)))
                derivatives += [weights[j] * (q[i] * shifted[j] + arb(self.V[c, i])) for i, j in unknowns]
            if mass is not None:
                equations.append(sum(weights, arb(0)) - mass)
                derivatives += [weights[j] * q[i] for i, j in unknowns]
        return equations, arb_mat(len(equations), len(unknowns), derivatives)


def clusters(system: System, sigma: Floats) -> list[tuple[Floats, float]]:
    """For each group the mean p̄_g that its queries ask for at mass e^{σ_g}, and e^{H_g}: that many tokens at p̄_g
    solve the equations up to what the groups leak into each other, e^{−D}."""
    found = []
    inverse = np.array([[float(x) for x in row] for row in system.inverse.rows()])
    for g, group in enumerate(system.groups):
        a = np.array([float(x) for x in group.combination.a[0]])
        with flint.ctx.workprec(PRECISION):
            decay = arb(-float(sigma[g])).exp()
            C = np.array([float(x.enclosure() * decay) for x in group.combination.C[0]])
        mean = inverse @ (a - C)
        q = np.array([float(x) for x in group.q])
        found.append((mean, float(np.exp(min(50.0, sigma[g] - q @ mean)))))
    return found


def prompt_from_clusters(
    system: System, sigmas: Iterable[Floats], *, longest: int, seed: int = 0
) -> ProvedPrompt | None:
    """A proved prompt of at most ``longest`` tokens near clusters at the means that some σ asks for; the shortest
    found."""
    rng = np.random.default_rng(seed)
    best: ProvedPrompt | None = None
    for sigma in sigmas:
        parts = clusters(system, sigma)
        for extra in range(3):
            counts = [max(1, round(size)) + extra for _, size in parts]
            length = sum(counts)
            if length > (longest if best is None else best.length - 1):
                continue
            columns = np.concatenate(
                [np.repeat(mean[:, None], n, axis=1) for (mean, _), n in zip(parts, counts, strict=True)], axis=1
            )
            for noise in (0.0, 0.05, 0.3):
                start = columns + noise * rng.normal(size=columns.shape)
                proved = from_start(PromptEquations(system, (1,) * length, sigma), start.ravel())
                if proved is not None:
                    best = proved
                    break
    return best


def find_prompt(system: System, length: int, *, starts: int = 20, seed: int = 0) -> ProvedPrompt | None:
    """A proved prompt of exactly ``length`` tokens from random starts, or None when no start led to one."""
    equations = PromptEquations(system, (1,) * length)
    rng = np.random.default_rng(seed)
    for k in range(starts):
        proved = from_start(equations, rng.normal(size=equations.d * length) * (0.5, 1.0, 2.0, 4.0)[k % 4])
        if proved is not None:
            return proved
    return None


def prompt_from_counts(
    make: Callable[[Sequence[int]], Equations],
    means: Sequence[Floats],
    *,
    shortest: int,
    longest: int,
    starts: int = 400,
    seed: int = 0,
) -> ProvedPrompt | None:
    """A proved prompt with few different tokens that are repeated very often: random counts of at most ``longest``
    tokens in all, random tokens around ``means``. Where entropies differ much and divergences are small only long
    prompts exist, and these have few unknowns when tokens repeat. The shortest found is returned."""
    rng = np.random.default_rng(seed)
    best: ProvedPrompt | None = None
    for _ in range(starts):
        top = longest if best is None else best.length - 1
        reach = np.exp(rng.uniform(np.log(max(2, shortest)), np.log(max(3, top))))
        columns = int(rng.integers(2, 8))
        counts = [int(x) for x in np.exp(rng.uniform(0, np.log(reach), size=columns)).round()]
        if not shortest <= sum(counts) <= top:
            continue
        equations = make(counts)
        around = np.array([means[int(rng.integers(len(means)))] for _ in counts]).T
        start = around + rng.normal(size=around.shape) * rng.choice([0.3, 1.0, 3.0, 10.0])
        proved = from_start(equations, start.ravel())
        if proved is not None:
            best = proved
    return best


def from_start(equations: Equations, start: Floats) -> ProvedPrompt | None:
    """Least squares in floats from one start, then the proof."""
    if len(start) < equations.count:
        return None
    try:
        with np.errstate(all="ignore"):  # what is not finite in the end is refused
            run = scipy.optimize.least_squares(
                equations.residual,
                start,
                jac=equations.jacobian,
                method="trf",
                x_scale="jac",
                xtol=1e-15,
                ftol=1e-15,
                gtol=1e-15,
                max_nfev=300,
            )
    except (ValueError, np.linalg.LinAlgError):
        return None
    small = 1e-7 * equations.size
    if not np.isfinite(run.x).all() or float(np.abs(run.fun).max()) > small:
        return None
    return _prove(equations, run.x)


def _prove(equations: Equations, flat: Floats) -> ProvedPrompt | None:
    """Polish in balls, then Krawczyk's test on a well-conditioned choice of unknowns."""
    jacobian = equations.jacobian(flat)
    n, m = equations.count, len(equations.counts)
    try:
        pivots = scipy.linalg.qr(jacobian, mode="economic", pivoting=True)[2][:n]
        inverse = np.linalg.inv(jacobian[:, pivots])
    except (ValueError, np.linalg.LinAlgError):
        return None
    if not np.isfinite(inverse).all():
        return None
    unknowns = tuple((int(p) // m, int(p) % m) for p in pivots)
    Y = RationalMatrix.of([[fmpq(round(float(x) * 2**40)) / fmpq(2) ** 40 for x in row] for row in inverse])
    with flint.ctx.workprec(PRECISION):
        centre = [[fmpq(round(float(x) * 2**60)) / fmpq(2) ** 60 for x in row] for row in flat.reshape(equations.d, m)]
        for _ in range(8):  # Newton with a fixed inverse converges linearly and fast
            value, _derivative = equations.enclosures(arb_mat([[arb(x) for x in row] for row in centre]), ())
            if not all(x.is_finite() for x in value):
                return None
            step = Y.apply([midpoint(x) for x in value])
            if any(abs(s) > 1 + abs(centre[i][j]) for (i, j), s in zip(unknowns, step, strict=True)):
                return None  # it runs away
            for (i, j), s in zip(unknowns, step, strict=True):
                power = fmpq(2) ** CENTRE_BITS
                centre[i][j] = fmpq(((centre[i][j] - s) * power).floor()) / power
        tokens = RationalMatrix.of(centre)
        return (
            ProvedPrompt(tokens, equations.counts, RADIUS, unknowns, Y, PRECISION, tuple(equations.scale))
            if krawczyk(equations, tokens, RADIUS, unknowns, Y)
            else None
        )


def krawczyk(
    equations: Equations,
    tokens: RationalMatrix,
    radius: fmpq,
    unknowns: Sequence[tuple[int, int]],
    Y: RationalMatrix,
) -> bool:
    """Whether ``|Y F(x_0)| + |I − Y F'(box)| r < r`` in every component, in balls."""
    n = equations.count
    rows, width = tokens.shape
    chosen = set(unknowns)
    centre = arb_mat(tokens.mat)
    box = arb_mat(
        rows,
        width,
        [
            arb(tokens[i, j], radius) if (i, j) in chosen else arb(tokens[i, j])
            for i in range(rows)
            for j in range(width)
        ],
    )
    value, _ = equations.enclosures(centre, ())
    _, derivative = equations.enclosures(box, unknowns)
    preconditioner = arb_mat(Y.mat)
    moved = preconditioner * arb_mat(n, 1, value)
    rest = preconditioner * derivative
    for i in range(n):
        total = moved[i, 0].abs_upper()
        for j in range(n):
            total += abs(rest[i, j] - int(i == j)).abs_upper() * arb(radius)
        if not total < arb(radius):
            return False
    return True
