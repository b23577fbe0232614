"""Certificates of the claim several-queries: data in fractions; points and trees from the package's search.

Only the search is taken from the package. Prompts are found here, by Newton's method in mpmath.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import kernel_certificates as make
import mpmath
import numpy as np
from flint import fmpq
from prompt_law_makers import dot, row

from constructions.data import Query
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.criterion_search import CriterionSearch, Cut, FeasiblePoint
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.preimage import preimage
from constructions.single_layer.several_queries import Impossible, System, group_of
from constructions.transformer import Attention, FeedForward, Head, Layer

Json = Any
Row = list[Fraction]
mpmath.mp.dps = 60


def number(x: Fraction) -> mpmath.mpf:
    return mpmath.mpf(Fraction(x).numerator) / Fraction(x).denominator


def rounded(x: Any, bits: int = 60) -> Fraction:
    return Fraction(int(mpmath.nint(mpmath.mpf(x) * 2**bits)), 2**bits)


def fraction(x: fmpq) -> Fraction:
    return Fraction(int(x.p), int(x.q))


def invert(A: list[Row]) -> list[Row]:
    """Gauss and Jordan."""
    n = len(A)
    M = [[*r, *(Fraction(int(i == j)) for j in range(n))] for i, r in enumerate(A)]
    for i in range(n):
        k = next(k for k in range(i, n) if M[k][i])
        M[i], M[k] = M[k], M[i]
        M[i] = [x / M[i][i] for x in M[i]]
        for j in range(n):
            if j != i:
                M[j] = [x - M[j][i] * y for x, y in zip(M[j], M[i], strict=True)]
    return [r[n:] for r in M]


def times(A: list[Row], B: list[Row]) -> list[Row]:
    return [[dot(r, c) for c in zip(*B, strict=True)] for r in A]


@dataclass
class Several:
    """The logit vector of a token x is W x. Query k has the columns contexts[k], its token is the last of them,
    and it wants one of points[k] (without an MLP: the target itself)."""

    W: list[Row]
    V: list[Row]
    contexts: list[list[Row]]
    points: list[list[Row]]
    length: int | None = None
    mlp: Json = None
    proofs: list[Json] | None = None
    targets: list[Row] | None = None

    @property
    def d(self) -> int:
        return len(self.W)

    def q(self, k: int) -> Row:
        return [dot(r, self.contexts[k][-1]) for r in self.W]

    @property
    def groups(self) -> list[list[int]]:
        found: list[list[int]] = []
        for k in range(len(self.contexts)):
            mine = next((g for g in found if self.q(g[0]) == self.q(k)), None)
            if mine is None:
                found.append([k])
            else:
                mine.append(k)
        return found

    def a(self, k: int, choice: Sequence[int] | None = None) -> Row:
        z = self.points[k][0 if choice is None else choice[k]]
        return [x - y for x, y in zip(z, self.contexts[k][-1], strict=True)]

    def wants(self) -> list[Row]:
        return self.targets or [points[0] for points in self.points]

    def instance(self) -> Json:
        head = make.head(self.d, W_q=self.W, W_v=self.V)
        queries = [
            make.query([list(r) for r in zip(*columns, strict=True)], len(columns) - 1, y)
            for columns, y in zip(self.contexts, self.wants(), strict=True)
        ]
        length = None if self.length is None else make.integer(self.length)
        return {
            "layer": make.layer([head], self.mlp or make.mlp(self.d)),
            "queries": queries,
            "length": length,
        }

    def preimages(self) -> list[Json]:
        return self.proofs or [make.point(points[0]) for points in self.points]

    def certificate(self, relation: str, witness: Json) -> Json:
        evidence = "enclosed" if relation == "prompt" else "exact"
        return make.certificate("several-queries", relation, self.instance(), witness, evidence=evidence)

    # --- the package's search ---------------------------------------------------------------------------------

    def system(self, choice: Sequence[int]) -> System | Impossible:
        """For the points chosen; the MLP is left out (the points become targets of the identity)."""

        def matrix(A: Sequence[Row]) -> RationalMatrix:
            return RationalMatrix.of([[fmpq(x.numerator, x.denominator) for x in r] for r in A])

        d = self.d
        one = matrix([row(r) for r in make.identity(d)])
        layer = Layer(Attention((Head(matrix(self.W), one, matrix(self.V), one),)), FeedForward.none(d))
        groups = []
        for members in self.groups:
            queries = []
            for k in members:
                X = matrix([list(r) for r in zip(*self.contexts[k], strict=True)])
                z = tuple(fmpq(x.numerator, x.denominator) for x in self.points[k][choice[k]])
                queries.append(Query(k, len(self.contexts[k]) - 1, X, X, z))
            found = [preimage(layer.mlp, query.target) for query in queries]
            group = group_of(LossProblem.of(layer, queries, found), [0] * len(queries))
            if isinstance(group, Impossible):
                return group
            groups.append(group)
        return System(tuple(groups), self.length)

    def places(self, system: System) -> list[Json]:
        found: list[Json] = []
        for members, group in zip(self.groups, system.groups, strict=True):
            e = group.equation
            found.append(None if e is None else [members[e.i], members[e.j], e.coordinate])
        return found

    # --- floats -----------------------------------------------------------------------------------------------

    def met(self, prompt: Sequence[Sequence[Any]]) -> list[mpmath.mpf]:
        """Attention minus a, for all queries and coordinates; tokens of the prompt are rows."""
        result = []
        for k, columns in enumerate(self.contexts):
            tokens = [list(t) for t in prompt] + [[number(x) for x in t] for t in columns]
            q, a = [number(x) for x in self.q(k)], [number(x) for x in self.a(k)]
            weights = [mpmath.exp(mpmath.fdot(q, t)) for t in tokens]
            mean = [mpmath.fdot(weights, [t[c] for t in tokens]) / mpmath.fsum(weights) for c in range(self.d)]
            result += [mpmath.fdot([number(x) for x in r], mean) - y for r, y in zip(self.V, a, strict=True)]
        return result


def aimed_at(problem: Several, prompt: Sequence[Row], bits: int = 60) -> Several:
    """With the points that this prompt (tokens are rows) gives, rounded."""
    zero = [[Fraction(0)] * problem.d for _ in problem.contexts]
    origin = replace(problem, points=[[z] for z in zero])
    off = origin.met([[number(x) for x in t] for t in prompt])  # attention + x
    d = problem.d
    points = [[[rounded(x, bits) for x in off[k * d : (k + 1) * d]]] for k in range(len(zero))]
    return replace(problem, points=points)


# --- witnesses -----------------------------------------------------------------------------------------------


def scalars(pair: Sequence[Any]) -> list[Json]:
    return [make.scalar(fraction(x)) if isinstance(x, fmpq) else make.scalar(x) for x in pair]


def dual(vectors: list[Row]) -> list[Row]:
    gram = [[dot(u, v) for v in vectors] for u in vectors]
    return times(invert(gram), vectors)


def memorizable(problem: Several, box: Sequence[Any] | None = None) -> Json:
    """Without a box: the one that the search finds."""
    system = problem.system([0] * len(problem.points))
    assert isinstance(system, System)
    if box is None:
        found = CriterionSearch(system).find_point()
        assert found is not None
        box = found.box
    witness = {
        "points": [make.vector(points[0]) for points in problem.points],
        "inverse": make.matrix(invert(problem.V)),
        "dual": make.matrix(dual([problem.q(members[0]) for members in problem.groups])),
        "equations": problem.places(system),
        "box": [scalars(pair) for pair in box],
    }
    return problem.certificate("memorizable", witness)


def tree_argument(problem: Several, choice: Sequence[int]) -> Json:
    system = problem.system(choice)
    assert isinstance(system, System)
    found = CriterionSearch(system, 20000).refute()
    assert not isinstance(found, FeasiblePoint), found
    G = len(system.groups)

    def node(tree: Any) -> Json:
        if isinstance(tree, Cut):
            cut = {"group": tree.group, "at": make.scalar(fraction(tree.at))}
            return {**cut, "below": node(tree.below), "above": node(tree.above)}
        entropy, length = [Fraction(0)] * G, [Fraction(0)] * G
        divergence = make.zeros(G, G)
        for m, inequality in zip(tree.multipliers, system.inequalities, strict=True):
            value, g = fraction(m), inequality.group
            if inequality.kind == "divergence":
                divergence[g][inequality.other] = value
            else:
                (entropy if inequality.kind == "entropy" else length)[g] = value
        return {
            "entropy": make.vector(entropy),
            "divergence": make.matrix(divergence),
            "length": None if system.length is None else make.vector(length),
            "tangents": [None if c is None else make.scalar(fraction(c)) for c in tree.tangents],
        }

    brackets = [None if b is None else scalars(b) for b in system.brackets]
    return {"argument": "tree", "equations": problem.places(system), "brackets": brackets, "tree": node(found)}


def refuted(problem: Several, arguments: Sequence[Json] | None = None) -> Json:
    if arguments is None:
        arguments = [tree_argument(problem, [0] * len(problem.points))]
    log_length = None
    if problem.length is not None:
        middle = rounded(mpmath.log(problem.length))
        log_length = scalars([middle - Fraction(1, 2**50), middle + Fraction(1, 2**50)])
    witness = {
        "preimages": problem.preimages(),
        "inverse": make.matrix(invert(problem.V)),
        "log_length": log_length,
        "combinations": list(arguments),
    }
    return problem.certificate("no-prompt-memorizes", witness)


# --- prompts -------------------------------------------------------------------------------------------------


def residual(problem: Several, places: Sequence[Json], references: Sequence[Fraction]) -> Callable[[Any], Any]:
    """F of the format, in mpmath; tokens are rows."""

    def parts(k: int, rho: Fraction) -> tuple[list[Any], list[Any]]:
        """(C, a) of query k."""
        a, q = problem.a(k), problem.q(k)
        C = []
        for c in range(problem.d):
            numbers = [
                mpmath.exp(number(dot(q, z) - rho)) * number(dot(problem.V[c], z) - a[c]) for z in problem.contexts[k]
            ]
            C.append(mpmath.fsum(numbers))
        return C, [number(x) for x in a]

    def value(tokens: Any) -> Any:
        result = []
        for members, place, rho in zip(problem.groups, places, references, strict=True):
            C, a = parts(members[0], rho)
            q = [number(x) for x in problem.q(members[0])]
            weights = [mpmath.exp(mpmath.fdot(q, t) - number(rho)) for t in tokens]
            for c in range(problem.d):
                values = [mpmath.fdot([number(x) for x in problem.V[c]], t) - a[c] for t in tokens]
                result.append(C[c] + mpmath.fdot(weights, values))
            if place is not None:
                i, j, c = place
                delta = number(problem.a(i)[c] - problem.a(j)[c])
                result.append(mpmath.fsum(weights) - (parts(i, rho)[0][c] - parts(j, rho)[0][c]) / delta)
        return result

    return value


def prompt(
    problem: Several,
    start: Sequence[Row],
    places: Sequence[Json],
    references: Sequence[Any],
    *,
    radius: Fraction = Fraction(1, 2**40),
    precision: int = 128,
) -> Json:
    """Newton's method on well-conditioned entries, from a prompt (tokens are rows) close to a solution."""
    d, N = problem.d, len(start)
    rho = [Fraction(x) for x in references]
    F = residual(problem, places, rho)
    tokens = [[number(x) for x in t] for t in start]

    def jacobian(entries: Sequence[tuple[int, int]]) -> Any:
        step = mpmath.mpf(2) ** -60
        base, columns = F(tokens), []
        for r, j in entries:
            moved = [list(t) for t in tokens]
            moved[j][r] += step
            columns.append([(x - y) / step for x, y in zip(F(moved), base, strict=True)])
        return mpmath.matrix(columns).T

    everything = [(r, j) for j in range(N) for r in range(d)]
    full = np.array(jacobian(everything).tolist(), dtype=float)
    unknowns: list[tuple[int, int]] = []
    rest = full.copy()
    for _ in range(len(full)):  # greedy pivoting
        best = int(np.argmax((rest**2).sum(axis=0)))
        unknowns.append(everything[best])
        direction = rest[:, best] / np.linalg.norm(rest[:, best])
        rest = rest - np.outer(direction, direction @ rest)
    for _ in range(8):
        step = mpmath.lu_solve(jacobian(unknowns), mpmath.matrix(F(tokens)))
        for (r, j), x in zip(unknowns, step, strict=True):
            tokens[j][r] -= x
    Y = mpmath.inverse(jacobian(unknowns))
    columns = [[rounded(t[r], 90) for t in tokens] for r in range(d)]
    witness = {
        "points": [make.vector(points[0]) for points in problem.points],
        "equations": list(places),
        "references": make.vector(rho),
        "tokens": make.matrix(columns),
        "counts": [1] * N,
        "radius": make.scalar(radius),
        "unknowns": [list(u) for u in unknowns],
        "preconditioner": make.matrix([[rounded(x, 40) for x in r] for r in Y.tolist()]),
        "precision": precision,
    }
    return replace(problem, length=N).certificate("prompt", witness)
