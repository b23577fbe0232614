"""Claim `low-rank-memorization`: what updates of the MLP do to a layer, without any prompt.

The feature of a query is f = x + the sum over heads of the attention outputs: what the MLP is applied to. Signs of
affine functions of features, and equalities between them, are decided as those of exponential sums: everything is
multiplied by the denominator T of f, a product of masses, T > 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

from attention import Layer, Query, average
from curve import NOTHING
from fractions_of_sums import Fractions, constant, total
from limits import DEADLINE, demand
from preimage import Mlp
from prompt_law import Statement
from prompt_setting import describe_layer, read_queries, refuse_embedding
from rational import Matrix, Vector, read_matrix, read_vector
from reading import Envelope, Field
from vectors import entry, rank


@dataclass(frozen=True)
class Asked:
    """The instance: a layer and at least one query."""

    layer: Layer
    queries: tuple[Query, ...]

    def feature(self, k: int) -> Fractions:
        """x + the sum of what the heads give to query k."""
        DEADLINE.check()
        query = self.queries[k]
        return total([constant(query.token), *(average(h, query.token, query.context) for h in self.layer.heads)])

    def describe(self) -> str:
        """The instance, in words."""
        return f"{describe_layer(self.layer)}, hidden units: {self.layer.mlp.units}, queries: {len(self.queries)}"


def changed(new: Matrix, old: Matrix) -> list[tuple[int, ...]]:
    """The rows of the difference that are not zero, each up to a factor."""
    rows = (new.row(i) - old.row(i) for i in range(len(old.rows)))
    return [row.num for row in rows if not row.is_zero()]


@dataclass(frozen=True)
class Triangular:
    """W_1', b_1' and neurons l_1 ... l_n; the queries in the order i_1 ... i_n."""

    asked: Asked
    W_1: Matrix
    b_1: Vector
    neurons: tuple[int, ...]
    order: tuple[int, ...]

    def check(self) -> str:
        """ReLU values of the neurons (columns) at the queries (rows): zero above the diagonal, positive on it.

        So this matrix is regular, and for any outputs some entries of W_2' in the columns of these neurons give them.
        """
        for s, query in enumerate(self.order):
            feature = self.asked.feature(query)
            for t, neuron in enumerate(self.neurons[s:]):
                DEADLINE.check()
                sign = feature.along(self.W_1.row(neuron), entry(self.b_1, neuron)).sign()
                name = f"neuron {neuron} at query {query}"
                if t == 0:
                    demand(sign > 0, f"{name}, on the diagonal: not active")
                else:
                    demand(sign <= 0, f"{name}, above the diagonal: active")
        mlp = self.asked.layer.mlp
        rows, biases = changed(self.W_1, mlp.W_1), sum(n != 0 for n in (self.b_1 - mlp.b_1).num)
        return (
            f"with the stated W_1 (rows changed: {len(rows)}, change of rank {rank(rows)}) and b_1 (entries changed: "
            f"{biases}), some W_2 that differs in at most {len(self.neurons)} columns makes the layer meet every query "
            f"without a prompt ({self.asked.describe()})"
        )


@dataclass(frozen=True)
class Updated:
    """Other weights in place of those of the MLP."""

    asked: Asked
    mlp: Mlp

    def check(self) -> str:
        """f + W_2' ReLU(W_1' f + b_1') + b_2' is the target of each query."""
        new, old = self.mlp, self.asked.layer.mlp
        for k, query in enumerate(self.asked.queries):
            feature = self.asked.feature(k)
            hidden = []
            for l in range(new.units):
                DEADLINE.check()
                value = feature.along(new.W_1.row(l), entry(new.b_1, l))
                hidden.append(value if value.sign() > 0 else NOTHING)
            after = Fractions(tuple(hidden), feature.denominator)
            rest = new.b_2 - query.target
            for c, numerator in enumerate(feature.numerators):
                error = numerator + after.along(new.W_2.row(c), entry(rest, c))
                demand(error.is_zero(), f"query {k}: the output is not the target in coordinate {c}")
        first, second = (rank(changed(*pair)) for pair in ((new.W_1, old.W_1), (new.W_2, old.W_2)))
        return (
            f"with the stated weights of the MLP (change of W_1 of rank {first}, of W_2 of rank {second}) the layer "
            f"meets every query without a prompt ({self.asked.describe()})"
        )


@dataclass(frozen=True)
class Impossible:
    """Two queries."""

    asked: Asked
    i: int
    k: int

    def check(self) -> str:
        """They have one feature and two targets."""
        first, second = self.asked.feature(self.i), self.asked.feature(self.k)
        for c, (a, b) in enumerate(zip(first.numerators, second.numerators, strict=True)):
            DEADLINE.check()
            same = (a * second.denominator).equals(b * first.denominator)
            demand(same, f"queries {self.i} and {self.k} have different features, in coordinate {c}")
        targets = self.asked.queries[self.i].target - self.asked.queries[self.k].target
        demand(not targets.is_zero(), f"queries {self.i} and {self.k} have the same target")
        return (
            f"whatever the weights of the MLP, without a prompt the layer does not meet both query {self.i} and query "
            f"{self.k}: the MLP has the same input at both ({self.asked.describe()})"
        )


def _read_triangular(asked: Asked, witness: Field) -> Triangular:
    W_1, b_1, neurons, order = witness.record("W_1", "b_1", "neurons", "order")
    units, d, n = asked.layer.mlp.units, asked.layer.mlp.d, len(asked.queries)
    return Triangular(
        asked,
        read_matrix(W_1, units, d),
        read_vector(b_1, units),
        _read_different(neurons, n, units),
        _read_different(order, n, n),
    )


def _read_different(field: Field, length: int, count: int) -> tuple[int, ...]:
    numbers = tuple(entry.index(count) for entry in field.items(length))
    if len(set(numbers)) < length:
        field.fail("different numbers", "one of them twice")
    return numbers


def _read_updated(asked: Asked, witness: Field) -> Updated:
    W_1, b_1, W_2, b_2 = witness.record("W_1", "b_1", "W_2", "b_2")
    r, d = asked.layer.mlp.units, asked.layer.mlp.d
    mlp = Mlp(read_matrix(W_1, r, d), read_vector(b_1, r), read_matrix(W_2, d, r), read_vector(b_2, d))
    return Updated(asked, mlp)


def _read_impossible(asked: Asked, witness: Field) -> Impossible:
    (pair,) = witness.record("queries")
    i, k = (field.index(len(asked.queries)) for field in pair.items(2))
    return Impossible(asked, i, k)


READERS: dict[str, Callable[[Asked, Field], Statement]] = {
    "impossible": _read_impossible,
    "triangular-update": _read_triangular,
    "updated": _read_updated,
}


def read(envelope: Envelope) -> Statement:
    """The statement of a certificate and its witness, read but not checked."""
    relation = envelope.relation.choice(*READERS)
    envelope.evidence.choice("exact")
    layer_field, queries_field = envelope.instance.record("layer", "queries")
    layer, queries = read_queries(layer_field, queries_field)
    refuse_embedding(layer, envelope.instance)
    return READERS[relation](Asked(layer, queries), envelope.witness)
