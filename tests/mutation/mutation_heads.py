"""The second evaluation of several-heads: memorizable, memorizable-shared, no prompt memorizes, stuck; and its pool.

By the written conditions (docs/certificate-format.md); or by meaning: whether all pairs peel by a linear program of its
own, duals and masses solved anew, combinations by their stationary points, the stuck inequality tried with prompts; of
the witness only where to look. Not covered: relation "prompt", whose conditions are about enclosures.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product as choices

import several_heads_cases
from flint import arb, ctx, fmpq, fmpq_mat
from mutation_numbers import (
    BITS,
    ONE,
    ZERO,
    Json,
    Sum,
    UnsureError,
    Vector,
    added,
    ball,
    image,
    inner,
    merged,
    plus,
    read,
    scaled,
    sign,
    turned,
    whole,
)
from mutation_prompts import Curve, Ends, Setting, definite, reduced
from mutation_truth import Head, Mlp

from constructions.numbers import linear
from constructions.single_layer.decide_heads import answer_heads, memorized
from constructions.single_layer.heads_criterion import refute_heads
from constructions.single_layer.peeling import Stuck, peel
from constructions.single_layer.several_heads import HeadPairs
from constructions.transformer import Attention, FeedForward, Layer, Transformer
from constructions.verdict import Undecided
from verify.certificate import Certificate, seal
from verify.claims import several_heads as claim
from verify.instances import random_matrix, random_mlp


class Pairs(Setting):
    """The instance, pair by pair."""

    def __init__(self, instance: Json) -> None:
        layer = instance["layer"]
        assert layer["E"] is None
        self.mlp = Mlp(layer["mlp"])
        self.d = self.mlp.d
        self.heads = [Head(value, self.d) for value in layer["heads"]]
        self.h = len(self.heads)
        self.tokens, self.contexts, self.targets = [], [], []
        if "tokens" in instance:
            self.tokens = turned(read(instance["tokens"]), len(read(instance["tokens"])[0]))
        for query in instance.get("queries", []):
            X, k = read(query["X"]), whole(query["column"])
            columns = turned(X, len(X[0]))
            self.tokens.append(columns[k])
            self.contexts.append(columns[: k + 1] if layer["causal"] else columns)
            self.targets.append(read(query["target"]))
        self.q = [head.logit_vector(x) for x in self.tokens for head in self.heads]
        self.groups = [
            [a for a, other in enumerate(self.q) if other == q] for i, q in enumerate(self.q) if q not in self.q[:i]
        ]
        length = instance.get("length")
        self.length = None if length is None else whole(length)

    def head(self, alpha: int) -> Head:
        return self.heads[alpha % self.h]

    def seen(self, alpha: int, y: Vector) -> Vector:
        """V^T y."""
        return image(turned(self.head(alpha).V, self.d), y)

    def away(self, alpha: int, o: Vector) -> list[Sum]:
        """C = B − S o."""
        context, V = self.contexts[alpha // self.h], self.head(alpha).V
        off = [added(image(V, z), o, -ONE) for z in context]
        scores = [inner(self.q[alpha], z) for z in context]
        return [merged([(e, row[c]) for e, row in zip(scores, off, strict=True)]) for c in range(self.d)]

    def outputs(self, witness: Json) -> list[Vector] | None:
        """What the heads give to the inputs, if that is what the points ask for."""
        points = [read(z) for z in witness["points"]]
        if not self.meets(points):
            return None
        found = [image(self.head(a).V, read(u)) for a, u in enumerate(witness["inputs"])]
        for i, (z, x) in enumerate(zip(points, self.tokens, strict=True)):
            total = [sum(column, ZERO) for column in zip(*found[i * self.h : (i + 1) * self.h], strict=True)]
            if total != added(z, x, -ONE):
                return None
        return found


# --- memorizable -----------------------------------------------------------------------------------------------------


def rational(x: Fraction) -> fmpq:
    return fmpq(x.numerator, x.denominator)


def peels(pairs: Pairs) -> bool:
    """Whether there are heights and directions at all: by one linear program, the directions in R^d with V k = 0."""
    N, d = len(pairs.q), pairs.d
    if len(pairs.groups) < N:
        return False
    width = N + N * d
    rows, equal = [], []
    for a in range(N):
        for row in pairs.head(a).V:
            equal.append([ZERO] * (N + a * d) + row + [ZERO] * ((N - 1 - a) * d))
        for b in range(N):
            if a != b:
                line = [ZERO] * width
                line[a] += 1
                line[b] -= 1
                line[N + a * d : N + (a + 1) * d] = added(pairs.q[b], pairs.q[a], -ONE)
                rows.append(line)
    if not rows:
        return True
    G, E = (fmpq_mat(len(M), width, [rational(x) for row in M for x in row]) for M in (rows, equal))
    answer = linear.feasible(G, [fmpq(-1)] * len(rows), E, [fmpq(0)] * len(equal))
    return not isinstance(answer, linear.Infeasible)


def peeled(pairs: Pairs, witness: Json, by_witness: bool) -> bool:
    if pairs.outputs(witness) is None:
        return False
    if not by_witness:
        return peels(pairs)
    heights, directions = read(witness["heights"]), read(witness["directions"])
    for a, k in enumerate(directions):
        if any(image(pairs.head(a).V, k)):
            return False
        for b, q in enumerate(pairs.q):
            if a != b and inner(added(q, pairs.q[a], -ONE), k) >= heights[b] - heights[a]:
                return False
    return True


def shared(pairs: Pairs, witness: Json, by_witness: bool) -> bool:
    o = pairs.outputs(witness)
    if o is None or any(len({a % pairs.h for a in group}) > 1 for group in pairs.groups):
        return False
    C = [pairs.away(a, v) for a, v in enumerate(o)]
    for group, place in zip(pairs.groups, witness["equations"], strict=True):
        gaps = [
            (o[group[0]][c] - o[a][c], plus(C[group[0]][c], C[a][c], -ONE)) for a in group[1:] for c in range(pairs.d)
        ]
        chosen = next(((delta, gamma) for delta, gamma in gaps if delta), None)
        if chosen is None:
            if any(gamma for _, gamma in gaps) or (by_witness and place is not None):
                return False
            continue
        mass = scaled(chosen[1], 1 / chosen[0])
        if sign(mass) <= 0 or any(scaled(mass, delta) != gamma for delta, gamma in gaps):
            return False
        if by_witness and not _names(place, group, o):
            return False
    vectors = [pairs.q[group[0]] for group in pairs.groups]
    for head, dual in zip(pairs.heads, witness["duals"], strict=True):
        for g, k in enumerate(read(dual)):
            wanted = [Fraction(int(g == other)) for other in range(len(vectors))]
            if by_witness and (any(image(head.V, k)) or image(vectors, k) != wanted):
                return False
            if not by_witness and reduced([*head.V, *vectors], [ZERO] * len(head.V) + wanted) is None:
                return False
    return True


def _names(place: Json, group: Sequence[int], o: Sequence[Vector]) -> bool:
    """Whether an equation of the witness is one of this group that fixes its mass."""
    if place is None:
        return False
    a, b, c = map(whole, place)
    return {a, b} <= set(group) and o[a][c] != o[b][c]


# --- no prompt -------------------------------------------------------------------------------------------------------


def refuted(pairs: Pairs, witness: Json, by_witness: bool) -> bool:
    log_N = ZERO
    if pairs.length is not None:
        low, log_N = map(read, witness["log_length"])
        number: Sum = {ZERO: Fraction(pairs.length)}
        if sign(plus({low: ONE}, number, -ONE)) > 0 or sign(plus({log_N: ONE}, number, -ONE)) < 0:
            return False
    points = pairs.points(witness["preimages"], by_witness)
    if points is None:
        return False
    for choice, argument in zip(choices(*points), witness["combinations"], strict=True):
        a = [added(z, x, -ONE) for z, x in zip(choice, pairs.tokens, strict=True)]
        if "query" in argument:
            w = read(argument["w"])
            if any(any(pairs.seen(j, w)) for j in range(pairs.h)) or inner(w, a[whole(argument["query"])]) == 0:
                return False
            continue
        stack: list[tuple[Json, list[Ends]]] = [(argument, [(None, None)] * len(pairs.groups))]
        while stack:
            node, box = stack.pop()
            if "group" not in node:
                if not negative(pairs, node, box, a, log_N, by_witness):
                    return False
                continue
            g, at = whole(node["group"]), read(node["at"])
            low, high = box[g]
            stack.append((node["below"], [*box[:g], (low, at if high is None else min(at, high)), *box[g + 1 :]]))
            stack.append((node["above"], [*box[:g], (at if low is None else max(at, low), high), *box[g + 1 :]]))
    return True


def negative(
    pairs: Pairs, leaf: Json, box: Sequence[Ends], a: Sequence[Vector], log_N: Fraction, by_witness: bool
) -> bool:
    """Whether the combination is below zero on the box, the means cancelled: by the rule, or by suprema."""
    G = len(pairs.groups)
    q = [pairs.q[group[0]] for group in pairs.groups]
    entropy, divergence, y = read(leaf["entropy"]), read(leaf["divergence"]), read(leaf["values"])
    length = [ZERO] * G if leaf["length"] is None else read(leaf["length"])
    if any(x < 0 for x in (*entropy, *length, *(x for row in divergence for x in row))):
        return False
    if any(divergence[g][g] for g in range(G)):
        return False
    for alpha, row in enumerate(y):
        if any(any(pairs.seen(k, row)) for k in range(pairs.h) if k != alpha % pairs.h):
            return False
    curves = []
    for g, group in enumerate(pairs.groups):
        mean = [(length[g] - entropy[g]) * x for x in q[g]]
        for k in range(G):
            mean = added(mean, added(q[g], q[k], -ONE), divergence[g][k])
        constant, gamma = length[g] * log_N, {}
        for alpha in group:
            wanted = a[alpha // pairs.h]
            mean = added(mean, pairs.seen(alpha, y[alpha]), -ONE)
            constant += inner(y[alpha], wanted)
            for x, c in zip(y[alpha], pairs.away(alpha, wanted), strict=True):
                gamma = plus(gamma, c, -x)
        if any(mean):
            return False
        slope = entropy[g] - length[g] - sum(divergence[g]) + sum(row[g] for row in divergence)
        curves.append(Curve(slope, constant, gamma))
    if by_witness:
        return _by_the_rule(curves, leaf["tangents"], box)
    return _by_suprema(curves, box)


def _by_the_rule(curves: Sequence[Curve], tangents: Sequence[Json], box: Sequence[Ends]) -> bool:
    total: Sum = {}
    attained = True
    for each, ends, c in zip(curves, box, tangents, strict=True):
        bound = each.upper(ends, None if c is None else read(c))
        if bound is None:
            return False
        total = plus(total, bound)
        attained = attained and not (sign(each.gamma) < 0 and c is None and ends[1] is None)
    return sign(total) < (0 if attained else 1)


def _by_suprema(curves: Sequence[Curve], box: Sequence[Ends]) -> bool:
    """The sum of suprema is negative; or zero, and one of them, where only e^{−σ} is left, is not attained."""
    if any(low is not None and high is not None and low > high for low, high in box):
        return True
    with ctx.workprec(BITS):
        tops = [each.supremum(ends) for each, ends in zip(curves, box, strict=True)]
        if None in tops:
            return False
        total = sum(tops, arb(0))  # type: ignore[arg-type]
        limits = [x.A == 0 and sign(x.gamma) < 0 and ends[1] is None for x, ends in zip(curves, box, strict=True)]
        if any(limits) and total.contains(0) and float(total.rad()) < 1e-100:
            return True
        return definite(total) < 0


# --- stuck -----------------------------------------------------------------------------------------------------------


def stuck(pairs: Pairs, document: Json, by_witness: bool) -> bool:
    eta = read(document["instance"]["values"])
    rows = [pairs.seen(a, row) for a, row in enumerate(eta)]
    if not any(map(any, rows)):
        return False
    if not by_witness:
        return not any(_exceeds(pairs, eta, seed) for seed in range(6))
    flow = read(document["witness"]["flow"])
    N = len(pairs.q)
    if any(x < 0 for row in flow for x in row) or any(flow[a][a] for a in range(N)):
        return False
    if [sum(row) for row in flow] != [sum(column) for column in turned(flow, N)]:
        return False
    for a, row in enumerate(rows):
        drift = [ZERO] * pairs.d
        for b in range(N):
            drift = added(drift, added(pairs.q[b], pairs.q[a], -ONE), flow[a][b])
        if drift != row:
            return False
    return True


def _exceeds(pairs: Pairs, eta: Sequence[Vector], seed: int) -> bool:
    """Whether a random prompt has Σ η·v > 0; its scale is that of the logit vectors, or far larger."""
    rng = random.Random(f"stuck/{seed}")
    size = max((abs(x) for q in pairs.q for x in q), default=ONE) or ONE
    tokens = [[Fraction(rng.randint(-8, 8) * 4 ** (seed % 3), 2) / size for _ in range(pairs.d)] for _ in range(4)]
    with ctx.workprec(BITS):
        total = arb(0)
        for a, row in enumerate(eta):
            scores = [inner(pairs.q[a], z) for z in tokens]
            weights = [ball(x - max(scores)).exp() for x in scores]
            seen = pairs.seen(a, row)
            values = [ball(inner(seen, z)) for z in tokens]
            total += sum((w * x for w, x in zip(weights, values, strict=True)), arb(0)) / sum(weights, arb(0))
        return bool(total > 0)


def heads(document: Json, by_witness: bool) -> bool:
    pairs, witness = Pairs(document["instance"]), document["witness"]
    relation = document["relation"]
    if relation == "stuck":
        return stuck(pairs, document, by_witness)
    if relation == "memorizable":
        return peeled(pairs, witness, by_witness)
    if relation == "memorizable-shared":
        return shared(pairs, witness, by_witness)
    if relation == "no-prompt-memorizes":
        return refuted(pairs, witness, by_witness)
    raise UnsureError(relation)


CLAIMS = {claim.SLUG: heads}


# --- the pool --------------------------------------------------------------------------------------------------------

BY_HAND = ("bent", "lone", "mass", "two heads shared", "crossed", "crossed, zero", "crossed, cut", "repeated token",
           "masked", "mixed group", "two preimages", "out of reach", "bounded", "stuck", "stuck, line")  # fmt: skip


def certificates(rng: random.Random) -> Iterator[Certificate]:
    """Small certificates of decisions: peeled, refuted with and without a length, out of reach, stuck."""
    found: Counter[str] = Counter()
    for k in range(36):
        d, h = 2 + k % 2, 1 + k % 3 % 2
        layer = claim.random_layer(rng, d, 1, h).layers[0]
        mlp = random_mlp(rng, d, 1, contractive=True) if k % 4 == 3 else FeedForward.none(d)
        model = Transformer((Layer(Attention(layer.attention.heads, causal=k % 5 == 4), mlp),))
        data = claim.random_data(rng, model, 1 + k % 2, shared=k % 6 == 5)
        if k % 3 and not mlp.hidden:
            data = claim.in_range(model, data)
        try:
            pairs = claim.several_heads(model, data)
            length = 1 + k % 4 if k % 2 else None
            if memorized(pairs) is not None and length is None:
                made = claim.certificates(model, answer_heads(pairs))[0][1]
            else:
                made = claim.refuted_certificate(model, refute_heads(pairs, length, max_nodes=6))
        except Undecided:
            continue
        kind = f"{made.relation} {h} {made.instance['length'] is None} {'query' in str(made.witness)}"
        if found[kind] < 2 and len(made.text()) < 9000:
            found[kind] += 1
            yield made
    model, data = claim.stuck_data()
    pairs = claim.several_heads(model, data)
    yield claim.refuted_certificate(model, refute_heads(pairs, 2))
    model, data = claim.shared_but_memorizable()
    pairs = claim.several_heads(model, data)
    yield claim.certificates(model, answer_heads(pairs))[0][1]
    for _ in range(40):
        layer = claim.random_layer(rng, 2, 1, 2).layers[0]
        tokens = random_matrix(rng, 2, 2)
        vectors = HeadPairs.of(layer.attention.heads, tokens)
        flow = peel(vectors) if vectors.distinct else None
        if isinstance(flow, Stuck) and found["stuck"] < 3:
            found["stuck"] += 1
            yield claim.stuck_certificate(layer, tokens, flow)


def pool(seed: int) -> list[Json]:
    """Valid certificates of several-heads, as JSON objects."""
    rng = random.Random(f"pool of several heads/{seed}")
    return [certificate.document() for certificate in certificates(rng)] + [
        seal(several_heads_cases.true(name)) for name in BY_HAND
    ]
