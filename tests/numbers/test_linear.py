"""Exact linear programming: every answer is checked here once more, against independent oracles."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest
from flint import fmpq, fmpq_mat
from hypothesis import example, given, settings
from hypothesis import strategies as st

from constructions.numbers import linear, simplex
from constructions.numbers.float_basis import Basis
from constructions.numbers.linear import Feasible, Infeasible, Optimal, Unbounded, feasible, maximize
from constructions.numbers.linear_program import Problem, holds

Rows = Sequence[Sequence[fmpq]]
System = tuple[int, list[list[fmpq]], list[fmpq], list[list[fmpq]], list[fmpq]]


def q(*values: int | fmpq) -> list[fmpq]:
    return [fmpq(v) for v in values]


def dot(u: Sequence[fmpq], v: Sequence[fmpq]) -> fmpq:
    return sum((a * b for a, b in zip(u, v, strict=True)), fmpq(0))


def matrix(rows: Rows, n: int) -> fmpq_mat:
    return fmpq_mat(len(rows), n, [v for row in rows for v in row])


def combined(y: Sequence[fmpq], rows: Rows, z: Sequence[fmpq], equalities: Rows, n: int) -> list[fmpq]:
    """y^T G + z^T E, entry by entry, without flint's matrices."""
    lines = [*zip(y, rows, strict=True), *zip(z, equalities, strict=True)]
    return [sum((w * row[j] for w, row in lines), fmpq(0)) for j in range(n)]


def admits(system: System, x: Sequence[fmpq]) -> bool:
    n, G, h, E, f = system
    below = all(dot(row, x) <= v for row, v in zip(G, h, strict=True))
    return len(x) == n and below and all(dot(row, x) == v for row, v in zip(E, f, strict=True))


def check(system: System, found: object, c: Sequence[fmpq] = ()) -> None:
    """What the docstrings of the four answers promise, written down a second time."""
    n, G, h, E, f = system
    if isinstance(found, Infeasible):
        y, z = found.farkas, found.farkas_equalities
        assert all(v >= 0 for v in y)
        assert combined(y, G, z, E, n) == [0] * n
        assert dot(y, h) + dot(z, f) < 0
        return
    assert isinstance(found, Feasible | Optimal | Unbounded)
    assert admits(system, found.point)
    if isinstance(found, Unbounded):
        assert admits((n, G, [fmpq(0)] * len(h), E, [fmpq(0)] * len(f)), found.ray)
        assert dot(c, found.ray) > 0
    if isinstance(found, Optimal):
        y, z = found.multipliers, found.multipliers_equalities
        assert all(v >= 0 for v in y)
        assert combined(y, G, z, E, n) == list(c)
        assert found.value == dot(c, found.point) == dot(y, h) + dot(z, f)


def call(system: System) -> tuple[fmpq_mat, list[fmpq], fmpq_mat | None, list[fmpq] | None]:
    n, G, h, E, f = system
    return (matrix(G, n), h, matrix(E, n), f) if E else (matrix(G, n), h, None, None)


@st.composite
def systems(draw: st.DrawFn, max_n: int = 4, max_rows: int = 7) -> System:
    """Small systems, degenerate on purpose: rows come back negated, doubled and summed, and half of
    the systems touch a planted point, some missing it by a hair."""
    n = draw(st.integers(0, max_n))
    entry = draw(
        st.sampled_from(
            [
                st.integers(-2, 2).map(fmpq),
                st.builds(fmpq, st.integers(-9, 9), st.integers(1, 9)),
                st.builds(lambda v, e: v * fmpq(10) ** e, st.integers(-3, 3), st.sampled_from([0, 40])),
                st.builds(lambda v, w: v + fmpq(w, 10**30), st.integers(-2, 2), st.integers(-1, 1)),
            ]
        )
    )
    line = st.lists(entry, min_size=n, max_size=n)
    G = draw(st.lists(line, max_size=max_rows))
    E = draw(st.one_of(st.just([]), st.lists(line, max_size=3)))
    h, f = [draw(entry) for _ in G], [draw(entry) for _ in E]
    if draw(st.booleans()):
        x = draw(line)
        h = [dot(row, x) + (abs(draw(entry)) if draw(st.booleans()) else 0) for row in G]
        f = [dot(row, x) for row in E]
    for rows, right in ((G, h), (E, f)):
        if rows and draw(st.booleans()):
            i, j = draw(st.integers(0, len(rows) - 1)), draw(st.integers(0, len(rows) - 1))
            a, b = draw(st.integers(-2, 2)), draw(st.integers(-2, 2))
            hair = draw(st.sampled_from([fmpq(0), fmpq(0), fmpq(1, 10**30), -fmpq(1, 10**30)]))
            rows.append([a * v + b * w for v, w in zip(rows[i], rows[j], strict=True)])
            right.append(a * right[i] + b * right[j] + hair)
    return n, G, h, E, f


NO_VARIABLES_NO: System = (0, [[]], q(-1), [], [])
NO_VARIABLES_YES: System = (0, [[], []], q(0, 3), [[]], q(0))
NO_VARIABLES_UNEQUAL: System = (0, [], [], [[]], q(1))
NO_ROWS: System = (2, [], [], [], [])
ZERO_ROW_NO: System = (2, [q(0, 0), q(1, 1)], q(fmpq(-1, 10**40), 1), [], [])
TOUCHING: System = (1, [q(1), q(-1)], q(1, -1), [], [])
APART_BY_A_HAIR: System = (1, [q(1), q(-1)], [fmpq(1) - fmpq(1, 10**40), fmpq(-1)], [], [])
REDUNDANT: System = (2, [q(1, 0)] * 3, q(1, 1, 1), [q(1, 1), q(2, 2), q(1, 1)], q(2, 4, 2))
INCONSISTENT: System = (2, [q(1, 0)], q(1), [q(1, 1), q(2, 2)], q(2, 5))
BOUNDARY = [
    NO_VARIABLES_NO,
    NO_VARIABLES_YES,
    NO_VARIABLES_UNEQUAL,
    NO_ROWS,
    ZERO_ROW_NO,
    TOUCHING,
    APART_BY_A_HAIR,
    REDUNDANT,
    INCONSISTENT,
]


def z3_says(system: System) -> bool:
    z3 = pytest.importorskip("z3", reason="the oracle z3-solver is not installed")

    def real(v: fmpq) -> object:
        return z3.RealVal(f"{v.p}/{v.q}")

    n, G, h, E, f = system
    x = [z3.Real(f"x{j}") for j in range(n)]
    solver = z3.SolverFor("QF_LRA")
    for rows, right, relation in ((G, h, "<="), (E, f, "==")):
        for row, bound in zip(rows, right, strict=True):
            left = z3.Sum([real(v) * w for v, w in zip(row, x, strict=True)] + [z3.RealVal(0)])
            solver.add(left <= real(bound) if relation == "<=" else left == real(bound))
    return bool(solver.check() == z3.sat)


@given(systems())
@example(NO_VARIABLES_NO)
@example(NO_VARIABLES_YES)
@example(NO_VARIABLES_UNEQUAL)
@example(NO_ROWS)
@example(ZERO_ROW_NO)
@example(TOUCHING)
@example(APART_BY_A_HAIR)
@example(REDUNDANT)
@example(INCONSISTENT)
@settings(max_examples=250, deadline=None)
def test_feasibility_agrees_with_z3(system: System) -> None:
    found = feasible(*call(system))
    check(system, found)
    assert isinstance(found, Feasible) == z3_says(system)


@given(systems(), st.data())
@settings(max_examples=200, deadline=None)
def test_every_answer_of_maximize_keeps_its_promise(system: System, data: st.DataObject) -> None:
    # The promises exclude each other (weak duality), so an answer that keeps its own is the right one.
    c = data.draw(st.lists(st.integers(-3, 3).map(fmpq), min_size=system[0], max_size=system[0]))
    check(system, maximize(c, *call(system)), c)


@given(systems(max_n=3, max_rows=5), st.data())
@settings(max_examples=150, deadline=None)
def test_exact_method_alone_gives_the_same_verdicts(system: System, data: st.DataObject) -> None:
    c = data.draw(st.lists(st.integers(-3, 3).map(fmpq), min_size=system[0], max_size=system[0]))
    quick = feasible(*call(system)), maximize(c, *call(system))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "named_basis", lambda problem, c: None)
        slow = feasible(*call(system)), maximize(c, *call(system))
    check(system, slow[0])
    check(system, slow[1], c)
    assert [type(a) for a in quick] == [type(a) for a in slow]
    if isinstance(quick[1], Optimal):
        assert isinstance(slow[1], Optimal)
        assert quick[1].value == slow[1].value


@given(systems(max_n=3, max_rows=5), st.randoms(use_true_random=False), st.data())
@settings(max_examples=150, deadline=None)
def test_any_basis_however_wrong_leads_to_the_truth(system: System, choice: random.Random, data: st.DataObject) -> None:
    n, G, _, E, _ = system
    m = len(G) + len(E)

    def wrong(problem: object, c: object) -> Basis | None:
        violated = c is None and choice.random() < 0.5
        k = choice.randint(0, min(m - violated, n)) if m > violated else 0
        if k + violated > m:
            return None
        rows, columns = choice.sample(range(m), k + violated), sorted(choice.sample(range(n), k))
        return Basis(sorted(rows), columns, violated)

    c = data.draw(st.lists(st.integers(-3, 3).map(fmpq), min_size=n, max_size=n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "named_basis", wrong)
        astray = feasible(*call(system)), maximize(c, *call(system))
    check(system, astray[0])
    check(system, astray[1], c)
    assert isinstance(astray[0], Feasible) == isinstance(feasible(*call(system)), Feasible)


def vertices(system: System) -> list[list[fmpq]]:
    """All points where n rows with one common point hold with equality, by enumeration."""
    n, G, h, E, f = system
    found = []
    for chosen in itertools.combinations(range(len(G) + len(E)), n):
        rows, right = [[*G, *E][i] for i in chosen], [[*h, *f][i] for i in chosen]
        square = matrix(rows, n)
        if n == 0 or square.det() != 0:
            x = square.solve(fmpq_mat(n, 1, right)).entries() if n else []
            if admits(system, x):
                found.append(x)
    return found


@given(systems(max_n=2, max_rows=4), st.data())
@settings(max_examples=100, deadline=None)
def test_bounded_programs_take_their_best_vertex(system: System, data: st.DataObject) -> None:
    n, G, h, E, f = system
    box = [[fmpq(s * (i == j)) for i in range(n)] for j in range(n) for s in (1, -1)]
    boxed: System = (n, [*G, *box], [*h, *q(*[5] * len(box))], E, f)
    c = data.draw(st.lists(st.integers(-3, 3).map(fmpq), min_size=n, max_size=n))
    found, corners = maximize(c, *call(boxed)), vertices(boxed)
    if corners:
        assert isinstance(found, Optimal)
        assert found.value == max(dot(c, x) for x in corners)
    else:
        assert isinstance(found, Infeasible)


BEALE = (  # Beale (1955): the simplex method with the largest-coefficient rule cycles at the origin
    [
        q(fmpq(1, 4), -60, fmpq(-1, 25), 9),
        q(fmpq(1, 2), -90, fmpq(-1, 50), 3),
        q(0, 0, 1, 0),
        *(q(*(-(i == j) for i in range(4))) for j in range(4)),
    ],
    q(0, 0, 1, 0, 0, 0, 0),
    q(fmpq(3, 4), -150, fmpq(1, 50), -6),
)


@pytest.mark.parametrize("floats", [True, False])
def test_beale_does_not_cycle(floats: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, h, c = BEALE
    if not floats:
        monkeypatch.setattr(linear, "named_basis", lambda problem, c: None)
    found = maximize(c, matrix(rows, 4), h)
    assert isinstance(found, Optimal)
    assert found.value == fmpq(1, 20)


def test_largest_coefficient_rule_alone_would_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    # From the origin, where Beale's program stalls; all rows times 100, to be integers.
    rows, h, c = BEALE
    whole = (matrix(rows, 4) * 100).numer_denom()[0]
    solves: list[None] = []
    solve = simplex.solve

    def counted(*arguments: Any) -> list[fmpq]:
        solves.append(None)
        assert len(solves) < 100, "the simplex method does not end"
        return solve(*arguments)

    monkeypatch.setattr(simplex, "solve", counted)
    end = simplex.simplex(whole, [v.p * 100 for v in h], 7, c, [3, 4, 5, 6], q(0, 0, 0, 0))
    assert end.ray is None
    assert dot(c, end.x) == fmpq(1, 20)


@pytest.mark.parametrize("floats", [True, False])
def test_klee_minty(floats: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 6
    rows = [q(*(2 ** (i - j + 1) if j < i else int(i == j) for j in range(n))) for i in range(n)]
    rows += [q(*(-(i == j) for i in range(n))) for j in range(n)]
    if not floats:
        monkeypatch.setattr(linear, "named_basis", lambda problem, c: None)
    found = maximize(
        q(*(2 ** (n - 1 - j) for j in range(n))),
        matrix(rows, n),
        q(*(5**i for i in range(1, n + 1)), *[0] * n),
    )
    assert isinstance(found, Optimal)
    assert found.value == 5**n


@pytest.mark.parametrize("solvable", [True, False])
def test_ill_scaled_rows_and_columns_need_no_pivots(solvable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, n = [[(3 * i * i + 7 * i * j + 5 * j * j) % 19 - 9 for j in range(6)] for i in range(14)], 6
    h = [sum(row) for row in rows]  # x = 1 meets every row with equality
    if not solvable:
        rows.append([-sum(column) for column in zip(*rows[:5], strict=True)])
        h.append(-sum(h[:5]) - 1)
    up = [fmpq(10) ** ((17 * i) % 70) / fmpq(10) ** 35 for i in range(len(rows) + n)]
    G = [[v * up[i] * up[-1 - j] for j, v in enumerate(row)] for i, row in enumerate(rows)]
    right = [v * up[i] for i, v in enumerate(h)]
    monkeypatch.setattr(linear, "phase_one", None)  # the named basis must do
    found = feasible(matrix(G, n), right)
    check((n, G, right, [], []), found)
    assert isinstance(found, Feasible) == solvable


def test_answers_do_not_depend_on_what_was_solved_before() -> None:
    def answers(order: Sequence[int]) -> dict[int, object]:
        return {k: feasible(*call(BOUNDARY[k])) for k in order}

    assert answers(range(len(BOUNDARY))) == answers(range(len(BOUNDARY) - 1, -1, -1))


# --- the checker: true statements pass, and each single change makes them fail


def problem_of(system: System) -> Problem:
    return Problem.build(*call(system))


@pytest.mark.parametrize(
    ("y", "z", "true"),
    [
        (q(1, 1), q(), True),
        (q(3, 3), q(), True),
        (q(1, 2), q(), False),  # not a combination to zero
        (q(0, 0), q(), False),  # no contradiction
        (q(-1, -1), q(), False),  # wrong sign, and so a wrong sum
        (q(1, 1, 0), q(), False),  # wrong length
        (q(1, 1), q(1), False),
    ],
)
def test_checker_on_farkas_vectors(y: list[fmpq], z: list[fmpq], true: bool) -> None:
    apart = problem_of((1, [q(1), q(-1)], q(0, -1), [], []))  # x <= 0, x >= 1
    assert holds(apart, Infeasible(y, z)) is true


def test_checker_refuses_a_negative_multiplier_of_a_row_but_not_of_an_equality() -> None:
    rows: System = (1, [q(1), q(1)], q(2, 1), [], [])  # x <= 2, x <= 1: minus the first is no argument
    assert not holds(problem_of(rows), Infeasible(q(-1, 1), []))
    equal: System = (1, [], [], [q(1), q(1)], q(2, 1))
    assert holds(problem_of(equal), Infeasible([], q(-1, 1)))


def test_checker_on_points_rays_and_optima() -> None:
    c, problem = q(1, 1), problem_of((2, [q(1, 0), q(0, 1)], q(1, 2), [], []))
    assert holds(problem, Optimal(q(1, 2), fmpq(3), q(1, 1), []), c)
    wrong: list[Optimal | Feasible | Unbounded] = [
        Optimal(q(1, 1), fmpq(3), q(1, 1), []),
        Optimal(q(1, 2), fmpq(2), q(1, 1), []),
        Optimal(q(1, 2), fmpq(3), q(1, 0), []),
        Optimal(q(2, 1), fmpq(3), q(1, 1), []),
        Feasible(q(1, fmpq(2) + fmpq(1, 10**50))),
        Feasible(q(1)),
        Unbounded(q(0, 0), q(1, 0)),
        Unbounded(q(0, 0), q(0, -1)),  # goes down
        Unbounded(q(0, 3), q(0, -1)),
    ]
    assert not any(holds(problem, each, c) for each in wrong)
    assert holds(problem, Unbounded(q(0, 0), q(0, -1)), q(0, -1))
    assert not holds(problem, Unbounded(q(0, 3), q(0, -1)), q(0, -1))


def test_an_answer_that_fails_the_check_is_never_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_decide", lambda problem: Feasible(q(7)))
    with pytest.raises(ArithmeticError, match="exact check failed"):
        feasible(fmpq_mat([[1]]), q(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 2]], [1, 2], None, None), "length of h: expected 1 .*, found 2"),
        (([[1, 2]], [1], [[1]], [1]), "columns of E: expected 2 .*, found 1"),
        (([[1, 2]], [1], [[1, 2]], [1, 2]), "length of f: expected 1 .*, found 2"),
        (([[1, 2]], [1], [[1, 2]], None), "E is given, f is missing"),
    ],
)
def test_sizes_that_do_not_match(arguments: tuple[Any, ...], message: str) -> None:
    G, h, E, f = arguments
    with pytest.raises(ValueError, match=message):
        feasible(fmpq_mat(G), q(*h), None if E is None else fmpq_mat(E), None if f is None else q(*f))


def test_cost_of_the_wrong_length() -> None:
    with pytest.raises(ValueError, match=r"length of c: expected 2 .*, found 1"):
        maximize(q(1), fmpq_mat([[1, 2]]), q(1))
