"""A second reading of docs/certificate-format.md: dense matrices of fractions, and flint's balls for signs."""

from collections import defaultdict
from fractions import Fraction
from typing import Any

from flint import arb, ctx, fmpq

Json = Any
Sum = dict[Fraction, Fraction]  # exponent -> coefficient


class UnsureError(Exception):
    """A sign that the precision of the oracle does not show."""


def number(value: Json) -> int:
    return value if isinstance(value, int) else int(value, 16)


def values(value: Json) -> Any:
    """A scalar, vector or matrix of fractions."""

    def divided(num: Json) -> Any:
        return [divided(n) for n in num] if isinstance(num, list) else Fraction(number(num), number(value["den"]))

    return divided(value["num"])


def dot(u: Any, v: Any) -> Fraction:
    return sum((a * b for a, b in zip(u, v, strict=True)), Fraction(0))


def times(A: Any, B: Any) -> Any:
    return [[dot(row, column) for column in zip(*B, strict=True)] for row in A]


def apply(A: Any, v: Any) -> Any:
    return [dot(row, v) for row in A]


def transposed(A: Any) -> Any:
    return [list(column) for column in zip(*A, strict=True)]


def minus(u: Any, v: Any) -> Any:
    return [a - b for a, b in zip(u, v, strict=True)]


def sign(terms: Sum) -> int:
    """By balls of 300 bits, scaled so that no term overflows."""
    terms = {q: c for q, c in terms.items() if c}
    if not terms:
        return 0
    ctx.prec = 300
    top = max(terms)
    total = arb(0)
    for q, c in terms.items():
        difference = q - top
        total += arb(fmpq(c.numerator, c.denominator)) * arb(fmpq(difference.numerator, difference.denominator)).exp()
    if total > 0:
        return 1
    if total < 0:
        return -1
    raise UnsureError


def combined(*parts: tuple[Fraction, Sum]) -> Sum:
    total: Sum = defaultdict(Fraction)
    for factor, part in parts:
        for q, c in part.items():
            total[q] += factor * c
    return total


def positive_definite(N: Any, factor: Json) -> bool:
    F = values(factor)
    R = [minus(a, b) for a, b in zip(N, times(F, transposed(F)), strict=True)] if N else []
    return all(R[i][i] > sum(abs(R[i][j]) for j in range(len(R)) if j != i) for i in range(len(R)))


class Mlp:
    def __init__(self, mlp: Json) -> None:
        self.W_1, self.b_1, self.W_2, self.b_2 = (values(mlp[name]) for name in ("W_1", "b_1", "W_2", "b_2"))
        r = len(self.b_1)
        product = times(self.W_1, self.W_2) if r else []
        self.M = [[product[i][j] + (i == j) for j in range(r)] for i in range(r)]

    def monotone(self, factor: Json) -> bool:
        N = [[a + b for a, b in zip(u, v, strict=True)] for u, v in zip(self.M, transposed(self.M), strict=True)]
        return positive_definite(N, factor)

    def __call__(self, z: Any) -> Any:
        h = [max(dot(row, z) + b, Fraction(0)) for row, b in zip(self.W_1, self.b_1, strict=True)]
        return [z_i + dot(row, h) + b for z_i, row, b in zip(z, self.W_2, self.b_2, strict=True)]

    def c(self, y: Any) -> Any:
        return [dot(row, minus(y, self.b_2)) + b for row, b in zip(self.W_1, self.b_1, strict=True)]


def leaves(node: Json, fixed: dict[int, bool]) -> list[tuple[dict[int, bool], Json]]:
    if "unit" in node:
        i = number(node["unit"])
        return leaves(node["active"], {**fixed, i: True}) + leaves(node["inactive"], {**fixed, i: False})
    return [(fixed, node)]


def bound(mlp: Mlp, y: Any, fixed: dict[int, bool], f: Any, multipliers: Any) -> Fraction | None:
    image = apply(transposed(mlp.M), multipliers) if multipliers else []
    for i, multiplier in enumerate(multipliers):
        if (multiplier > 0 and fixed.get(i) is not True) or (f[i] > image[i] and fixed.get(i) is not False):
            return None
    return dot(multipliers, mlp.c(y))


def pieces(mlp: Mlp, y: Any, proof: Json) -> Any:
    """The pieces, or None when the proof fails."""
    if proof["kind"] == "point":
        z = values(proof["z"])
        return [z] if mlp(z) == y and mlp.monotone(proof["factor"]) else None
    found = []
    for fixed, leaf in leaves(proof["tree"], {}):
        if leaf["leaf"] == "piece":
            found.append(fixed)
        else:
            limit = bound(mlp, y, fixed, [Fraction(0)] * len(mlp.b_1), values(leaf["multipliers"]))
            if limit is None or limit >= 0:
                return None
    return found


def upper(mlp: Mlp, y: Any, x: Any, piece: Any, w: Any, multipliers: Json) -> Fraction | None:
    if isinstance(piece, list):
        return dot(w, minus(piece, x))
    f = [-dot(column, w) for column in transposed(mlp.W_2)]
    limit = bound(mlp, y, piece, f, values(multipliers))
    return None if limit is None else dot(w, minus(minus(y, mlp.b_2), x)) + limit


def unmemorizable_pair(instance: Json, witness: Json) -> bool:
    layer = instance["layer"]
    mlp = Mlp(layer["mlp"])
    contexts, tokens, targets = [], [], []
    for query in instance["queries"]:
        columns, k = transposed(values(query["X"])), number(query["column"])
        if layer["E"] is not None:
            extra = transposed(values(layer["E"]))[-len(columns) :]
            columns = [[a + b for a, b in zip(u, v, strict=True)] for u, v in zip(columns, extra, strict=True)]
        contexts.append(columns[: k + 1] if layer["causal"] else columns)
        tokens.append(columns[k])
        targets.append(values(query["target"]))
    if witness["argument"] == "contradictory-data":
        return contexts[0] == contexts[1] and tokens[0] == tokens[1] and targets[0] != targets[1]
    if witness["argument"] == "out-of-range":
        return pieces(mlp, targets[0], witness["preimage"]) == []

    sides = [pieces(mlp, y, proof) for y, proof in zip(targets, witness["preimages"], strict=True)]
    if None in sides:
        return False
    heads = [{name: values(matrix) for name, matrix in head.items()} for head in layer["heads"]]
    V = [times(head["W_o"], head["W_v"]) for head in heads]
    for i, first in enumerate(sides[0]):
        for j, second in enumerate(sides[1]):
            step = witness["pairs"][i][j]
            w, chosen = values(step["w"]), number(step["head"])
            if any(any(apply(transposed(V[k]), w)) for k in range(len(V)) if k != chosen):
                return False
            h = heads[chosen]
            q = [
                apply(transposed(h["W_k"]), [a + b for a, b in zip(apply(h["W_q"], x), h["b_q"], strict=True)])
                for x in tokens
            ]
            if q[0] != q[1]:
                return False
            M_1 = upper(mlp, targets[0], tokens[0], first, w, step["multipliers"][0])
            minus_m_2 = upper(mlp, targets[1], tokens[1], second, [-a for a in w], step["multipliers"][1])
            if M_1 is None or minus_m_2 is None:
                return False
            m_2 = -minus_m_2
            S, B = [], []
            for context in contexts:
                S.append(combined(*((Fraction(1), {dot(q[0], z): Fraction(1)}) for z in context)))
                B.append(combined(*((dot(w, apply(V[chosen], z)), {dot(q[0], z): Fraction(1)}) for z in context)))
            if step["argument"] == "cone":
                signs = [sign(B[0]), -sign(B[1]), -sign({Fraction(0): M_1}), sign({Fraction(0): m_2})]
            else:
                one = Fraction(1)
                signs = [
                    sign({Fraction(0): m_2 - M_1}),
                    sign(combined((one, B[0]), (-one, B[1]), (-M_1, S[0]), (m_2, S[1]))),
                ]
            if min(signs) < 0 or max(signs) <= 0:
                return False
    return True


def mlp_injectivity(instance: Json, witness: Json, relation: str) -> bool:
    mlp = Mlp(instance["mlp"])
    if instance["y"] is not None and mlp(values(witness["z"])) != values(instance["y"]):
        return False
    if relation == "monotone":
        return mlp.monotone(witness["factor"])
    bounds = [values(bound) for bound in witness["bounds"]]
    for W, limit, factor in zip((mlp.W_1, mlp.W_2), bounds, witness["factors"], strict=True):
        d, r = len(mlp.b_2), len(mlp.b_1)
        height, width = (r, d) if W is mlp.W_1 else (d, r)
        G = times(transposed(W), W) if width <= height else times(W, transposed(W))
        if not positive_definite([[limit * (i == j) - G[i][j] for j in range(len(G))] for i in range(len(G))], factor):
            return False
    return bounds[0] * bounds[1] < 1


def product(a: Sum, b: Sum) -> Sum:
    return combined(*((c * d, {p + q: Fraction(1)}) for p, c in a.items() for q, d in b.items()))


def exp_sum(value: Json) -> Sum:
    pairs = zip(values(value["coefficients"]), values(value["exponents"]), strict=True)
    return combined(*((c, {q: Fraction(1)}) for c, q in pairs))


def fractions(value: Json) -> tuple[list[Sum], Sum]:
    return [exp_sum(entry) for entry in value["numerators"]], exp_sum(value["denominator"])


def logit_vector(head: dict[str, Any], x: Any) -> Any:
    return apply(transposed(head["W_k"]), [a + b for a, b in zip(apply(head["W_q"], x), head["b_q"], strict=True)])


def attention_split(instance: Json, witness: Json) -> bool:
    """Without the kernel's shortcut: the third identity multiplied out, 1 - f included."""
    x, X, P = values(instance["token"]), *(transposed(values(instance[name])) for name in "XP")
    one = Fraction(1)
    for head_json, fraction in zip(instance["heads"], witness["fractions"], strict=True):
        head = {name: values(entry) for name, entry in head_json.items()}
        V, q = times(head["W_o"], head["W_v"]), logit_vector(head, x)
        (num,), den = fractions(fraction)

        def mass(tokens: Any, q: Any = q) -> Sum:
            return combined(*((one, {dot(q, z): one}) for z in tokens))

        def output(tokens: Any, i: int, q: Any = q, V: Any = V) -> Sum:
            return combined(*((dot(V[i], z), {dot(q, z): one}) for z in tokens))

        rest = combined((one, den), (-one, num))
        if not sign(den) or sign(num) != sign(den) or sign(rest) != sign(den):
            return False
        S_X, S_P, S = mass(X), mass(P), mass(P + X)
        if sign(combined((one, product(num, combined((one, S_X), (one, S_P)))), (-one, product(den, S_X)))):
            return False
        for i in range(len(x)):
            left = product(product(den, output(P + X, i)), product(S_X, S_P))
            right = combined(
                (one, product(num, product(output(X, i), S_P))), (one, product(rest, product(output(P, i), S_X)))
            )
            if sign(combined((one, left), (-one, product(S, right)))):
                return False
    return True


def direction_lemma(instance: Json, witness: Json) -> bool:
    head = {name: values(entry) for name, entry in instance["head"].items()}
    V, x_0, rho, one = times(head["W_o"], head["W_v"]), values(instance["token"]), values(instance["rho"]), Fraction(1)
    q = logit_vector(head, x_0)
    (a, r), (n, p) = fractions(instance["output"]), fractions(witness["x_1"])
    if not sign(p) or not sign(r):
        return False
    if sign(combined((rho - dot(q, x_0), p), *zip(q, n, strict=True))):
        return False
    one_plus_kappa = combined((one, {Fraction(0): one}), (one, {rho: one}))
    for i, V_i in enumerate(V):
        left = combined(
            (one, product(combined(*zip(V_i, n, strict=True)), r)), (dot(V_i, x_0), product({rho: one}, product(p, r)))
        )
        if sign(combined((one, left), (-one, product(one_plus_kappa, product(a[i], p))))):
            return False
    return True


def holds(certificate: Json) -> bool:
    """Whether the witness proves the relation, for a well-formed certificate."""
    instance, witness = certificate["instance"], certificate["witness"]
    match certificate["claim"]:
        case "unmemorizable-pair":
            return unmemorizable_pair(instance, witness)
        case "mlp-injectivity":
            return mlp_injectivity(instance, witness, certificate["relation"])
        case "attention-split":
            return attention_split(instance, witness)
        case _:
            return direction_lemma(instance, witness)
