"""Searching the criterion of several queries: a point where all inequalities are strict, or a tree of boxes that are
all refuted (:mod:`constructions.single_layer.mass_boxes`).

Source: THEORY section 3.2 (ours).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import flint
import numpy as np
import scipy
from flint import fmpq
from numpy.typing import NDArray

from constructions.numbers.exponential import midpoint
from constructions.single_layer.mass_boxes import (
    MAX_NODES,
    PRECISION,
    Box,
    BoxSearch,
    BoxTree,
    Cut,
    Interval,
    Refutation,
    sample_points,
)
from constructions.single_layer.several_queries import System
from constructions.verdict import Undecided

Floats = NDArray[np.float64]
CriterionTree = BoxTree


@dataclass(frozen=True)
class FeasiblePoint:
    """A box (a point for free groups) on which every inequality is strict."""

    box: tuple[tuple[fmpq, fmpq], ...]


class CriterionSearch:
    """One search; ``guesses`` of feasible points can be asked for beforehand by :meth:`find_point`."""

    def __init__(self, system: System, max_nodes: int = MAX_NODES) -> None:
        self.system = system
        self.n = len(system.groups)
        self.inequalities = system.inequalities
        with flint.ctx.workprec(PRECISION):
            self.reference = [self._reference(g) for g in range(self.n)]
        self.boxes = BoxSearch(self.inequalities, self.reference, system.brackets, system.length, self.probe, max_nodes)
        self._to_floats()

    def _reference(self, g: int) -> fmpq:
        """A rational near the logarithm of the context mass of a group: the scale of its axis."""
        view = self.system.groups[g].combination.problem.views[0]
        return fmpq((midpoint(view.mass.enclosure().log()) * 16).floor(), 16)

    def _to_floats(self) -> None:
        """Everything in τ = σ − reference, in floats (guesses)."""
        rows = len(self.inequalities)
        self.slopes = np.array([i.slopes for i in self.inequalities], dtype=float).reshape(rows, self.n)
        self.constants = np.array([float(x) for x in self.boxes.constants])
        self.decays = np.array([float(x) for x in self.boxes.decays])
        self.owner = np.array([i.group for i in self.inequalities])
        self.reach = 200.0 + 8 * float(np.abs(self.constants).max())

    # -- a feasible point ---------------------------------------------------------------------------------------------

    def values(self, tau: Floats) -> Floats:
        result: Floats = self.slopes @ tau + self.constants
        result += self.decays * np.exp(-np.clip(tau[self.owner], -600, 600))
        return result

    def find_point(self, seed: int = 0, starts: int = 24) -> FeasiblePoint | None:
        """A strictly feasible point, if some start of a local search ends in one (checked in balls)."""
        rng = np.random.default_rng(seed)
        fixed = [
            None if b is None else float((b[0] + b[1]) / 2 - r)
            for b, r in zip(self.system.brackets, self.reference, strict=True)
        ]
        free = [g for g in range(self.n) if fixed[g] is None]
        base = np.array([0.0 if x is None else x for x in fixed])
        for k in range(starts):
            tau = base.copy()
            if k % 3 == 0:  # masses as large as the constants ask for
                tau[free] = rng.uniform(0, self.reach / 4, size=len(free))
            else:
                tau[free] = rng.normal(size=len(free)) * (1 + k)
            if free:
                tau = self._climb(tau, free)
            if not np.isfinite(tau).all() or self.values(tau).min() <= 0:
                if not free:
                    break
                continue
            point = self._certified(tau)
            if point is not None:
                return point
        return None

    def short_points(self, point: FeasiblePoint) -> Iterator[Floats]:
        """σ in floats where the entropies, and with them the prompt, are small and the divergences not too small:
        guesses for explicit prompts, from well separated clusters of tokens to barely separated ones."""
        start = np.array(
            [float((low + high) / 2 - r) for (low, high), r in zip(point.box, self.reference, strict=True)]
        )
        free = [g for g in range(self.n) if self.system.brackets[g] is None]
        entropies = [row for row, x in enumerate(self.inequalities) if x.kind == "entropy"]
        others = [row for row, x in enumerate(self.inequalities) if x.kind == "divergence"]

        def full(x: Floats) -> Floats:
            tau = start.copy()
            tau[free] = x
            return tau

        def size(x: Floats) -> float:
            return float(np.logaddexp.reduce(self.values(full(x))[entropies]))

        for divergence in (4.0, 2.0, 1.0, 0.3, 0.1):
            if free:

                def room(x: Floats, least: float = divergence) -> Floats:
                    values = self.values(full(x))
                    result: Floats = np.concatenate([values[entropies] - 0.02, values[others] - least])
                    return result

                run = scipy.optimize.minimize(
                    size,
                    start[free],
                    constraints=[{"type": "ineq", "fun": room}],  # type: ignore[call-overload]
                    method="SLSQP",
                    options={"maxiter": 200},
                )
                tau = full(run.x) if np.isfinite(run.x).all() and room(run.x).min() > -1e-6 else None
            else:
                tau = start
            if tau is not None:
                yield tau + np.array([float(r) for r in self.reference])

    def _climb(self, tau: Floats, free: list[int]) -> Floats:
        """Raise the least inequality by sequential quadratic programming in (τ_free, t)."""

        def full(x: Floats) -> Floats:
            result = tau.copy()
            result[free] = x[:-1]
            return result

        def gap(x: Floats) -> Floats:
            result: Floats = self.values(full(x)) - x[-1]
            return result

        def gap_slope(x: Floats) -> Floats:
            now = full(x)
            jacobian = self.slopes.copy()
            decay = -self.decays * np.exp(-np.clip(now[self.owner], -600, 600))
            jacobian[np.arange(len(decay)), self.owner] += decay
            return np.hstack([jacobian[:, free], -np.ones((len(decay), 1))])

        start = np.append(tau[free], self.values(tau).min())
        unit = np.append(np.zeros(len(free)), -1.0)
        try:
            run = scipy.optimize.minimize(
                lambda x: float(unit @ x),
                start,
                jac=lambda x: unit,
                constraints=[{"type": "ineq", "fun": gap, "jac": gap_slope}],  # type: ignore[call-overload]
                bounds=[*[(-self.reach, self.reach)] * len(free), (-np.inf, 1.0)],
                method="SLSQP",
                options={"maxiter": 100},
            )
        except (ValueError, FloatingPointError):
            return tau
        return full(run.x)

    def _certified(self, tau: Floats) -> FeasiblePoint | None:
        for bits in (8, 20, 40):
            box = []
            for g in range(self.n):
                bracket = self.system.brackets[g]
                if bracket is not None:
                    box.append(bracket)
                else:
                    sigma = self.reference[g] + fmpq(round(float(tau[g]) * 2**bits)) / fmpq(2) ** bits
                    box.append((sigma, sigma))
            try:
                if self.system.holds_strictly(box):
                    return FeasiblePoint(tuple(box))
            except Undecided:
                continue
        return None

    # -- refutation ---------------------------------------------------------------------------------------------------

    def refute(self) -> CriterionTree | FeasiblePoint:
        """A tree that refutes the closed system everywhere, or a strictly feasible point met on the way. Raises
        Undecided past the node limit."""
        found = self.boxes.run()
        assert isinstance(found, (Refutation, Cut, FeasiblePoint))
        return found

    def probe(self, box: Box) -> FeasiblePoint | None:
        """The centre of a box, if it is strictly feasible."""
        centre = np.array([sample_points(box[g], self.reference[g], 3)[1] for g in range(self.n)])
        return self._certified(centre) if self.values(centre).min() > 0 else None


__all__ = ["CriterionSearch", "CriterionTree", "Cut", "FeasiblePoint", "Interval", "Refutation"]
