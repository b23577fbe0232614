"""Pairs of a query and a head: what each head is to give to each query, for a layer with any number of heads.

Pair i h + j is query i at head j, h the number of heads. Query i is met by its preimage z_i exactly when its heads give
outputs with the sum z_i - x_i; all outputs of head j are in the range of V_j.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from attention import Head, Layer, Query
from limits import DEADLINE, demand
from prompt_setting import Setting
from query_groups import Groups, grouped
from rational import Vector, read_vector
from reading import Field


def logit_vectors(layer: Layer, tokens: Iterable[Vector]) -> tuple[Vector, ...]:
    """The logit vector of each pair of a token and a head."""
    return tuple(head.logit_vector(token) for token in tokens for head in layer.heads)


@dataclass(frozen=True)
class Pairs:
    """All pairs of an instance."""

    setting: Setting

    def __len__(self) -> int:
        return len(self.setting.queries) * len(self.setting.layer.heads)

    def head_of(self, alpha: int) -> Head:
        """The head of a pair."""
        heads = self.setting.layer.heads
        return heads[alpha % len(heads)]

    def query_of(self, alpha: int) -> Query:
        """The query of a pair."""
        return self.setting.queries[alpha // len(self.setting.layer.heads)]

    @cached_property
    def vectors(self) -> tuple[Vector, ...]:
        """The logit vector of each pair."""
        return logit_vectors(self.setting.layer, (query.token for query in self.setting.queries))

    @cached_property
    def groups(self) -> Groups:
        """The pairs with equal logit vectors: every prompt has one mass and one mean at these."""
        return grouped(self.vectors)

    def demand_outputs(self, points: tuple[Vector, ...], inputs: tuple[Vector, ...]) -> tuple[Vector, ...]:
        """V_j u for the input u of each pair, which for each query add up to z - x, MLP(z) its target."""
        self.setting.demand_targets(points)
        outputs = tuple(self.head_of(alpha).value(u) for alpha, u in enumerate(inputs))
        heads = len(self.setting.layer.heads)
        for i, (query, z) in enumerate(zip(self.setting.queries, points, strict=True)):
            DEADLINE.check()
            rest = z - query.token
            for output in outputs[i * heads : (i + 1) * heads]:
                rest -= output
            demand(rest.is_zero(), f"query {i}: the outputs of its heads do not add up to z - x")
        return outputs

    def read_points(self, field: Field) -> tuple[Vector, ...]:
        """A preimage point for each query."""
        return tuple(read_vector(point, self.d) for point in field.items(len(self.setting.queries)))

    def read_inputs(self, field: Field) -> tuple[Vector, ...]:
        """An input for each pair."""
        return tuple(read_vector(entry, self.d) for entry in field.items(len(self)))

    @property
    def d(self) -> int:
        """Length of tokens."""
        return self.setting.layer.mlp.d
