"""Claim `unmemorizable-pair`: no prompt makes a layer meet one query, or two queries at once.

Three arguments: the queries contradict each other, a target is outside the range of the MLP, or a vector w
separates what the two queries ask of one head (condition by condition in `Separation.demand_all`).
"""

from dataclasses import dataclass

from attention import Layer, Query, attention_mass, read_layer_and_queries
from expsum import exp_sum
from limits import demand
from preimage import Point, Preimage, read_preimage
from rational import Vector, read_vector
from reading import Envelope, Field


@dataclass(frozen=True)
class ContradictoryData:
    """Two queries with equal contexts, equal tokens and different targets."""

    layer: Layer
    queries: tuple[Query, ...]

    def check(self) -> str:
        """Before and behind any prompt the layer computes the same for both."""
        first, second = self.queries
        demand(first.context.equals(second.context), "the contexts of the two queries differ")
        demand((first.token - second.token).is_zero(), "the tokens of the two queries differ")
        demand(not (first.target - second.target).is_zero(), "the targets of the two queries are equal")
        return _sentence(self.layer, "both queries, which have one context and two targets")


@dataclass(frozen=True)
class OutOfRange:
    """One query whose target is no output of the MLP."""

    layer: Layer
    preimage: Preimage

    def check(self) -> str:
        """Every leaf of the tree is empty."""
        demand(not self.preimage.proof.pieces, "the preimage proof has a piece")
        self.preimage.demand_covered("preimage")
        return _sentence(self.layer, "the query, whose target is not in the range of the MLP")


@dataclass(frozen=True)
class Separation:
    """A vector w for one head, one piece of the first preimage and one of the second."""

    argument: str
    head: int
    w: Vector
    multipliers: tuple[Vector | None, Vector | None]

    def demand_all(
        self,
        layer: Layer,
        queries: tuple[Query, ...],
        preimages: tuple[Preimage, ...],
        pieces: tuple[int, int],
        where: str,
    ) -> None:
        """The four conditions, by which no prompt meets both queries with z in these two pieces.

        A prompt with tokens p adds s = sum e^{q.p} > 0 to the mass and U = sum e^{q.p} V p to the output of
        this head, the same for both queries by condition 1. Conditions 2 and 3 turn MLP(Att + x_k) = y_k into
            w.B_1 + w.U <= (S_1 + s) M_1   and   w.B_2 + w.U >= (S_2 + s) m_2.
        Cone: then w.U <= 0 <= w.U, one of the two strictly. Closeness: subtract, then the sum
        (w.B_1 - w.B_2 - S_1 M_1 + S_2 m_2) + s (m_2 - M_1) of numbers >= 0 is at most 0, yet one is positive.
        """
        head, w = layer.heads[self.head], self.w
        q, q_2 = (head.logit_vector(query.token) for query in queries)
        demand((q - q_2).is_zero(), f"{where}: the logit vectors of the two queries differ")
        for j, other in enumerate(layer.heads):
            demand(j == self.head or other.value_row(w).is_zero(), f"{where}: w does not vanish on head {j}")

        x_1, x_2 = (query.token for query in queries)
        M_1 = preimages[0].upper_bound(pieces[0], w, x_1, self.multipliers[0], f"{where}, first query")
        m_2 = -preimages[1].upper_bound(pieces[1], -w, x_2, self.multipliers[1], f"{where}, second query")
        g = head.value_row(w)
        scores = [query.context @ q for query in queries]
        B_1, B_2 = (exp_sum(query.context @ g, score) for query, score in zip(queries, scores, strict=True))

        if self.argument == "cone":
            signs = {
                "w.B_1 >= 0": B_1.sign(),
                "0 >= M_1": -M_1.sign(),
                "w.B_2 <= 0": -B_2.sign(),
                "0 <= m_2": m_2.sign(),
            }
        else:
            S_1, S_2 = map(attention_mass, scores)
            total = B_1 - B_2 - S_1.scaled(M_1) + S_2.scaled(m_2)
            signs = {"M_1 <= m_2": (m_2 - M_1).sign(), "w.B_1 - w.B_2 - S_1 M_1 + S_2 m_2 >= 0": total.sign()}
        for inequality, sign in signs.items():
            demand(sign >= 0, f"{where}: {inequality} fails")
        demand(any(sign > 0 for sign in signs.values()), f"{where}: no inequality is strict")


@dataclass(frozen=True)
class SeparatedPair:
    """A separation for each piece of the first preimage with each of the second."""

    layer: Layer
    queries: tuple[Query, ...]
    preimages: tuple[Preimage, ...]
    pairs: tuple[tuple[Separation, ...], ...]

    def check(self) -> str:
        """The pieces cover the preimages, and no pair of pieces can be met."""
        for k, preimage in enumerate(self.preimages):
            preimage.demand_covered(f"preimages[{k}]")
        counts = [len(preimage.proof.pieces) for preimage in self.preimages]
        for i in range(counts[0]):
            for j in range(counts[1]):
                separation, where = self.pairs[i][j], f"pairs[{i}][{j}]"
                separation.demand_all(self.layer, self.queries, self.preimages, (i, j), where)
        arguments = {separation.argument for row in self.pairs for separation in row} or {"empty preimage"}
        return _sentence(
            self.layer,
            f"both queries ({' and '.join(sorted(arguments))}, {counts[0]} x {counts[1]} pieces of preimages)",
        )


def _sentence(layer: Layer, queries: str) -> str:
    length = "any length >= 1" if layer.prompt_length is None else f"length {layer.prompt_length}"
    return (
        f"no prompt of {length} makes this layer (d = {layer.mlp.d}, heads: {len(layer.heads)}, "
        f"hidden units: {layer.mlp.units}) meet {queries}"
    )


def _read_multipliers(field: Field, preimage: Preimage) -> Vector | None:
    if not isinstance(preimage.proof, Point):
        return read_vector(field, preimage.mlp.units)
    if not field.is_null():
        field.fail("null, since the preimage is a point")
    return None


def _read_separation(field: Field, layer: Layer, preimages: tuple[Preimage, ...]) -> Separation:
    argument, head, w, both = field.record("argument", "head", "w", "multipliers")
    first, second = map(_read_multipliers, both.items(2), preimages)
    return Separation(
        argument.choice("cone", "closeness"), head.index(len(layer.heads)), read_vector(w, layer.mlp.d), (first, second)
    )


def read(envelope: Envelope) -> ContradictoryData | OutOfRange | SeparatedPair:
    """The statement of a certificate and its witness, read but not checked."""
    envelope.relation.choice("no-prompt-memorizes")
    envelope.evidence.choice("exact")
    layer_field, queries_field = envelope.instance.record("layer", "queries")
    layer, queries = read_layer_and_queries(layer_field, queries_field)
    witness = envelope.witness
    if witness.has("preimage"):
        argument, proof = witness.record("argument", "preimage")
        argument.choice("out-of-range")
        queries_field.items(1)
        return OutOfRange(layer, read_preimage(proof, layer.mlp, queries[0].target))
    queries_field.items(2)
    if not witness.has("preimages"):
        (argument,) = witness.record("argument")
        argument.choice("contradictory-data")
        return ContradictoryData(layer, queries)
    argument, proofs, rows = witness.record("argument", "preimages", "pairs")
    argument.choice("separation")
    preimages = tuple(
        read_preimage(proof, layer.mlp, query.target) for proof, query in zip(proofs.items(2), queries, strict=True)
    )
    first, second = (len(preimage.proof.pieces) for preimage in preimages)
    pairs = tuple(
        tuple(_read_separation(entry, layer, preimages) for entry in row.items(second)) for row in rows.items(first)
    )
    return SeparatedPair(layer, queries, preimages, pairs)
