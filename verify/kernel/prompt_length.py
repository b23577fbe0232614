"""Claim `prompt-length-bound`: queries that no prompt below some length meets, for a layer with any number of heads."""

from collections.abc import Callable
from dataclasses import dataclass

from attention import Layer, Query, average, read_tokens
from box_tree import node_numbers
from finite_preimage import FinitePreimage, combinations, demand_all_points, read_finite_preimages
from fractions_of_sums import constant
from independence import Leaf, contribution, demand_independent, demand_too_few, read_independence
from length_tight import prompted, read_independent, read_tight
from limits import DEADLINE, Budget, demand
from prompt_law import Statement
from prompt_setting import (
    Setting,
    describe_layer,
    read_queries,
    read_setting_of_heads,
    refuse_embedding,
)
from rational import Matrix, Vector, read_vector
from reading import Envelope, Field
from vectors import entry


@dataclass(frozen=True)
class TooShort:
    """The queries that are used, their preimage points, and an independence tree for each combination of these."""

    setting: Setting
    used: tuple[int, ...]
    preimages: tuple[FinitePreimage, ...]
    trees: tuple[tuple[Leaf, ...], ...]

    def check(self) -> str:
        """Whatever points a prompt leads to, it would need more dimensions than it has."""
        setting = self.setting
        dimensions = demand_too_few(setting.layer, setting.length, len(self.used))
        demand_all_points(self.preimages)
        contributions = []
        budget = Budget()
        for k, preimage in zip(self.used, self.preimages, strict=True):
            DEADLINE.check()
            query = setting.queries[k]
            averages = [average(head, query.token, query.context) for head in setting.layer.heads]
            wanted = (constant(z - query.token) for z in preimage.points)
            contributions.append([contribution(a, averages, budget) for a in wanted])
        for number, (choice, leaves) in enumerate(zip(combinations(self.preimages), self.trees, strict=True)):
            chosen = [points[i] for points, i in zip(contributions, choice, strict=True)]
            demand_independent(leaves, chosen, f"combination {number}, ")
        return (
            f"none of all {setting.allowed()} meets every query: independent contributions to {len(self.used)} of them "
            f"are needed, and these have no more than {dimensions} dimensions ({setting.describe()}, "
            f"combinations of preimages: {len(self.trees)}, boxes: {sum(map(len, self.trees))})"
        )


@dataclass(frozen=True)
class StatedPrompt:
    """A prompt (rows are tokens), and a preimage point for each query."""

    layer: Layer
    queries: tuple[Query, ...]
    prompt: Matrix
    points: tuple[Vector, ...]

    def check(self) -> str:
        """MLP(z) is the target, and z - x the attention output, for each query."""
        layer = self.layer
        Setting(layer, self.queries, None).demand_targets(self.points)
        for k, (query, z) in enumerate(zip(self.queries, self.points, strict=True)):
            given, a = prompted(layer, query, self.prompt), z - query.token
            for c, numerator in enumerate(given.numerators):
                same = numerator.equals(given.denominator.scaled(entry(a, c)))
                demand(same, f"query {k}: the attention output is not z - x in coordinate {c}")
        return (
            f"the stated prompt (tokens: {len(self.prompt.rows)}) meets every query "
            f"({describe_layer(layer)}, queries: {len(self.queries)})"
        )


def _read_too_short(instance: Field, witness: Field) -> TooShort:
    setting = read_setting_of_heads(instance)
    refuse_embedding(setting.layer, instance)
    used_field, proofs, trees = witness.record("queries", "preimages", "combinations")
    used = tuple(field.index(len(setting.queries)) for field in used_field.items())
    if not used or len(set(used)) < len(used):
        used_field.fail("at least one query, and none twice")
    preimages = read_finite_preimages(proofs, setting.layer.mlp, [setting.queries[k].target for k in used])
    nodes = node_numbers()
    fields = trees.items(len(combinations(preimages)))
    return TooShort(
        setting,
        used,
        preimages,
        tuple(tuple(read_independence(field, len(used), setting.layer, nodes)) for field in fields),
    )


def _read_prompt(instance: Field, witness: Field) -> StatedPrompt:
    layer_field, queries_field, prompt = instance.record("layer", "queries", "prompt")
    layer, queries = read_queries(layer_field, queries_field)
    refuse_embedding(layer, instance)
    (points,) = witness.record("points")
    d = layer.mlp.d
    found = tuple(read_vector(point, d) for point in points.items(len(queries)))
    return StatedPrompt(layer, queries, read_tokens(prompt, d), found)


READERS: dict[str, Callable[[Field, Field], Statement]] = {
    "independent": read_independent,
    "prompt": _read_prompt,
    "tight": read_tight,
    "too-short": _read_too_short,
}


def read(envelope: Envelope) -> Statement:
    """The statement of a certificate and its witness, read but not checked."""
    relation = envelope.relation.choice(*READERS)
    envelope.evidence.choice("exact")
    return READERS[relation](envelope.instance, envelope.witness)
