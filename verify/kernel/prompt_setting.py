"""One head, queries with one logit vector q, and prompts of at most N tokens: what a prompt can do to them.

A prompt with tokens p acts through its mass s = sum e^{q.p} and its output u = V (sum e^{q.p} p) / s alone:
attention of query k is (B_k + s u) / (S_k + s), and is a_k = z_k - x_k exactly when s (u - a_k) = -C_k, where
C_k = B_k - S_k a_k = sum e^{q.z} (V z - a_k) over the columns z of the context.

The weights w = e^{q.p} / s have entropy H with log s = q.(mean of the p) + H. Hence, if V^T g = q,
    log s - log N <= g.u <= log s,
and conversely, if q is not 0, a u in the range of V and an s within these bounds come from a prompt: one token if
H = 0, else N >= 2 tokens with weights of entropy H, moved along q. If q = 0, s is the number of tokens.
"""

from dataclasses import dataclass

from attention import Head, Layer, Query, read_layer_and_queries
from expsum import ExpSum, exp_sum
from limits import DEADLINE, demand
from rational import Vector
from reading import Field


def in_words(number: int) -> str:
    """A number that may be too long for decimal digits."""
    return str(number) if number < 1 << 64 else hex(number)


def allowed_prompts(length: int | None, exactly: bool = False) -> str:
    """The prompts of at most (or exactly) that length, in words."""
    if length is None:
        return "prompts of any length"
    return f"prompts of {'' if exactly else 'at most '}{in_words(length)} tokens"


def describe_layer(layer: Layer) -> str:
    """Number of heads and length of tokens, in words."""
    heads = "one head" if len(layer.heads) == 1 else f"heads: {len(layer.heads)}"
    return f"{heads}, d = {layer.mlp.d}"


@dataclass(frozen=True)
class Setting:
    """The instance: a layer, at least one query, N or None for any length."""

    layer: Layer
    queries: tuple[Query, ...]
    length: int | None

    def allowed(self) -> str:
        """The prompts, in words."""
        return allowed_prompts(self.length, self.layer.prompt_length is not None)

    def describe(self) -> str:
        """The layer and the queries, in words."""
        return f"{describe_layer(self.layer)}, queries: {len(self.queries)}"

    def demand_targets(self, points: tuple[Vector, ...]) -> None:
        """Each point is a preimage of the target of its query."""
        for k, (query, z) in enumerate(zip(self.queries, points, strict=True)):
            DEADLINE.check()
            demand((self.layer.mlp.output(z) - query.target).is_zero(), f"query {k}: MLP(z) is not the target")


@dataclass(frozen=True)
class PromptSetting(Setting):
    """The same for a layer with one head."""

    @property
    def head(self) -> Head:
        """The only head."""
        return self.layer.heads[0]

    def logit_vector(self) -> Vector:
        """q, after the check that it is the same for all queries."""
        q = self.head.logit_vector(self.queries[0].token)
        for k, query in enumerate(self.queries):
            demand((self.head.logit_vector(query.token) - q).is_zero(), f"query {k} has another logit vector")
        return q

    def demand_row(self, g: Vector, q: Vector) -> None:
        """V^T g = q, so that g.(V p) = q.p for every p."""
        demand((self.head.value_row(g) - q).is_zero(), "V^T g is not the logit vector")


def differences(head: Head, query: Query, a: Vector) -> list[Vector]:
    """V z - a for the columns z of the context."""
    return [head.value(query.context.row(j)) - a for j in range(len(query.context.rows))]


def context_difference(head: Head, query: Query, q: Vector, a: Vector) -> tuple[ExpSum, ...]:
    """C = sum e^{q.z} (V z - a), coordinate by coordinate."""
    scores, rows = query.context @ q, differences(head, query, a)
    return tuple(exp_sum(Vector(numbers, rows[0].den), scores) for numbers in zip(*(r.num for r in rows), strict=True))


def read_queries(layer_field: Field, queries_field: Field) -> tuple[Layer, tuple[Query, ...]]:
    """A layer and at least one query."""
    layer, queries = read_layer_and_queries(layer_field, queries_field)
    if not queries:
        queries_field.fail("at least one query", "none")
    return layer, queries


def refuse_embedding(layer: Layer, instance: Field) -> None:
    """What is claimed is about layers without positional embedding."""
    if layer.prompt_length is not None:
        instance.fail("a layer without E", "one with E")


def read_length(field: Field) -> int | None:
    """N, or None for any length."""
    length = None if field.is_null() else field.integer()
    if length is not None and length < 1:
        field.fail("a positive integer or null")
    return length


def read_setting_of_heads(instance: Field) -> Setting:
    """The instance of a certificate about a layer with any number of heads."""
    layer_field, queries_field, length_field = instance.record("layer", "queries", "length")
    layer, queries = read_queries(layer_field, queries_field)
    length = read_length(length_field)
    if layer.prompt_length not in (None, length):
        length_field.fail(f"the prompt length {layer.prompt_length} that E fixes")
    return Setting(layer, queries, length)


def read_setting(instance: Field) -> PromptSetting:
    """The instance of a certificate about a layer with one head."""
    setting = read_setting_of_heads(instance)
    if len(setting.layer.heads) != 1:
        layer_field, _, _ = instance.record("layer", "queries", "length")
        layer_field.fail("exactly one head", str(len(setting.layer.heads)))
    return PromptSetting(setting.layer, setting.queries, setting.length)
