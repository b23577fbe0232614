"""A second reading of the claims prompt-length-bound and low-rank-memorization: dense matrices of fractions, sums as
dictionaries, bounds on boxes by all their corners, signs by balls."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import product
from typing import Any

from kernel_oracle import (
    Mlp,
    Sum,
    UnsureError,
    apply,
    combined,
    dot,
    logit_vector,
    minus,
    number,
    sign,
    times,
    transposed,
    values,
)
from several_queries_oracle import finite

Json = Any
ONE = Fraction(1)
UNIT: Sum = {Fraction(0): ONE}


def multiplied(factors: Iterable[Sum]) -> Sum:
    total = UNIT
    for factor in factors:
        total = combined(*((c, {p + q: x for q, x in factor.items()}) for p, c in total.items()))
    return total


def constant(x: Fraction) -> Sum:
    return {Fraction(0): x}


class Data:
    """Layer, what each query or input sees, and the prompt if there is one (tokens are rows)."""

    def __init__(self, instance: Json) -> None:
        layer = instance["layer"]
        self.heads = [{name: values(entry) for name, entry in head.items()} for head in layer["heads"]]
        self.sizes = [len(head["b_q"]) for head in self.heads]
        self.mlp = Mlp(layer["mlp"])
        self.d = len(self.mlp.b_2)
        nothing = {name: [[Fraction(0)] * self.d] for name in ("W_q", "W_k", "W_v")}
        nothing |= {"W_o": [[Fraction(0)]] * self.d, "b_q": [Fraction(0)]}
        self.heads = [head if s else nothing for head, s in zip(self.heads, self.sizes, strict=True)]
        self.V = [times(head["W_o"], head["W_v"]) for head in self.heads]
        self.contexts, self.tokens, self.targets = [], [], []
        for one in instance.get("queries", instance.get("inputs")):
            columns, k = transposed(values(one["X"])), number(one["column"])
            self.contexts.append(columns[: k + 1] if layer["causal"] else columns)
            self.tokens.append(columns[k])
            self.targets.append(values(one["target"]) if "target" in one else None)
        self.prompt = transposed(values(instance["prompt"])) if "prompt" in instance else []

    def fractions(self, k: int, prompt: Any) -> list[tuple[list[Sum], Sum]]:
        """For each head B (by coordinates) and S, over prompt and context."""
        found = []
        for head, V in zip(self.heads, self.V, strict=True):
            q = logit_vector(head, self.tokens[k])
            weights = [(dot(q, z), apply(V, z)) for z in [*prompt, *self.contexts[k]]]
            B = [combined(*((v[c], {e: ONE}) for e, v in weights)) for c in range(self.d)]
            found.append((B, combined(*((ONE, {e: ONE}) for e, _ in weights))))
        return found

    def output(self, k: int, prompt: Any) -> tuple[list[Sum], Sum]:
        """The sum over the heads, on one denominator."""
        parts = self.fractions(k, prompt)
        masses = [S for _, S in parts]
        others = [multiplied(S for i, S in enumerate(masses) if i != j) for j in range(len(parts))]
        total = [
            combined(*((ONE, multiplied([B[c], rest])) for (B, _), rest in zip(parts, others, strict=True)))
            for c in range(self.d)
        ]
        return total, multiplied(masses)

    def feature(self, k: int) -> tuple[list[Sum], Sum]:
        B, S = self.output(k, [])
        return [combined((ONE, b), (x, S)) for b, x in zip(B, self.tokens[k], strict=True)], S


Vectors = tuple[list[Sum], list[list[Sum]]]  # T a, and T A_j for each head


def vectors(data: Data, k: int, a: tuple[list[Sum], Sum]) -> Vectors:
    parts, (numerators, t) = data.fractions(k, []), a
    masses = [S for _, S in parts]
    asked = [multiplied([x, *masses]) for x in numerators]
    rest = [multiplied([t, *(S for i, S in enumerate(masses) if i != j)]) for j in range(len(parts))]
    return asked, [[multiplied([b, other]) for b in B] for (B, _), other in zip(parts, rest, strict=True)]


def at(vector: Vectors, row: Any, weights: Any) -> Sum:
    """row.(T a - sum of weight T A_j)."""
    asked, contexts = vector
    terms = list(zip(row, asked, strict=True))
    for weight, context in zip(weights, contexts, strict=True):
        terms += [(-weight * r, x) for r, x in zip(row, context, strict=True)]
    return combined(*terms)


def below(x: Sum, y: Sum) -> bool:
    return sign(combined((ONE, x), (-ONE, y))) < 0


def leaf(all_vectors: list[Vectors], box: Any, rows: Any, weights: Any) -> bool:
    """All corners of the sides of each query."""
    if any(w <= 0 for w in weights):
        return False
    h = len(all_vectors[0][1])
    for i, row in enumerate(rows):
        rest: Sum = {}
        for k, vector in enumerate(all_vectors):
            corners = list(product(*box[k * h : (k + 1) * h]))
            found = [at(vector, row, corner) for corner in corners]
            if k != i:
                sizes = [x if sign(x) >= 0 else combined((-ONE, x)) for x in found]
                most = sizes[0]
                for size in sizes[1:]:
                    most = size if below(most, size) else most
                rest = combined((ONE, rest), (weights[k], most))
                continue
            least = found[0]
            for x in found[1:]:
                least = x if below(x, least) else least
            lowest = [c for c, x in zip(corners, found, strict=True) if not sign(combined((ONE, x), (-ONE, least)))]
            varies = len(lowest) < len(corners) or not all(low == high for low, high in box[k * h : (k + 1) * h])
            varies = varies and any(below(least, x) for x in found)
            # every corner with the least value is outside of the open cube by a side that matters
            slopes = [at(vector, row, [ONE * (j == t) for t in range(h)]) for j in range(h)]
            origin = at(vector, row, [Fraction(0)] * h)
            matters = [sign(combined((ONE, s), (-ONE, origin))) != 0 for s in slopes]
            outside = all(any(m and x in (0, 1) for m, x in zip(matters, corner, strict=True)) for corner in lowest)
        if not below(rest, combined((weights[i], least))) and (sign(rest) or sign(least) or not varies or not outside):
            return False
    return True


def tree(all_vectors: list[Vectors], root: Json) -> bool:
    h, n = len(all_vectors[0][1]), len(all_vectors)
    stack: list[Any] = [(root, [(Fraction(0), ONE)] * (n * h))]
    while stack:
        node, box = stack.pop()
        if "pair" in node:
            g, cut = number(node["pair"]), values(node["at"])
            low, high = box[g]
            for side, part in (("above", (max(cut, low), high)), ("below", (low, min(cut, high)))):
                if part[0] <= part[1]:
                    stack.append((node[side], [*box[:g], part, *box[g + 1 :]]))
        elif not leaf(all_vectors, box, values(node["rows"]), values(node["weights"])):
            return False
    return True


def too_few(data: Data, length: Json, count: int) -> bool:
    N = float("inf") if length is None else number(length)
    return sum(min(N, s, data.d) for s in data.sizes) < count


def too_short(data: Data, instance: Json, witness: Json) -> bool:
    used = list(map(number, witness["queries"]))
    points = [finite(data.mlp, data.targets[k], proof) for k, proof in zip(used, witness["preimages"], strict=True)]
    if None in points or not too_few(data, instance["length"], len(used)):
        return False
    for choice, root in zip(product(*points), witness["combinations"], strict=True):
        asked = [[constant(x) for x in minus(z, data.tokens[k])] for k, z in zip(used, choice, strict=True)]
        if not tree([vectors(data, k, (a, UNIT)) for k, a in zip(used, asked, strict=True)], root):
            return False
    return True


def prompted(data: Data, witness: Json) -> bool:
    count = range(len(data.tokens))
    return tree([vectors(data, k, data.output(k, data.prompt)) for k in count], witness["tree"])


def stated(data: Data, witness: Json) -> bool:
    for k, z in enumerate(map(values, witness["points"])):
        B, S = data.output(k, data.prompt)
        a = minus(z, data.tokens[k])
        if data.mlp(z) != data.targets[k] or any(sign(combined((ONE, b), (-x, S))) for b, x in zip(B, a, strict=True)):
            return False
    return True


def activation(feature: tuple[list[Sum], Sum], row: Any, bias: Fraction) -> Sum:
    return combined((bias, feature[1]), *zip(row, feature[0], strict=True))


def triangular(data: Data, witness: Json) -> bool:
    W, b = values(witness["W_1"]), values(witness["b_1"])
    neurons, order = (list(map(number, witness[name])) for name in ("neurons", "order"))
    for s, k in enumerate(order):
        for t, l in enumerate(neurons):
            x = sign(activation(data.feature(k), W[l], b[l]))
            if (t == s and x <= 0) or (t > s and x > 0):
                return False
    return True


def updated(data: Data, witness: Json) -> bool:
    W_1, b_1, W_2, b_2 = (values(witness[name]) for name in ("W_1", "b_1", "W_2", "b_2"))
    for k, y in enumerate(data.targets):
        feature = data.feature(k)
        hidden = [activation(feature, row, b) for row, b in zip(W_1, b_1, strict=True)]
        hidden = [x if sign(x) > 0 else {} for x in hidden]
        for f, row, b, t in zip(feature[0], W_2, b_2, y, strict=True):
            if sign(combined((ONE, f), (b - t, feature[1]), *zip(row, hidden, strict=True))):
                return False
    return True


def impossible(data: Data, witness: Json) -> bool:
    i, k = map(number, witness["queries"])
    (F, S), (G, T) = data.feature(i), data.feature(k)
    same = not any(
        sign(combined((ONE, multiplied([f, T])), (-ONE, multiplied([g, S])))) for f, g in zip(F, G, strict=True)
    )
    return same and data.targets[i] != data.targets[k]


def holds(certificate: Json) -> bool:
    instance, witness, relation = (certificate[name] for name in ("instance", "witness", "relation"))
    data = Data(instance)
    if relation == "too-short":
        return too_short(data, instance, witness)
    if relation == "tight":
        injective = data.mlp.monotone(witness["factor"])
        return injective and too_few(data, instance["length"], len(data.tokens)) and prompted(data, witness)
    if relation == "independent":
        return len(data.prompt) < len(data.tokens) and prompted(data, witness)
    others = {"prompt": stated, "triangular-update": triangular, "updated": updated, "impossible": impossible}
    return others[relation](data, witness)


__all__ = ["Data", "UnsureError", "holds"]
