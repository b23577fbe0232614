"""When no prompt serves several heads: entropies and divergences of a prompt, together with what the heads are to give.

The mean p̄_g of a prompt at a logit vector is known only through the equations ``V_j p̄_g = o_α − C_α e^{−σ_g}`` of the
pairs α of that vector. A combination of the inequalities H_g, D_gk ≥ 0 (and N_g ≥ 0 for at most N tokens) in which all
p̄_g occur as ``y_α·V_j p̄_g`` is a sum of functions of σ_g alone, and can be shown negative box by box. Pairs that share
a logit vector need no inequality: their equations already contradict each other. Source: THEORY section 3.3; proofs in
docs/theory/several-heads.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import flint
import numpy as np
import scipy
from flint import fmpq

from constructions.numbers.exponential import ExpSum, midpoint
from constructions.numbers.rational import RationalMatrix, dot
from constructions.single_layer.mass_boxes import PRECISION, BoxSearch, BoxTree, Cut, Form, Refutation
from constructions.single_layer.several_heads import HeadPairs, SeveralHeads, pivot_columns
from constructions.verdict import Undecided

Row = list[fmpq]
MAX_NODES = 40


@dataclass(frozen=True)
class HeadsSystem:
    """Inequalities (one multiplier ≥ 0 each) and equations (``values``: for each pair a basis of the vectors y_α that
    matter) of one combination of preimages. Every form's ``coupling`` is what it asks of the p̄_g, all groups in a row.
    """

    data: SeveralHeads
    choice: tuple[int, ...]
    length: int | None
    forms: tuple[Form, ...]
    directions: tuple[tuple[int, tuple[fmpq, ...]], ...]  # pair and vector of every equation, in the order of the forms

    @classmethod
    def of(cls, data: SeveralHeads, choice: Sequence[int], length: int | None) -> HeadsSystem:
        pairs = data.pairs
        h = len(pairs.heads)
        a = [row for row in data.shifted(choice) for _ in range(h)]
        C = data.asked(a)
        bases = [_alone(pairs, j) for j in range(h)]
        groups = pairs.groups
        q = [list(pairs.q[members[0]]) for members in groups]
        count, d = len(groups), pairs.width
        zero = ExpSum({})

        def coupling(g: int, vector: Sequence[fmpq]) -> tuple[fmpq, ...]:
            row = [fmpq(0)] * (count * d)
            row[g * d : (g + 1) * d] = list(vector)
            return tuple(row)

        forms = []
        for g in range(count):
            own = tuple(int(k == g) for k in range(count))
            forms.append(Form("entropy", g, None, fmpq(0), own, zero, coupling=coupling(g, [-x for x in q[g]])))
            if length is not None:
                less = tuple(-x for x in own)
                forms.append(Form("length", g, None, fmpq(0), less, zero, 1, coupling=coupling(g, q[g])))
            for k in range(count):
                if k != g:
                    slopes = tuple(int(i == k) - int(i == g) for i in range(count))
                    difference = [x - y for x, y in zip(q[g], q[k], strict=True)]
                    forms.append(Form("divergence", g, k, fmpq(0), slopes, zero, coupling=coupling(g, difference)))
        directions = []
        still = (0,) * count
        for g, members in enumerate(groups):
            for pair in members:
                V = pairs.V[pairs.head(pair)]
                for y in bases[pairs.head(pair)]:
                    decay = -ExpSum.combination(y, C[pair])
                    asked = coupling(g, [-x for x in V.T.apply(y)])
                    forms.append(Form("value", g, pair, dot(y, a[pair]), still, decay, free=True, coupling=asked))
                    directions.append((pair, tuple(y)))
        return cls(data, tuple(choice), length, tuple(forms), tuple(directions))

    def refute(self, max_nodes: int = MAX_NODES) -> BoxTree:
        """A tree that leaves no masses. Raises Undecided past the node limit, and at once where large masses satisfy
        all inequalities."""
        data = self.data
        with flint.ctx.workprec(PRECISION):
            reference = [
                fmpq((midpoint(data.views[members[0]].mass.enclosure().log()) * 16).floor(), 16)
                for members in data.pairs.groups
            ]
        boxes = BoxSearch(self.forms, reference, [None] * len(reference), self.length, max_nodes=max_nodes)
        at_once = boxes.everywhere()
        if at_once is not None:
            return at_once
        if self.length is None and self._large_masses_do():
            raise Undecided("entropies and divergences can all be positive, so they exclude no prompt")
        found = boxes.run()
        assert isinstance(found, (Cut, Refutation))
        return found

    def _large_masses_do(self) -> bool:
        """Whether positive divergences are possible where all e^{−σ} vanish, so that the entropies are positive as
        well: in floats, as it only decides when to give up."""
        pairs = self.data.pairs
        groups, d = pairs.groups, pairs.width
        count = len(groups)
        q = np.array([[float(x) for x in pairs.q[members[0]]] for members in groups])
        width = count * (d + 1) + 1  # masses, means, margin
        rows = np.zeros((count * (count - 1), width))
        places = [(g, k) for g in range(count) for k in range(count) if k != g]
        for row, (g, k) in zip(rows, places, strict=True):  # margin ≤ D_gk
            row[g], row[k], row[-1] = 1, -1, 1
            row[count + g * d : count + (g + 1) * d] = q[k] - q[g]
        equations, right = [], []
        for (pair, y), form in zip(self.directions, (form for form in self.forms if form.free), strict=True):
            equation = np.zeros(width)
            seen = pairs.V[pairs.head(pair)].T.apply(list(y))
            equation[count + form.group * d : count + (form.group + 1) * d] = [float(x) for x in seen]
            equations.append(equation)
            right.append(float(form.constant))
        bounds = [(None, None)] * (width - 1) + [(None, 1)]
        cost = np.zeros(width)
        cost[-1] = -1
        answer = scipy.optimize.linprog(
            cost,
            A_ub=rows if places else None,
            b_ub=np.zeros(len(places)) if places else None,
            A_eq=np.array(equations) if equations else None,
            b_eq=right if equations else None,
            bounds=bounds,
        )
        return answer.status == 0 and answer.x is not None and float(answer.x[-1]) > 1e-6

    def values(self, leaf: Refutation) -> RationalMatrix:
        """y_α for all pairs (nh×d) in a leaf."""
        rows = [[fmpq(0)] * self.data.pairs.width for _ in range(len(self.data.pairs))]
        free = [m for m, form in zip(leaf.multipliers, self.forms, strict=True) if form.free]
        for (pair, y), m in zip(self.directions, free, strict=True):
            rows[pair] = [x + m * c for x, c in zip(rows[pair], y, strict=True)]
        return RationalMatrix.of(rows)


def _alone(pairs: HeadPairs, head: int) -> list[Row]:
    """Vectors y with ``V_k^T y = 0`` for all other heads k, and independent ``V_j^T y``: all that is asked of this head
    alone."""
    others = [row for k, V in enumerate(pairs.V) if k != head for row in V.T.rows()]
    seen_by_no_other = RationalMatrix.of(others, columns=pairs.width).nullspace()
    if not seen_by_no_other:
        return []
    basis = RationalMatrix.of_columns(seen_by_no_other)
    images = pairs.V[head].T.times(basis)
    return [basis.column(c) for c in pivot_columns(images)]


@dataclass(frozen=True)
class NoOutput:
    """Query ``query`` asks for what no heads together give: w is orthogonal to all their outputs, but not to it."""

    query: int
    w: tuple[fmpq, ...]


@dataclass(frozen=True)
class HeadsRefuted:
    """For every combination of preimages an argument: no prompt (of at most ``length`` tokens) memorizes."""

    data: SeveralHeads
    length: int | None
    arguments: tuple[NoOutput | tuple[HeadsSystem, BoxTree], ...]


def refute_heads(data: SeveralHeads, length: int | None = None, max_nodes: int = MAX_NODES) -> HeadsRefuted:
    """No prompt memorizes the data, or raises Undecided."""
    arguments: list[NoOutput | tuple[HeadsSystem, BoxTree]] = []
    for choice in data.combinations():
        outside = _outside(data, choice)
        if outside is not None:
            arguments.append(outside)
            continue
        system = HeadsSystem.of(data, choice, length)
        arguments.append((system, system.refute(max_nodes)))
    return HeadsRefuted(data, length, tuple(arguments))


def _outside(data: SeveralHeads, choice: Sequence[int]) -> NoOutput | None:
    stacked = RationalMatrix.of([row for V in data.pairs.V for row in V.T.rows()])
    orthogonal = stacked.nullspace()
    for i, a in enumerate(data.shifted(choice)):
        for w in orthogonal:
            if dot(w, a) != 0:
                return NoOutput(i, tuple(w))
    return None
