"""Named true certificates of the claims prompt-length-bound and low-rank-memorization."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import kernel_certificates as make
from kernel_certificates import changed
from kernel_oracle import values
from length_makers import (
    Problem,
    cut,
    impossible,
    independent,
    leaf,
    stated,
    tight,
    too_short,
    triangular,
    updated,
    with_tree,
    with_tree_of_prompt,
)
from prompt_law_makers import row
from several_heads_makers import Head, Row, plus

Json = Any


def rows(values: Json) -> list[Row]:
    return [row(v) for v in values]


def times(factor: Any, v: Sequence[Any]) -> Row:
    return [Fraction(factor) * x for x in row(v)]


def uniform(d: int, W_v: Json = None, W_o: Json = None) -> Head:
    """All logits are zero."""
    return Head(make.zeros(1, d), make.zeros(1, d), W_v or make.identity(d), W_o or make.identity(d))


def uniform_of_size(d: int) -> Head:
    return Head(make.zeros(d, d), make.zeros(d, d), make.identity(d), make.identity(d))


def two_columns(x: Sequence[Any], A: Sequence[Any]) -> list[Row]:
    """A context with mean A and last token x."""
    return [plus(times(2, A), times(-1, x)), row(x)]


def wanting(heads: list[Head], data: Sequence[tuple[Json, Json, Json]], **others: Any) -> Problem:
    """Queries with token x, mean A of the context, attention output a asked for."""
    contexts = [two_columns(x, A) for x, A, _ in data]
    return Problem(heads, contexts, [plus(row(a), row(x)) for x, _, a in data], **others)


# --- too short -------------------------------------------------------------------------------------------------

V_1, V_2 = [1, 0], [1, 1]
ROWS = [[1, -1], [0, 1]]


def collinear_problem(first: tuple[Any, Any], second: tuple[Any, Any]) -> Problem:
    """a = alpha v and A = beta v for each of two queries, with v (1, 0) and (1, 1)."""
    data = [
        (x, times(beta, v), times(alpha, v)) for x, v, (alpha, beta) in (([3, 1], V_1, first), ([0, 2], V_2, second))
    ]
    return wanting([uniform_of_size(2)], data)


def collinear(first: tuple[Any, Any] = (2, 1), second: tuple[Any, Any] = (-1, 1), tree: Json = None) -> Json:
    """alpha - lambda beta is not 0 for lambda in (0, 1); the row of each query is orthogonal to the other's v."""
    signs = [1 if Fraction(alpha) - Fraction(beta) / 2 > 0 else -1 for alpha, beta in (first, second)]
    part = leaf([times(s, r) for s, r in zip(signs, ROWS, strict=True)])
    return too_short(collinear_problem(first, second), tree or part, length=1)


def turning_problem(**others: Any) -> Problem:
    """The contributions turn from 0 to 101 degrees and from 112 to 178."""
    data = [([3, 1], ["17/10", -1], ["3/2", 0]), ([0, 2], ["11/10", "19/20"], ["-2/5", 1])]
    return wanting([uniform_of_size(2)], data, **others)


def turning() -> Json:
    return with_tree(turning_problem(), 1)


def logits_problem() -> Problem:
    """Exponential sums, with another value matrix."""
    head = Head(make.identity(2), make.identity(2), [[1, 0], [1, 2]], [[1, 1], [0, "1/2"]], ["1/3", 0])
    contexts = [rows([[1, "1/2"], [0, "3/2"], [1, 0]]), rows([[2, -1], [0, 1]])]
    return Problem([head], contexts, rows([[6, 0], [0, 7]]))


def logits() -> Json:
    return with_tree(logits_problem(), 1)


def logits_cut() -> Json:
    """The first contribution turns by about 170 degrees: its A is near (2.56, 0.84)."""
    problem = logits_problem()
    return with_tree(replace(problem, targets=rows([["11/5", "1/2"], [-3, 0]])), 1)


def heads_problem() -> Problem:
    """Two heads in three dimensions, one of size 1; three queries, the last one in front."""
    heads = [
        Head([[1, 0, 0], [0, 1, 0]], [[0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0]], [[1, 0], [0, 1], [1, 0]]),
        Head([[1, 1, 0]], [[1, 0, 1]], [[0, 1, 1]], [[0], [0], [1]], ["1/2"]),
    ]
    contexts = [rows([[1, 0, 0], [0, 1, "1/2"]]), rows([[0, "1/2", 1]]), rows([["1/3", 0, 0], [1, 0, 1]])]
    return Problem(heads, contexts, rows([[5, 0, 1], [0, 7, 0], [1, 0, -6]]))


def heads() -> Json:
    return with_tree(heads_problem(), 1)


def masked() -> Json:
    """Columns behind the token would make the second contribution vanish."""
    problem = replace(turning_problem(), hidden=[rows([[100, 0], [5, 5]]), []])
    return with_tree(problem, 1)


def boundary_problem(zero: Any = 0) -> Problem:
    """Three queries, two heads of size 4: v_1 = (-1/2 + l_1 + l_2, 3/4 - l_1, 0, 0), while the others are unit vectors.
    The heads have logits zero and different value matrices: the second gives -e_0 where the first gives (-1, 1)."""
    second = [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    heads = [uniform_of_size(4), Head(make.zeros(4, 4), make.zeros(4, 4), make.identity(4), second)]
    data = [
        ([1, 2, 3, 4], [-1, 1, 0, 0], ["-1/2", "3/4", 0, 0]),
        ([0, 1, 0, 0], [0] * 4, [zero, 0, 1, 0]),
        ([0, 0, 1, 0], [0] * 4, [0, 0, 0, 1]),
    ]
    return wanting(heads, data)


E_0, E_1, E_2, E_3 = make.identity(4)


def boundary(at: Any = "1/2", zero: Any = 0) -> Json:
    """Above the cut row e_0 has the least value 0 at l_1 = 1/2, l_2 = 0: the latter is not taken."""
    tree = cut(0, at, leaf([E_1, E_2, E_3]), leaf([E_0, E_2, E_3]))
    return too_short(boundary_problem(zero), tree, length=1)


FOLD = {"W_1": [[1, 0]], "W_2": [[-2], [0]], "b_1": [-10]}


def folded_proof(low: Row) -> Json:
    """For z - 2 ReLU(z_0 - 10) e_0: the points (20 - z_0, z_1) and (z_0, z_1)."""
    coordinates = ([[[-2], [2]], [[0], [0]]], [[[0], [0]]] * 2)
    points = [
        {"z": make.vector(z), "multipliers": [[make.vector(v) for v in pair] for pair in pairs]}
        for z, pairs in zip(([20 - low[0], low[1]], low), coordinates, strict=True)
    ]
    return {**make.tree(make.branch(0, make.PIECE, make.PIECE)), "points": points}


def folded_problem() -> Problem:
    """Tokens 0, A = e_0 and e_1: the preimages are a, and all four choices are independent of each other."""
    data = [([0, 0], [1, 0], [-3, 0]), ([0, 0], [0, 1], [1, 9])]
    return wanting([uniform_of_size(2)], data, mlp=make.mlp(2, **FOLD))


def folded() -> Json:
    """The first coordinate of the first query is 23 or -3, less up to 1; of the second 19 or 1."""
    problem = folded_problem()
    first, second = leaf([[1, "-19/8"], [0, 1]], [1, 1]), leaf([[1, "-1/8"], [0, 1]])
    minus_first, minus_second = leaf([[-1, "19/8"], [0, 1]]), leaf([[-1, "1/8"], [0, 1]])
    trees = [first, second, minus_first, minus_second]
    return too_short(problem, *trees, length=1, proofs=list(map(folded_proof, problem.targets)))


def out_of_range() -> Json:
    """Nothing has the image (11, 0): there is no combination."""
    problem = replace(folded_problem(), targets=rows([[11, 0], [1, 9]]))
    nothing = {**make.tree(make.branch(0, make.empty([-1]), make.empty([-1]))), "points": []}
    return too_short(problem, length=1, proofs=[nothing, folded_proof(row([1, 9]))])


def subset() -> Json:
    """Queries 2 and 0 are used; query 1 is as query 0."""
    problem = collinear_problem((2, 1), (-1, 1))
    problem = replace(
        problem,
        contexts=[problem.contexts[0], problem.contexts[0], problem.contexts[1]],
        targets=[problem.targets[0], problem.targets[0], problem.targets[1]],
    )
    return too_short(problem, leaf([[0, -1], [1, -1]]), length=1, used=[2, 0])


def any_length() -> Json:
    """A head of size 1 gives one dimension, whatever the length: the contributions are (2 - l, 0) and (-2 l, 1)."""
    head = uniform(2, [[1, 0]], [[1], [0]])
    return too_short(Problem([head], [rows([[1, 1]]), rows([[2, 3]])], rows([[3, 1], [2, 4]])), leaf(I_2, [3, 1]))


def nothing() -> Json:
    """A head of size 0."""
    value = too_short(Problem([uniform(2)], [rows([[1, 1]])], rows([[1, 2]])), leaf([[0, 1]]))
    empty = {name: {"den": 1, "num": []} for name in ("W_q", "W_k", "W_v", "b_q")}
    value["instance"]["layer"]["heads"] = [{**empty, "W_o": {"den": 1, "num": [[], []]}}]
    return value


def beside(at: Any) -> Json:
    """A cut beside the cube: one half is empty, and has a leaf all the same. At 0 and 1 it has a side of length 0."""
    good = leaf([[1, -1], [0, -1]])
    return collinear(tree=cut(0, at, good, good))


# --- tight, independent ----------------------------------------------------------------------------------------

J, MINUS_J = [[0, 1], [-1, 0]], [[0, -1], [1, 0]]
I_2 = make.identity(2)


def opposite(tokens: Json) -> list[list[Row]]:
    """Contexts [-x, x]: with q.x = 0 their output is 0."""
    return [[times(-1, x), row(x)] for x in tokens]


PROMPT = rows([[1, 0], [0, 1]])
SHORT_ROWS = [[-1, 7], [1, -3]]


def tight_problem(mlp: Json = None) -> Problem:
    return Problem([Head(J, I_2, I_2, I_2)], opposite([[0, 1], [0, 2]]), mlp=mlp)


def tight_case(tree: Json = None) -> Json:
    """T a is 2 (e, 1) and 2 (e^2, 1)."""
    return tight(tight_problem(), PROMPT, tree or leaf(SHORT_ROWS), 1)


MONOTONE = {"W_1": [[1, 0], [0, 1]], "W_2": [["1/2", 1], [0, "-1/2"]], "b_1": [-1, "1/2"]}


def tight_with_mlp(factor: Json = None) -> Json:
    """M + M^T = [[3, 1], [1, 1]]."""
    problem = tight_problem(make.mlp(2, **MONOTONE))
    return tight(problem, PROMPT, leaf(SHORT_ROWS, [2, "5/2"]), 1, factor or [["3/2", 0], ["2/3", "1/2"]])


def near_problem() -> Problem:
    """The same tokens, other contexts: their outputs are not 0."""
    problem = tight_problem()
    return replace(problem, contexts=[[row(["1/9", 0]), *problem.contexts[0]], [*problem.contexts[1]]])


def tight_near() -> Json:
    prompt = rows([[2, 0], [0, 3]])
    return tight(near_problem(), prompt, with_tree_of_prompt(near_problem(), prompt), 1)


def crossed_problem(mlp: Json = None) -> Problem:
    """Two heads with opposite logits, the second turns by a right angle."""
    return Problem([Head(J, I_2, I_2, I_2), Head(MINUS_J, I_2, I_2, MINUS_J)], opposite([[0, 1], [0, 2]]), mlp=mlp)


ONE_TOKEN = rows([[1, 0]])


def one_token(tree: Json = None) -> Json:
    """T a is 4 (2e + 1, 2/e + 1) and 4 (2e^2 + 1, 2/e^2 + 1)."""
    return independent(crossed_problem(), ONE_TOKEN, tree or leaf([[-1, 12], [1, -4]]))


def one_token_near() -> Json:
    problem = crossed_problem()
    problem = replace(problem, contexts=[[row(["1/20", 0]), *problem.contexts[0]], problem.contexts[1]])
    return independent(problem, ONE_TOKEN, with_tree_of_prompt(problem, ONE_TOKEN))


def one_token_masked() -> Json:
    problem = replace(crossed_problem(), hidden=[rows([[1, 1], [2, 2]]), []])
    return independent(problem, ONE_TOKEN, leaf([[-1, 12], [1, -4]], ["1/2", "1/3"]))


# --- a prompt ----------------------------------------------------------------------------------------------------


def stated_uniform() -> Json:
    """The mean of prompt and context: (3 + 1)/4 and 0/4, then (3 + 7)/3."""
    problem = Problem([uniform_of_size(2)], [rows([[0, 1], [1, 1]]), rows([[7, 3]])])
    prompt = rows([[1, -1], [2, -1]])
    points = [row([2, 1]), plus(row([7, 3]), row(["10/3", "1/3"]))]
    return stated(replace(problem, targets=points), prompt, points)


def stated_logits() -> Json:
    """All tokens have the second coordinate 1: the first head sees that alone, whatever the weights; the second head
    has logits that depend on it alone, so that its weights are equal. A unit of the MLP is active for one query."""
    heads = [
        Head([[1, 1]], [[1, 0]], [[0, 1]], [[2], [1]], ["1/2"]),
        Head([[0, 1], [1, 0]], [[0, 1], [0, 0]], [[1, 1], [0, 1]], I_2),
    ]
    contexts = [rows([[3, 1], [1, 1]]), rows([[-2, 1]])]
    prompt = rows([[5, 1], [-1, 1]])
    # (2, 1) + (2 + 1, 1) and (2, 1) + (2/3 + 1, 1)
    points = [row([6, 3]), row(["5/3", 3])]
    mlp = make.mlp(2, W_1=[[1, 0]], W_2=[[-1], [1]], b_1=[-2])
    return stated(Problem(heads, contexts, rows([[2, 7], ["5/3", 3]]), mlp), prompt, points)


# --- low rank ----------------------------------------------------------------------------------------------------

NET = make.mlp(2, W_1=[[1, 0], [0, 1], [1, 1]], W_2=[[1, 0, 2], [0, 0, 1]], b_1=[1, 0, -1], b_2=[0, "1/2"])


def rational_problem() -> Problem:
    """Features (1, 0), (2, 2), (0, 5): x + the mean of the context."""
    contexts = [two_columns([0, 0], [1, 0]), two_columns([1, 1], [1, 1]), [row([0, "5/2"])]]
    return Problem([uniform_of_size(2)], contexts, rows([[1, 1], [0, -7], ["1/3", 2]]), NET)


STEPS = ([[1, 1]] * 3, [0, "-3/2", "-9/2"])  # the sum of both coordinates is 1, 4, 5


def steps() -> Json:
    return triangular(rational_problem(), *STEPS, [0, 1, 2], [0, 1, 2])


def steps_mixed() -> Json:
    """Only neurons 2 and 0 are used, in another order; one value above the diagonal is exactly 0."""
    problem = rational_problem()
    problem = replace(problem, contexts=problem.contexts[1:], targets=problem.targets[1:])
    return triangular(problem, [[1, 1], [0, 1], [1, 0]], [-4, 0, 5], [2, 0], [0, 1])


def exponential_problem() -> Problem:
    """Two heads, features with exponential sums: close to (1.73, 0.52), (0.38, 2.12), (-0.20, -0.11)."""
    heads = [Head(I_2, I_2, I_2, I_2), Head([[1, 0]], [[0, 1]], [[1, 1]], [[0], ["1/4"]], ["1/5"])]
    contexts = [rows([[0, 1], [1, 0]]), rows([[1, "1/2"], [0, 1]]), rows([["-1/2", 1], [0, "-1/3"]])]
    return Problem(heads, contexts, rows([[1, 1], [0, -7], ["1/3", 2]]), NET)


def steps_exponential() -> Json:
    """The first coordinates, about 1.73, 0.38, -0.20, plus 1/2, 0, -1."""
    return triangular(exponential_problem(), [[1, 0]] * 3, ["1/2", 0, -1], [0, 1, 2], [2, 1, 0])


def updated_rational() -> Json:
    """u is 1, 4, 5 less 0, 3/2, 9/2: values (1, 0, 0), (4, 5/2, 0), (5, 7/2, 1/2)."""
    problem = rational_problem()
    b_2 = row([0, "1/2"])
    features = rows([[1, 0], [2, 2], [0, 5]])
    wanted = [plus(plus(y, times(-1, f)), times(-1, b_2)) for y, f in zip(problem.targets, features, strict=True)]
    columns = [wanted[0]]
    columns.append(times("2/5", plus(wanted[1], times(-4, columns[0]))))
    columns.append(times(2, plus(wanted[2], plus(times(-5, columns[0]), times("-7/2", columns[1])))))
    W_2 = [list(r) for r in zip(*columns, strict=True)]
    return updated(problem, *STEPS, W_2, b_2)


def updated_exponential() -> Json:
    """f - (f + 9) + (10, 11): the first two units are active at all queries, the third at none."""
    problem = replace(exponential_problem(), targets=rows([[1, 2]] * 3))
    return updated(problem, [[1, 0], [0, 1], [1, 1]], [9, 9, -9], [[-1, 0, 5], [0, -1, 7]], [10, 11])


def same_feature() -> Json:
    """Every column twice, in another order, and with another token between the two queries."""
    problem = exponential_problem()
    first = problem.contexts[1]
    contexts = [first, problem.contexts[0], [first[1], first[0], first[0], first[1]]]
    return impossible(replace(problem, contexts=contexts), 2, 0)


def same_feature_other_token() -> Json:
    """x + A with A the mean: (1, 0) + (1, 3) and (0, 1) + (2, 2)."""
    contexts = [two_columns([1, 0], [1, 3]), two_columns([0, 1], [2, 2])]
    return impossible(Problem([uniform_of_size(2)], contexts, rows([[0, 0], [0, 1]])), 0, 1)


MAKERS: dict[str, Callable[[], Json]] = {
    "collinear": collinear,
    "collinear, at 1": lambda: collinear((1, 1), (0, 1)),
    "collinear, at 0": lambda: collinear((0, 1), (0, -2)),
    "collinear, constant": lambda: collinear((3, 0), (-1, 0)),
    "turning": turning,
    "logits": logits,
    "logits, cut": logits_cut,
    "heads": heads,
    "masked": masked,
    "boundary": boundary,
    "folded": folded,
    "out of range": out_of_range,
    "subset": subset,
    "any length": any_length,
    "no head size": nothing,
    "cut beside": lambda: beside(2),
    "cut below": lambda: beside("-1/2"),
    "cut at the end": lambda: beside(1),
    "tight": tight_case,
    "tight, MLP": tight_with_mlp,
    "tight, near": tight_near,
    "one token": one_token,
    "one token, near": one_token_near,
    "one token, masked": one_token_masked,
    "stated": stated_uniform,
    "stated, logits": stated_logits,
    "steps": steps,
    "steps, mixed": steps_mixed,
    "steps, exponential": steps_exponential,
    "updated": updated_rational,
    "updated, exponential": updated_exponential,
    "same feature": same_feature,
    "same feature, other token": same_feature_other_token,
}


@cache
def true(name: str) -> Json:
    """A true certificate (shared: take copies)."""
    return MAKERS[name]()


# --- edited ----------------------------------------------------------------------------------------------------


def edited(name: str, *edits: tuple[tuple[Any, ...], Json]) -> Json:
    value = true(name)
    for path, new in edits:
        value = changed(value, path, new)
    return value


def by_one(*place: int, step: Json = 1) -> Callable[[Json], Json]:
    """One entry of a vector or matrix, one more."""

    def new(value: Json) -> Json:
        entries = values(value)
        inner = entries
        for k in place[:-1]:
            inner = inner[k]
        inner[place[-1]] += Fraction(step)
        return make.matrix(entries) if isinstance(entries[0], list) else make.vector(entries)

    return new


def scaled(factor: Json) -> Callable[[Json], Json]:
    def new(value: Json) -> Json:
        x = values(value)
        return make.matrix([times(factor, r) for r in x]) if isinstance(x[0], list) else make.vector(times(factor, x))

    return new
