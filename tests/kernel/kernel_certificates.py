"""Small certificates made by hand, written by a writer of the tests' own.

Matrices are lists of rows of rationals (int, Fraction or text such as "1/3").
"""

import copy
import hashlib
import json
import random
from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import lcm
from typing import Any, TypeVar

from hypothesis import settings

Json = Any
T = TypeVar("T")


# --- writing ---------------------------------------------------------------------------------------------


def integer(n: int) -> Json:
    return n if abs(n) < 2**53 else hex(n)


def scalar(value: Json) -> Json:
    value = Fraction(value)
    return {"den": integer(value.denominator), "num": integer(value.numerator)}


def vector(values: list[Json]) -> Json:
    entries = [Fraction(value) for value in values]
    den = lcm(*(entry.denominator for entry in entries))
    return {"den": integer(den), "num": [integer(int(entry * den)) for entry in entries]}


def matrix(rows: list[list[Json]]) -> Json:
    entries = [[Fraction(value) for value in row] for row in rows]
    den = lcm(*(entry.denominator for row in entries for entry in row))
    return {"den": integer(den), "num": [[integer(int(entry * den)) for entry in row] for row in entries]}


def zeros(height: int, width: int) -> list[list[Json]]:
    return [[0] * width for _ in range(height)]


def identity(size: int) -> list[list[Json]]:
    return [[int(i == j) for j in range(size)] for i in range(size)]


def head(
    d: int = 2, *, W_q: Json = None, W_k: Json = None, W_v: Json = None, W_o: Json = None, b_q: Json = None
) -> Json:
    """A head with identity matrices and no bias, unless given."""
    W_q = W_q or identity(d)
    s = len(W_q)
    return {
        "W_q": matrix(W_q),
        "W_k": matrix(W_k or identity(d)),
        "W_v": matrix(W_v or identity(d)),
        "W_o": matrix(W_o or identity(d)),
        "b_q": vector(b_q or [0] * s),
    }


def mlp(d: int = 2, W_1: Json = (), W_2: Json = None, b_1: Json = (), b_2: Json = None) -> Json:
    """No hidden units and no bias, unless given."""
    return {
        "W_1": matrix(list(W_1)),
        "b_1": vector(list(b_1)),
        "W_2": matrix(W_2 or zeros(d, 0)),
        "b_2": vector(b_2 or [0] * d),
    }


def layer(heads: Json = None, mlp_: Json = None, causal: bool = False, E: Json = None) -> Json:
    return {"heads": heads or [head()], "mlp": mlp_ or mlp(), "causal": causal, "E": E and matrix(E)}


def query(X: list[list[Json]], column: int, target: list[Json]) -> Json:
    return {"X": matrix(X), "column": column, "target": vector(target)}


def point(z: list[Json], factor: Json = ()) -> Json:
    return {"kind": "point", "z": vector(z), "factor": matrix(list(factor))}


def tree(node: Json) -> Json:
    return {"kind": "tree", "tree": node}


PIECE = {"leaf": "piece"}


def empty(multipliers: list[Json]) -> Json:
    return {"leaf": "empty", "multipliers": vector(multipliers)}


def branch(unit: int, active: Json, inactive: Json) -> Json:
    return {"unit": unit, "active": active, "inactive": inactive}


def separation(
    w: list[Json], *, argument: str = "cone", head_index: int = 0, multipliers: tuple[Json, Json] = (None, None)
) -> Json:
    return {
        "argument": argument,
        "head": head_index,
        "w": vector(w),
        "multipliers": [None if m is None else vector(m) for m in multipliers],
    }


def exp_sum(*terms: tuple[Json, Json]) -> Json:
    """Terms (coefficient, exponent)."""
    return {"coefficients": vector([c for c, _ in terms]), "exponents": vector([q for _, q in terms])}


def fractions(numerators: list[Json], denominator: Json = None) -> Json:
    return {"numerators": numerators, "denominator": denominator or exp_sum((1, 0))}


def certificate(claim: str, relation: str, instance: Json, witness: Json, **others: Json) -> Json:
    """A certificate without its hash; `others` replaces or adds fields of the envelope."""
    return {
        "format": "promptcert-certificate/1",
        "claim": claim,
        "relation": relation,
        "evidence": "exact",
        "instance": instance,
        "witness": witness,
        "toolkit": {"tests": "1"},
        **others,
    }


def canonical(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def seal(value: Json) -> bytes:
    """The file of a certificate: the hash is added (or replaced) and the canonical text taken."""
    content = {key: entry for key, entry in value.items() if key != "sha256"}
    content["sha256"] = hashlib.sha256(canonical(content).encode()).hexdigest()
    return canonical(content).encode() + b"\n"


# --- true certificates -----------------------------------------------------------------------------------


def pair(instance: Json, witness: Json) -> Json:
    return certificate("unmemorizable-pair", "no-prompt-memorizes", instance, witness)


def two(first: Json, second: Json, layer_: Json = None) -> Json:
    return {"layer": layer_ or layer(), "queries": [first, second]}


def contradictory() -> Json:
    X = [["1/2", 1], [0, "1/3"]]
    return pair(two(query(X, 1, [1, 2]), query(X, 1, [1, 3])), {"argument": "contradictory-data"})


def folded(**others: Json) -> Json:
    """The MLP z -> z - 2 ReLU(z) = -|z| in one dimension."""
    return mlp(1, W_1=[[1]], W_2=[[-2]], b_1=[0], **others)


def out_of_range(root: Json = None) -> Json:
    instance = {"layer": layer([head(1)], folded()), "queries": [query([[1]], 0, [1])]}
    return pair(instance, {"argument": "out-of-range", "preimage": tree(root or empty([-1]))})


def cone_points() -> Json:
    """w = e_1: the first context has output in direction +e_1, its query wants -e_1; the second the reverse."""
    first = query([[3, 0], [0, 1]], 1, [-2, 5])
    second = query([[-3, 0], [0, 1]], 1, [2, 0])
    witness = {"argument": "separation", "preimages": [point([-2, 5]), point([2, 0])], "pairs": [[separation([1, 0])]]}
    return pair(two(first, second), witness)


def closeness_points(gap: Json = "1/1000") -> Json:
    """Two contexts that are close, two targets that are not; w points from the first to the second."""
    first = query([[3, 0], [0, 1]], 1, [4, 5])
    second = query([[3 - Fraction(gap), 0], [0, 1]], 1, [6, 5])
    witness = {
        "argument": "separation",
        "preimages": [point([4, 5]), point([6, 5])],
        "pairs": [[separation([1, 0], argument="closeness")]],
    }
    return pair(two(first, second), witness)


def cone_tree() -> Json:
    """One dimension, MLP(z) = z - 2 ReLU(z - 10): a target y has the preimages 20 - y (active) and y (inactive).

    The tokens are 30 and -30, and both have the logit vector 1, by the query bias. So a is -6 or -34 for the first
    query and 43 or 37 for the second, and the contexts have outputs of the opposite signs.
    """
    bent = mlp(1, W_1=[[1]], W_2=[[-2]], b_1=[-10])
    biased = head(1, W_q=[[0]], b_q=[1])
    first, second = query([[9, 30]], 1, [-4]), query([[-9, -30]], 1, [7])
    pairs = [[separation([1], multipliers=([i], [j])) for j in (2, 0)] for i in (-2, 0)]
    proofs = [tree(branch(0, PIECE, PIECE)) for _ in range(2)]
    witness = {"argument": "separation", "preimages": proofs, "pairs": pairs}
    return pair(two(first, second, layer([biased], bent)), witness)


def cone_two_heads() -> Json:
    """Tokens of length 3, heads of size 2 and 1; w = e_1 vanishes on the second head; an MLP with a point proof."""
    small = mlp(
        3, W_1=[["1/2", 0, 0], [0, "1/3", 0]], W_2=[["1/2", 0], [0, "1/2"], [0, 0]], b_1=[1, "-1/7"], b_2=[0, 0, "1/9"]
    )
    heads = [
        head(
            3,
            W_q=[[1, 0, 0], [0, 1, 0]],
            W_k=[[0, 1, 0], [0, 0, 1]],
            W_v=[[1, 0, 0], [0, 0, 1]],
            W_o=[[1, 0], [0, 1], [0, 1]],
        ),
        head(3, W_q=[[1, 1, 1]], W_k=[[0, 1, 1]], W_v=[[1, 2, 3]], W_o=[[0], [1], [1]], b_q=["-1/5"]),
    ]
    # MLP(z) for z = (-1, 5, 0) is (-1 + 1/4, 5 + 16/42 * 2, 1/9): hidden units 1/2 and 5/3 - 1/7 = 32/21.
    z_1, y_1 = [-1, 5, 0], ["-3/4", 5 + Fraction(16, 21), "1/9"]
    z_2, y_2 = [2, 0, 0], [3, 0, "1/9"]  # hidden units 2 and 0
    first = query([[3, 0], [0, 1], [1, 1]], 1, y_1)
    second = query([[-3, 0], [0, 1], [0, 1]], 1, y_2)
    factor = [[1, 0], [0, 1]]  # M + M^T = diag(5/2, 7/3)
    witness = {
        "argument": "separation",
        "preimages": [point(z_1, factor), point(z_2, factor)],
        "pairs": [[separation([1, 0, 0])]],
    }
    return pair(two(first, second, layer(heads, small)), witness)


def embedded_causal() -> Json:
    """Prompt length 1 by E; the columns after the query's token are masked (they would spoil the cone)."""
    E = [[7, 1, 0, 0], [7, 0, 1, 0]]
    first = query([[2, 0, -100], [0, 0, 0]], 1, [-2, 5])
    second = query([[-4, 0, 100], [0, 0, 0]], 1, [2, 0])
    witness = {"argument": "separation", "preimages": [point([-2, 5]), point([2, 0])], "pairs": [[separation([1, 0])]]}
    return pair(two(first, second, layer(causal=True, E=E)), witness)


def split(fraction: Json = None) -> Json:
    """Two heads; the token (1, 0) gives the columns of X scores 0 and 2, and those of P scores 1 and -1/2."""
    instance = {
        "heads": [head(), head(W_q=[[0, 0]], W_k=[[1, 1]], W_v=[[1, 1]], W_o=[[2], [3]])],
        "token": vector([1, 0]),
        "X": matrix([[0, 2], [1, "1/3"]]),
        "P": matrix([[1, "-1/2"], [4, 0]]),
    }
    S_X, S_P = ((1, 0), (1, 2)), ((1, 1), (1, "-1/2"))
    first = fractions([exp_sum(*S_X)], exp_sum(*S_X, *S_P))
    return certificate(
        "attention-split", "splits", instance, {"fractions": [fraction or first, fractions([exp_sum(("1/2", 0))])]}
    )


def direction(rho: Json = 1) -> Json:
    """x_0 = (1, 0), V = 2 I, A = (a, 1) e-free or not: x_1 = (1 + k) A / 2 - k x_0 with first entry 1 - rho."""
    # x_1 = (1 - rho, (1 + k)/2), so A_1 = 2 (1 - rho + k)/(1 + k) and A_2 = 1.
    rho = Fraction(rho)
    one_plus_k = exp_sum((1, 0), (1, rho))
    A = fractions([exp_sum((2 * (1 - rho), 0), (2, rho)), one_plus_k], one_plus_k)
    x_1 = fractions([exp_sum((1 - rho, 0)), exp_sum(("1/2", 0), ("1/2", rho))])
    instance = {"head": head(W_v=[[2, 0], [0, 2]]), "token": vector([1, 0]), "rho": scalar(rho), "output": A}
    return certificate("direction-lemma", "attains", instance, {"x_1": x_1})


def norm_product(solved: bool = True) -> Json:
    """W_1 = (1/2, 1/3) as a 1 x 2 matrix and W_2 its transpose: norms squared 13/36 each."""
    net = mlp(2, W_1=[["1/2", "1/3"]], W_2=[["1/2"], ["1/3"]], b_1=[1], b_2=[0, 1])
    witness = {
        "bounds": [scalar("1/2"), scalar("3/4")],
        "factors": [matrix([["1/3"]]), matrix([["1/2"]])],
        "z": vector([0, 3]) if solved else None,
    }  # hidden unit 2
    return certificate(
        "mlp-injectivity", "norm-product", {"mlp": net, "y": vector([1, "14/3"]) if solved else None}, witness
    )


def monotone(solved: bool = True) -> Json:
    """M + M^T = [[2, 1/3], [1/3, 4]]."""
    net = mlp(2, W_1=[[0, 1], [1, 0]], W_2=[["1/3", 1], [0, 0]], b_1=[0, 0])
    witness = {"factor": matrix([[1, 0], ["1/3", 1]]), "z": vector([3, -5]) if solved else None}
    return certificate("mlp-injectivity", "monotone", {"mlp": net, "y": vector([6, -5]) if solved else None}, witness)


TRUE: dict[str, Json] = {
    "contradictory": contradictory(),
    "out of range": out_of_range(),
    "out of range, branched": out_of_range(branch(0, empty([-1]), empty([-1]))),
    "cone": cone_points(),
    "cone, trees": cone_tree(),
    "cone, two heads": cone_two_heads(),
    "cone, mask and E": embedded_causal(),
    "closeness": closeness_points(),
    "split": split(),
    "direction": direction(),
    "direction, rational": direction(0),
    "norm product": norm_product(),
    "norm product, no target": norm_product(False),
    "monotone": monotone(),
    "monotone, no target": monotone(False),
}


def places(value: Json, path: tuple[Json, ...] = ()) -> Iterator[tuple[Json, ...]]:
    """The paths of all values in a JSON value, containers included."""
    yield path
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(entry, (*path, key))


def changed(value: Json, path: tuple[Json, ...], new: Json) -> Json:
    """A copy with the value at the path replaced; `new` may be a function of the old value."""
    result = copy.deepcopy(value)
    place = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new(place[path[-1]]) if callable(new) else new
    return result


def part(items: Iterable[T], most: int) -> list[T]:
    """At most so many of the items, at random, the same ones every time; in the nightly profile forty times as many."""
    everything = list(items)
    count = most * settings.default.max_examples // 25
    return everything if len(everything) <= count else random.Random(len(everything)).sample(everything, count)
