"""Named problems and true certificates of the claim several-queries."""

import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import kernel_certificates as make
from prompt_law_makers import row
from several_queries_makers import Several, aimed_at, memorizable, prompt, refuted, tree_argument

Json = Any
Row = list[Fraction]


def numbers(rng: random.Random, n: int) -> Row:
    return [Fraction(rng.randint(-8, 8), 4) for _ in range(n)]


def scattered(seed: int, d: int, n: int, columns: int = 2, length: int | None = None) -> Several:
    """Random data: unit triangular V and W, so that both are invertible."""
    rng = random.Random(seed)
    V, W = ([[*numbers(rng, i), Fraction(1), *[Fraction(0)] * (d - i - 1)] for i in range(d)] for _ in range(2))
    contexts = [[numbers(rng, d) for _ in range(columns)] for _ in range(n)]
    return Several(W, V, contexts, [[numbers(rng, d)] for _ in range(n)], length)


def tokens(seed: int, d: int, count: int) -> list[Row]:
    rng = random.Random(seed)
    return [numbers(rng, d) for _ in range(count)]


def two() -> Several:
    """Two queries in two dimensions, met by a prompt of five tokens up to rounding."""
    return aimed_at(scattered(1, 2, 2), tokens(2, 2, 5))


def three() -> Several:
    return aimed_at(scattered(4, 3, 3), tokens(5, 3, 6))


def shared(second: Row, third: Row, length: int | None = None, ends: tuple[Json, Json] = (-1, 2)) -> Several:
    """V = 1, q = x. Queries 0 and 2 have one token and different contexts, and a is (1, 1) and `third`. In the
    second coordinate the first columns of their contexts equal a, so that only the first coordinate matters."""
    x = row(["1/2", "-1/4"])
    contexts = [[row([ends[0], 1]), x], [row([0, 1]), row(["-1/2", "-1"])], [row([ends[1], 1]), x]]
    points = [
        [[a + b for a, b in zip(row(a), token[-1], strict=True)]]
        for a, token in zip(([1, 1], second, third), contexts, strict=True)
    ]
    one = [row([1, 0]), row([0, 1])]
    return Several(one, one, contexts, points, length)


def fixed_mass() -> Several:
    """The mass at the token of queries 0 and 2 follows from their equation."""
    return shared(row([0, "1/2"]), row(["3/2", 1]), ends=(-1, 6))


def repeated() -> Several:
    """Queries 0 and 2 ask for the same: the columns of the context are exchanged, the token stays."""
    problem = two()
    contexts = [[*columns[:-1], row([0, "1/4"]), columns[-1]] for columns in problem.contexts]
    problem = aimed_at(replace(problem, contexts=contexts), tokens(2, 2, 5))
    first = problem.contexts[0]
    return replace(
        problem,
        contexts=[*problem.contexts, [first[1], first[0], first[2]]],
        points=[*problem.points, problem.points[0]],
    )


def folded(problem: Several) -> Several:
    """With the MLP z -> z - 2 ReLU(z_0 - 10) e_0, of which each target below 10 has two preimages."""
    d = problem.d
    unit = [int(c == 0) for c in range(d)]
    mlp = make.mlp(d, W_1=[unit], W_2=[[-2 * u] for u in unit], b_1=[-10])
    points, proofs, targets = [], [], []
    for (z,) in problem.points:
        points.append([[20 - z[0], *z[1:]], z])
        targets.append(z)
        coordinates = [[[-2], [2]], *[[[0], [0]]] * (d - 1)], [[[0], [0]]] * d
        proofs.append(
            {
                **make.tree(make.branch(0, make.PIECE, make.PIECE)),
                "points": [
                    {"z": make.vector(point), "multipliers": [[make.vector(v) for v in pair] for pair in pairs]}
                    for point, pairs in zip(points[-1], coordinates, strict=True)
                ],
            }
        )
    return replace(problem, points=points, proofs=proofs, targets=targets, mlp=mlp)


def two_preimages() -> Json:
    """Four combinations; three have trees, as the fourth."""
    problem = folded(scattered(22, 2, 2, length=2))
    return refuted(problem, [tree_argument(problem, [i, j]) for i in range(2) for j in range(2)])


def out_of_range() -> Json:
    problem = folded(scattered(22, 2, 2))
    problem.targets = [row([11, 0]), row([12, 0])]
    problem.proofs = [{**make.tree(make.empty([-1])), "points": []}] * 2
    return refuted(problem, [])


def multiples() -> Several:
    """Logit vectors 0, r, 2r, met by a prompt up to rounding."""
    problem = scattered(9, 2, 3)
    r = row([1, "-1/2"])
    for k, columns in enumerate(problem.contexts):
        columns[-1] = [k * x for x in r]
    problem.W = [row([1, 0]), row([0, 1])]
    return aimed_at(problem, tokens(7, 2, 5))


def cycle() -> Several:
    """No context but the token, and targets against cyclic monotonicity: a combination of D_01 and D_10 refutes all."""
    one = [row([1, 0]), row([0, 1])]
    contexts = [[row([2, 0])], [row([-2, 0])]]
    points = [
        [[a + x for a, x in zip(row(a), c[0], strict=True)]] for a, c in zip(([-4, 0], [4, 0]), contexts, strict=True)
    ]
    return Several(one, one, contexts, points)


def prompt_of_mass() -> Json:
    """One dimension: two queries with the equation of their mass, and a prompt of two tokens."""
    contexts = [[row([-1]), row(["1/2"])], [row([3]), row(["1/2"])]]
    problem = Several([row([1])], [row([1])], contexts, [[row([0])], [row([0])]])
    start = [row(["-3/4"]), row([2])]
    return prompt(aimed_at(problem, start), start, [[0, 1, 0]], [1])


def one_group() -> Json:
    """One logit vector in one dimension: the same as under prompt-law."""
    return memorizable(Several([row([1])], [row([2])], [[row([1]), row(["1/2"])]], [[row([3])]]))


MAKERS: dict[str, Callable[[], Json]] = {
    "point": lambda: memorizable(two()),
    "point, three": lambda: memorizable(three()),
    "point, fixed mass": lambda: memorizable(fixed_mass()),
    "point, repeated": lambda: memorizable(repeated()),
    "point, one group": one_group,
    "tree": lambda: refuted(scattered(3, 2, 2)),
    "tree, length": lambda: refuted(replace(two(), length=2)),
    "tree, three": lambda: refuted(scattered(11, 3, 3, length=3)),
    "tree, dependent": lambda: refuted(replace(multiples(), length=2)),
    "tree, fixed mass": lambda: refuted(shared(row([0, -4]), row(["3/2", 1]), length=2, ends=(-1, 6))),
    "cycle": lambda: refuted(cycle()),
    "two preimages": two_preimages,
    "out of range": out_of_range,
    "sign": lambda: refuted(
        shared(row([0, 0]), row(["1/2", 1]), ends=(-1, 6)), [{"argument": "sign", "equation": [2, 0, 0]}]
    ),
    "sign, no delta": lambda: refuted(shared(row([0, 0]), row([1, 1])), [{"argument": "sign", "equation": [0, 2, 0]}]),
    "masses": lambda: refuted(
        shared(row([0, 0]), row(["3/2", 2]), ends=(-1, 6)),
        [{"argument": "masses", "equations": [[0, 2, 0], [0, 2, 1]]}],
    ),
    "prompt": lambda: prompt(two(), tokens(2, 2, 5), [None] * 2, [0, 0]),
    "prompt, three": lambda: prompt(three(), tokens(5, 3, 6), [None] * 3, ["1/2", -1, 2]),
    "prompt, mass": prompt_of_mass,
}


@cache
def true(name: str) -> Json:
    """A true certificate (shared: take copies)."""
    return MAKERS[name]()
