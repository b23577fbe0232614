"""Named problems and true certificates of the claim several-heads, all by hand."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import kernel_certificates as make
from kernel_oracle import combined, minus, sign
from kernel_oracle import values as values_of
from prompt_law_makers import row
from several_heads_makers import Head, Problem, along, asking, cut, leaf, memorizable, prompt, refuted, shared

Json = Any


def rows(values: Json) -> list[list[Fraction]]:
    return [row(v) for v in values]


# --- memorizable -----------------------------------------------------------------------------------------------


def singular() -> Problem:
    """One head of size 1, three queries with different tokens, several columns. The head sees the first coordinate, and
    q is (0, 1) times 1, -1/2, 3 (the bias included)."""
    head = Head(W_q=[[1, 1]], W_k=[[0, 1]], W_v=[[1, 0]], W_o=[[1], [2]], b_q=["1/2"])
    contexts = [rows([[4, 5], ["1/2", 0]]), rows([[-1, 0]]), rows([[0, 1], [2, 2], ["3/2", 1]])]
    return Problem([head], contexts, [])


def singular_case() -> Json:
    inputs = rows([[7, 1], [-3, 0], ["1/3", 0]])
    return along(asking(singular(), inputs), inputs, [0, 1])


def bent() -> Problem:
    """Two heads in three dimensions that do not see the last coordinate, and share their range. The MLP has a ReLU that
    is active for the first query and not for the second. What is behind the token is masked."""
    heads = [
        Head(W_q=[[1, 0, 0]], W_k=[[1, 2, 1]], W_v=[[1, 0, 0]], W_o=[[1], [1], [0]]),
        Head(W_q=[[0, 1, 0]], W_k=[[0, 1, 3]], W_v=[[1, 1, 0]], W_o=[[0], [1], [1]]),
    ]
    contexts = [rows([[1, 1, 1], [1, 2, 0]]), rows([[-1, 1, 0]])]
    hidden = [rows([[100, 0, 0], [5, 5, 5]]), rows([[0, 0, 7]])]
    return Problem(heads, contexts, [], hidden=hidden)


def bent_case() -> Json:
    """z - 2 ReLU(z_0 - 10) e_0."""
    inputs = rows([[20, 0, 3], [1, 1, 1], [2, 0, 0], [0, "1/7", 0]])
    problem = asking(bent(), inputs)
    (z,), (w,) = problem.points
    assert z[0] > 10 > w[0]
    mlp = make.mlp(3, W_1=[[1, 0, 0]], W_2=[[-2], [0], [0]], b_1=[-10])
    return along(replace(problem, mlp=mlp, targets=[[20 - z[0], *z[1:]], w]), inputs, [0, 0, 1])


def planar() -> Json:
    """Directions in a plane, with one height: four logit vectors at the corners of a square, each its own direction."""
    head = Head(W_q=[[0, 1, 0], [0, 0, 1]], W_k=[[0, 1, 0], [0, 0, 1]], W_v=[[1, 0, 0]] * 2, W_o=[[1, 0]] * 3)
    corners = [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    problem = Problem([head], [rows([[0, *c]]) for c in corners], [])
    inputs = rows([[i, 0, 0] for i in range(4)])
    return memorizable(asking(problem, inputs), inputs, [0] * 4, [[0, *c] for c in corners])


def lone() -> Json:
    """One pair: nothing to keep off, and any output in the range."""
    problem = Problem([Head([[1]], [[1]], [[3]], [[1]])], [rows([[2]])], [])
    return memorizable(asking(problem, rows([[5]])), rows([[5]]), [-7], [[0]])


# --- memorizable-shared ----------------------------------------------------------------------------------------


def constant(heads: int) -> list[Head]:
    """Heads of size 2 whose logit vectors do not depend on the token: head j sees coordinates 2 j and 2 j + 1, and
    gives them back; q is the unit vector of coordinate 2 h + j."""
    d, result = 3 * heads, []
    for j in range(heads):
        sees = [[int(c == 2 * j + r) for c in range(d)] for r in range(2)]
        W_k = [[int(c == 2 * heads + j) for c in range(d)], [0] * d]
        result.append(Head(make.zeros(2, d), W_k, sees, [list(c) for c in zip(*sees, strict=True)], [1, 0]))
    return result


def one_mass(wanted: Json, values: Json, at: Json = 1) -> Problem:
    """One head: query i wants the output o_i. Its context is a column with this value and score, and the token, of the
    value o_i, which adds nothing to C."""
    contexts = [rows([[*v, at], [*o, 0]]) for v, o in zip(values, wanted, strict=True)]
    return asking(Problem(constant(1), contexts, []), rows([[*o, 0] for o in wanted]))


def mass_case(values: Json = None, at: Json = 1) -> Json:
    """C_i = e^at (V z_i - o_i) is 2 e^at (o_i - v) for v = (1, 1): the mass is 2 e^at."""
    wanted = rows([[2, 3], [0, 5], [0, 0]])
    values = values or [[3 * x - 2 for x in o] for o in wanted]
    problem = one_mass(wanted, values, at)
    return shared(problem, [[*o, 9] for o in wanted], [[0, 2, 1]], [[[0, 0, 1]]])


def two_heads_shared() -> Json:
    """Two queries. The outputs of head 0 differ, and its mass is 2 e; those of head 1 and their contexts agree (the
    columns are exchanged)."""
    o = rows([[2, 3, 1, 1], [0, 5, 1, 1]])
    first, second = rows([[4, 7, 5, 0, 1, 2]]), rows([[-2, 13, 5, 0, 1, 2]])
    same = [row([0, 0, 0, 0, 0, 0]), row([0, 0, 1, 2, 0, 1])]
    contexts = [[*same, *first], [same[1], same[0], *second]]
    # the columns `same` count for head 0 too: they add (e^0 + e^0)(0 - o), and so to the mass -2
    inputs = [[*o[0][:2], 0, 0, 0, 0], [0, 0, *o[0][2:], 0, 0], [*o[1][:2], 0, 0, 0, 0], [0, 0, *o[1][2:], 0, 0]]
    problem = asking(Problem(constant(2), contexts, []), rows(inputs))
    dual = [[0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]]
    return shared(problem, inputs, [[0, 2, 0], None], [dual, dual])


# --- no prompt -------------------------------------------------------------------------------------------------


def crossed(first: Json = (1, 1), second: Json = (-1, -1), off: Json = 0, length: int | None = None) -> Problem:
    """The stuck layer: logit vectors (0, +-1) at head 0, which gives the second coordinate to the first; (+-1, 0) at
    head 1, the other way round. Query 0 asks for the token less `off` in both coordinates, query 1 for as much more."""
    heads = [Head([[1, 0]], [[0, 1]], [[0, 1]], [[1], [0]]), Head([[1, 0]], [[1, 0]], [[1, 0]], [[0], [1]])]
    x, y, off = row(first), row(second), Fraction(off)
    points = [[[t - off for t in x]], [[t + off for t in y]]]
    return Problem(heads, [[x], [y]], points, length)


FLOW = [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]
ETA = [[-2, 0], [0, -2], [2, 0], [0, 2]]


def crossed_leaf(problem: Problem, **others: Json) -> Json:
    """The sum of the flow times the divergences; y = -eta."""
    return leaf(problem, [[-x for x in r] for r in ETA], divergence=make.matrix(FLOW), **others)


def crossed_case(off: Json = 1) -> Json:
    problem = crossed(off=off)
    return refuted(problem, [crossed_leaf(problem)])


def crossed_cut() -> Json:
    """Cut in two, then one half again; the bound is 0 where group 0 has no upper end, and it is not attained there."""
    problem = crossed()
    part = crossed_leaf(problem)
    return refuted(problem, [cut(0, "1/2", cut(3, -1, part, part), part)])


def repeated_token() -> Problem:
    """Two queries share a token, heads of size 2 in four dimensions, [W_o] the identity. In a context of one column,
    the token, no prompt acts differently on the two; here there are others."""
    eye = make.identity(4)
    heads = [
        Head(eye[:2], eye[2:], eye[:2], [list(r) for r in zip(*eye[:2], strict=True)]),
        Head(eye[2:], eye[:2], eye[2:], [list(r) for r in zip(*eye[2:], strict=True)]),
    ]
    x = row([1, 2, "1/2", -1])
    contexts = [[row([1, 0, 0, 1]), x], [row([0, 3, "1/3", 0]), x]]
    return Problem(heads, contexts, [[row([3, 3, 1, 1])], [row([2, 1, 0, 5])]])


def repeated_token_case(hidden: Json = ()) -> Json:
    """o_1 - o_2 = (1, 2) at head 0, so y = +-(2, -1) there, and b = 0; the bound of 0 is not attained."""
    problem = repeated_token()
    o_1, o_2 = (minus(points[0], problem.token(0))[:2] for points in problem.points)
    assert minus(o_1, o_2) == [1, 2]
    C_1, C_2 = (problem.C(alpha, [*o, Fraction(0), Fraction(0)]) for alpha, o in ((0, o_1), (2, o_2)))
    one = Fraction(1)
    side = sign(combined((2 * one, C_1[0]), (-one, C_1[1]), (-2 * one, C_2[0]), (one, C_2[1])))
    y = [2 * side, -side, 0, 0]
    values = [y, [0] * 4, [-t for t in y], [0] * 4]
    return refuted(replace(problem, hidden=list(hidden)), [leaf(problem, values)])


def masked() -> Json:
    """The same, with columns behind the token that would count on the other side: 2 and -1 times 90 and -90 for one
    query, the reverse for the other."""
    spoils = [[[row([s * t, -s * t, 0, 0])] for s in (1, -1)] for t in (90, -90)]
    side = values_of(repeated_token_case()["witness"]["combinations"][0]["values"])[0][0]
    return repeated_token_case(spoils[0] if side < 0 else spoils[1])


def bounded(length: int = 7) -> Problem:
    """One dimension, q = 1, the context is the token 1, the output asked for is 0: C = e."""
    head = Head([[0]], [[1]], [[1]], [[1]], [1])
    return Problem([head], [rows([[1]])], [rows([[1]])], length)


def bounded_case(log_length: Json = ("97/50", "39/20")) -> Json:
    """log N - H = -s + log N - e^{1 - s} is largest at s = 1: at most log N - 2. The tangent there is level."""
    problem = bounded()
    part = leaf(problem, [[1]], length=make.vector([1]), tangents=[make.scalar(1)])
    return refuted(problem, [cut(0, 1, part, part)], log_length)


def mixed_group() -> Json:
    """Two heads with one logit vector, V = (1, 0; 0, 0) and (0, 0; 0, 1), and two queries with one token: one group of
    all pairs. o_1 - o_2 is (1, 1) over both heads, so y takes the difference of the heads."""
    heads = [Head([[0, 0]], [[1, 1]], [[1, 0]], [[1], [0]], [1]), Head([[0, 0]], [[1, 1]], [[0, 1]], [[0], [1]], [1])]
    x = row([0, 0])
    problem = Problem(heads, [[row([2, 0]), x], [x]], [[row([3, 5])], [row([2, 4])]])
    # C_1 - C_2 is -(1, 1) + e^2 ((2, 0) - (3, 5)): head 0 less head 1 is 4 e^2
    return refuted(problem, [leaf(problem, [[1, 0], [0, -1], [-1, 0], [0, 1]])])


def two_preimages() -> Json:
    """With the MLP z -> z - 2 ReLU(z_0 - 10) e_0 a target has two preimages, z and (20 - z_0, z_1). The sum of eta.o is
    positive for all four combinations, and far columns keep all C on the side that they should be on."""
    problem = replace(crossed(off=30), mlp=make.mlp(2, W_1=[[1, 0]], W_2=[[-2], [0]], b_1=[-10]))
    return _folded(replace(problem, contexts=[rows([[0, 50], [1, 1]]), rows([[0, -50], [-1, -1]])]))


def _folded(problem: Problem, at: int = 0) -> Json:
    """For an MLP that folds a coordinate at 10; the same leaf for all combinations."""
    proofs, points, targets, d = [], [], [], problem.d
    coordinates = [[[-2], [2]] if c == at else [[0], [0]] for c in range(d)], [[[0], [0]]] * d
    for (z,) in problem.points:
        low = [min(x, 20 - x) if c == at else x for c, x in enumerate(z)]
        targets.append(low)
        points.append([[20 - x if c == at else x for c, x in enumerate(low)], low])
        listed = [
            {"z": make.vector(point), "multipliers": [[make.vector(v) for v in pair] for pair in pairs]}
            for point, pairs in zip(points[-1], coordinates, strict=True)
        ]
        proofs.append({**make.tree(make.branch(0, make.PIECE, make.PIECE)), "points": listed})
    problem = replace(problem, proofs=proofs, targets=targets)
    return refuted(problem, [crossed_leaf(problem)] * 4)


def reach_or_tree() -> Json:
    """The crossed layer with a third coordinate that no head gives, folded: one combination of four is in reach."""
    flat = crossed(off=1)
    heads = [Head(*([[*r, 0] for r in M] for M in (h.W_q, h.W_k, h.W_v)), [*h.W_o, [0]]) for h in flat.heads]
    contexts = [[[*x, Fraction(0)] for x in columns] for columns in flat.contexts]
    mlp = make.mlp(3, W_1=[[0, 0, 1]], W_2=[[0], [0], [-2]], b_1=[-10])
    points = [[[*z, Fraction(0)]] for (z,) in flat.points]
    problem = Problem(heads, contexts, points, mlp=mlp)
    value = _folded(problem, 2)
    tree = leaf(problem, [[*(-x for x in r), 0] for r in ETA], divergence=make.matrix(FLOW))
    witness = {
        **value["witness"],
        "combinations": [*({"query": i, "w": make.vector([0, 0, 1])} for i in (0, 0, 1)), tree],
    }
    return {**value, "witness": witness}


def lone_reach() -> Json:
    """One combination, out of reach."""
    problem = crossed()
    heads = [Head(head.W_q, head.W_k, head.W_v, [[1], [1]]) for head in problem.heads]
    problem = replace(problem, heads=heads, points=[problem.points[0], [row([2, 3])]])
    return refuted(problem, [{"query": 1, "w": make.vector([1, -1])}])


def out_of_range() -> Json:
    """A target that the MLP does not have: no combination."""
    problem = crossed()
    mlp = make.mlp(2, W_1=[[1, 0]], W_2=[[-2], [0]], b_1=[-10])
    none = {**make.tree(make.empty([-1])), "points": []}
    return refuted(replace(problem, mlp=mlp, targets=rows([[11, 0], [12, 0]]), proofs=[none] * 2), [])


# --- stuck and prompt ------------------------------------------------------------------------------------------


def stuck(flow: Json = FLOW, values: Json = ETA, tokens: Json = ((1, -1), (5, 6))) -> Json:
    heads = [head.json(2) for head in crossed().heads]
    instance = {"layer": make.layer(heads), "tokens": make.matrix(tokens), "values": make.matrix(values)}
    return make.certificate("several-heads", "stuck", instance, {"flow": make.matrix(flow)})


def stuck_line() -> Json:
    """One head that is invertible in one dimension, two tokens: (q_1 - q_0) p_0 + (q_0 - q_1) p_1 <= 0."""
    head = Head([[1]], [[1]], [[2]], [[1]])
    layer = make.layer([head.json(1)], make.mlp(1))
    instance = {"layer": layer, "tokens": make.matrix([[1, 4]]), "values": make.matrix([["3/2"], ["-3/2"]])}
    return make.certificate("several-heads", "stuck", instance, {"flow": make.matrix([[0, 1], [1, 0]])})


def general() -> Problem:
    """Two heads of sizes 1 and 2 in two dimensions, two queries; V of the second is invertible."""
    heads = [
        Head([[1, 1]], [["1/2", -1]], [[1, "1/2"]], [[1], [-1]], ["1/3"]),
        Head([[1, 0], [0, 1]], [[0, 1], ["1/2", 0]], [[1, 0], [1, 2]], [[1, 0], [0, "1/2"]], [0, 1]),
    ]
    return Problem(heads, [rows([[1, 0], ["1/2", 1]]), rows([[-1, "1/2"]])], [])


def prompt_case(**others: Any) -> Json:
    tokens = rows([[1, 1], [-1, "3/2"], ["1/2", -2]])
    return prompt(general(), tokens, [1, 3, 1], [(0, 0), (1, 0), (0, 2), (1, 1)], **others)


def prompt_of_many() -> Json:
    """A large count, and references that make up for it."""
    problem = replace(general(), contexts=general().contexts[:1])
    references = make.vector([10, "23/2"])
    return prompt(problem, rows([[1, 1], [2, -1]]), [10**5, 1], [(1, 0), (0, 0)], references=references)


MAKERS: dict[str, Callable[[], Json]] = {
    "singular": singular_case,
    "bent": bent_case,
    "planar": planar,
    "lone": lone,
    "mass": mass_case,
    "mass, rational": lambda: mass_case(at=0),
    "two heads shared": two_heads_shared,
    "crossed": crossed_case,
    "crossed, zero": lambda: crossed_case(0),
    "crossed, cut": crossed_cut,
    "repeated token": repeated_token_case,
    "masked": masked,
    "mixed group": mixed_group,
    "two preimages": two_preimages,
    "out of reach": lone_reach,
    "reach or tree": reach_or_tree,
    "bounded": bounded_case,
    "out of range": out_of_range,
    "stuck": stuck,
    "stuck, line": stuck_line,
    "prompt": prompt_case,
    "prompt of many": prompt_of_many,
}


@cache
def true(name: str) -> Json:
    """A true certificate (shared: take copies)."""
    return MAKERS[name]()
