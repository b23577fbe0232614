"""One query, decided exactly: can some prompt of at most N tokens (or any number) meet n examples that share a logit
vector?

A prompt of mass s and output u meets query k iff ``s (u − a_k) = −C_k`` with ``C_k = B_k − S_k a_k``. Two queries
give, coordinate by coordinate, ``s δ = Γ`` with δ of a_i − a_j and Γ of C_i − C_j: linear equations for s with
coefficients in Q and E, decided exactly. Then u = a_k − C_k/s must lie in range V, and the prompt law asks for ``1 ≤
e^H = s e^{−g·u} ≤ N`` (q = 0: s an integer from 1 to N). Source: THEORY section 3.1 (ours).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations as pairs_of

from flint import arb, fmpq

from constructions.numbers.balls import decided_sign, until_decided
from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.rational import dot
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.prompt_law import round_to_integer
from constructions.verdict import Undecided

Row = list[fmpq]
MAX_LENGTH_BITS = 8192


@dataclass(frozen=True)
class Equation:
    """``s δ = Γ``: coordinate ``coordinate`` of queries i and j."""

    i: int
    j: int
    coordinate: int
    delta: fmpq
    gamma: ExpSum

    @property
    def place(self) -> tuple[int, int, int]:
        return self.i, self.j, self.coordinate


@dataclass(frozen=True)
class Impossible:
    """Why one combination of preimages cannot be met: range, sign, masses, entropy, integer or length, with its
    place."""

    argument: str
    equations: tuple[Equation, ...] = ()
    query: int | None = None
    w: tuple[fmpq, ...] | None = None


@dataclass(frozen=True)
class Possible:
    """How one combination can be met: with ``equation`` the only mass is Γ/δ, without it every mass solves the
    equations.

    ``length`` is the least number of tokens, exactly.
    """

    choice: tuple[int, ...]
    sources: tuple[tuple[fmpq, ...], ...]
    equation: Equation | None
    length: int

    @property
    def written_length(self) -> int | None:
        """The length, None where it has thousands of digits: then nothing but its being finite is told or certified."""
        return self.length if self.length.bit_length() <= MAX_LENGTH_BITS else None


@dataclass(frozen=True)
class OneQueryDecision:
    """``possible`` (the combination that needs the fewest tokens) or the reasons against all combinations;
    ``undecided`` names what the numbers could not settle. ``infimum`` is "zero" where the loss comes arbitrarily
    close to zero without reaching it."""

    problem: LossProblem
    length: int | None
    possible: Possible | None
    impossible: tuple[Impossible, ...]
    undecided: str | None = None

    @property
    def memorizable(self) -> bool:
        return self.possible is not None


class Combination:
    """The exact equations of one choice of preimages."""

    def __init__(self, problem: LossProblem, choice: tuple[int, ...]) -> None:
        self.problem, self.choice = problem, choice
        self.a = [points[i] for points, i in zip(problem.shifted, choice, strict=True)]
        self._entries: dict[tuple[int, int], ExpSum] = {}

    @cached_property
    def C(self) -> list[list[ExpSum]]:
        """All C_k."""
        return [[self._entry(k, c) for c in range(len(a))] for k, a in enumerate(self.a)]

    def _entry(self, k: int, c: int) -> ExpSum:
        """Coordinate c of C_k = Σ e^{score} (V z − a_k): made when it is asked for, as one equation may settle all."""
        if (k, c) not in self._entries:
            view, x = self.problem.views[k], self.a[k][c]
            values = [view.values[c, j] - x for j in range(len(view.scores))]
            self._entries[k, c] = ExpSum.weighted(values, view.scores)
        return self._entries[k, c]

    def equations(self) -> Iterator[Equation]:
        for i, j in pairs_of(range(len(self.a)), 2):
            yield from self.pair(i, j)

    def pair(self, i: int, j: int) -> Iterator[Equation]:
        for c in range(len(self.problem.q)):
            yield Equation(i, j, c, self.a[i][c] - self.a[j][c], self._entry(i, c) - self._entry(j, c))

    def decide(self, length: int | None) -> Possible | Impossible:
        """Raises Undecided on the one-token boundary e^H = 1 (or e^H = N) where it is not decided exactly."""
        V = self.problem.V
        for k, a in enumerate(self.a):
            if not V.reaches(a):
                w = next(w for w in V.T.nullspace() if dot(w, a) != 0)
                return Impossible("range", query=k, w=tuple(w))
        chosen: Equation | None = None
        for j in range(1, len(self.a)):  # against query 0: the other pairs follow
            for equation in self.pair(0, j):
                if equation.delta == 0:
                    if equation.gamma.is_zero:
                        continue
                    return Impossible("sign", (equation,))
                if (equation.gamma * equation.delta).sign() <= 0:
                    return Impossible("sign", (equation,))
                if chosen is None:
                    chosen = equation
                elif chosen.gamma * equation.delta != equation.gamma * chosen.delta:
                    return Impossible("masses", (chosen, equation))
        return self._length(chosen, length)

    def _possible(self, equation: Equation | None, tokens: int) -> Possible:
        sources = []
        for a in self.a:
            source = self.problem.V.solve(a)
            assert source is not None  # what no output reaches has been excluded
            sources.append(tuple(source))
        return Possible(self.choice, tuple(sources), equation, tokens)

    def _length(self, equation: Equation | None, length: int | None) -> Possible | Impossible:
        """The prompt law for the masses that solve the equations."""
        problem = self.problem
        equations = () if equation is None else (equation,)
        if problem.integer_masses:
            tokens = 1 if equation is None else _integer(equation)
            if tokens is None or (length is not None and tokens > length):
                return Impossible("integer", equations)
            return self._possible(equation, tokens)
        if problem.g is None:  # a direction that V does not see: one token has any mass
            return self._possible(equation, 1)
        if equation is None:
            needed = self._free_length(list(problem.g))
        else:
            ratio = self._entropy_factor(equation, list(problem.g))
            if ratio.sign_to(1) < 0:
                return Impossible("entropy", equations)
            needed = ratio.ceiling()
        if length is not None and needed > length:
            return Impossible("entropy" if equations else "length", equations)
        return self._possible(equation, needed)

    def _free_length(self, g: Row) -> int:
        """Every mass allowed (all a_k equal, all C_k equal): 1 if c = S g·(a − A) ≥ 0, else max(1, ⌈e |c|
        e^{−g·a}⌉)."""
        c = -self.along(g, 0)
        if c.sign() >= 0:
            return 1
        return _Positive(ExpFraction(-c * ExpSum.exp(1 - dot(g, self.a[0])))).ceiling()

    def needs_equal_tokens(self, possible: Possible) -> bool:
        """Whether e^H is exactly the length: then all tokens are equal.

        Where every mass is allowed the least e^H is ``e (g·C) e^{−g·a}`` and no integer N ≥ 1: in ``g·C = Σ e^z (z −
        g·a)`` the coefficient of e^{g·a−1} is at most 0.
        """
        if self.problem.g is None or possible.equation is None:
            return False
        return self._entropy_factor(possible.equation, list(self.problem.g)).is_exactly(possible.length)

    def along(self, g: Row, k: int) -> ExpSum:
        """g·C_k."""
        view, at_a = self.problem.views[k], dot(g, self.a[k])
        return ExpSum.weighted([x - at_a for x in view.values.T.apply(g)], view.scores)

    def _entropy_factor(self, equation: Equation, g: Row) -> _Positive:
        """e^H = s e^{−x} with s = Γ/δ and x = g·a − (g·C)/s."""
        mass = ExpFraction(equation.gamma, ExpSum.of(equation.delta))
        x = dot(g, self.a[equation.i]) - ExpFraction(self.along(g, equation.i)) / mass
        rational = x.as_rational()
        if rational is not None:
            return _Positive(mass * ExpSum.exp(-rational))
        return _Positive(mass, x)


class _Positive:
    """The number ``factor · e^{−x}``: exact where x is None (zero), by balls otherwise."""

    def __init__(self, factor: ExpFraction, x: ExpFraction | None = None) -> None:
        self.factor, self.x = factor, x

    def _ball(self) -> arb:
        ball = self.factor.enclosure()
        return ball if self.x is None else ball * (-self.x.enclosure()).exp()

    def sign_to(self, integer: int) -> int:
        """The sign of this number − integer. Raises Undecided where balls cannot tell (the boundary of the law)."""
        if self.x is None:
            return (self.factor - integer).sign()
        try:
            return until_decided(lambda: decided_sign(self._ball() - integer), cap=1 << 13)
        except Undecided:
            raise Undecided(
                f"e^H is so close to {integer} that the boundary of the prompt law cannot be decided"
            ) from None

    def is_exactly(self, integer: int) -> bool:
        """Whether the number is this integer; irrational x: never, as the sign against it has been decided."""
        return self.x is None and (self.factor - integer).sign() == 0

    def ceiling(self) -> int:
        """The least integer ≥ 1 that is at least this number."""

        def near() -> int:
            return round_to_integer(self._ball())

        nearest = until_decided(near)
        return max(1, nearest if self.sign_to(nearest) <= 0 else nearest + 1)


def _integer(equation: Equation) -> int | None:
    """Γ/δ if it is a positive integer, exactly."""
    mass = ExpFraction(equation.gamma, ExpSum.of(equation.delta))
    value = mass.as_rational()
    return int(value.p) if value is not None and value.q == 1 and value > 0 else None


def decide_one_query(problem: LossProblem, length: int | None = None) -> OneQueryDecision:
    """Decide all combinations of preimages; of the possible ones the one with the fewest tokens is kept.

    >>> from constructions.data import Dataset, Example
    >>> from constructions.single_layer.preimage import preimage
    >>> from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
    >>> from constructions.numbers.rational import RationalMatrix
    >>> one = RationalMatrix.of([[1]])
    >>> layer = Layer(Attention((Head(one, one, one),)), FeedForward.none(1))
    >>> data = Dataset((Example(RationalMatrix.of([[3, 1]]), one.scaled(2)),))
    >>> queries = list(data.queries(Transformer((layer,))))
    >>> problem = LossProblem.of(layer, queries, [preimage(layer.mlp, query.target) for query in queries])
    >>> decide_one_query(problem).possible.length  # ⌈e · 2e^3 · e^{-1}⌉ tokens for one example
    41
    """
    best: Possible | None = None
    against: list[Impossible] = []
    undecided: str | None = None
    for choice in problem.combinations():
        try:
            answer = Combination(problem, choice).decide(length)
        except Undecided as reason:
            undecided = str(reason)
            continue
        if isinstance(answer, Impossible):
            against.append(answer)
        elif best is None or answer.length < best.length:
            best = answer
    return OneQueryDecision(problem, length, best, tuple(against), undecided)


def infimum_is_zero(problem: LossProblem, length: int | None) -> bool:
    """Whether the loss comes arbitrarily close to 0 at an end of the axis of masses (for data that no prompt
    memorizes).

    s → 0 (q ≠ 0): some v with v = −C_k for all k and g·v = 0 (length bounded) or g·v ≤ 0 (any length);
    s → ∞ (any length, or where nothing couples mass and output): all a_k equal.
    """
    for choice in problem.combinations():
        combination = Combination(problem, choice)
        if not all(problem.V.reaches(a) for a in combination.a):
            continue
        coupled = problem.g is not None
        same_target = all(a == combination.a[0] for a in combination.a)
        if same_target and (length is None or not (coupled or problem.integer_masses)):
            return True
        if problem.integer_masses:
            continue
        if all(equation.gamma.is_zero for j in range(1, len(combination.a)) for equation in combination.pair(0, j)):
            sign = 0 if problem.g is None else -combination.along(list(problem.g), 0).sign()
            if sign == 0 or (length is None and sign < 0):
                return True
    return False
