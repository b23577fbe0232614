"""Claim `prompt-length-bound`, relations `tight` and `independent`: what a given prompt gives, shorter ones do not.

What a prompt contributes to several inputs is linearly independent, whatever weight stays on their contexts. So a
prompt that gives the same attention outputs, in which these weights may be others, has as many dimensions. And if the
MLP is injective, equal outputs of the layer are equal outputs of the attention.
"""

from dataclasses import dataclass

from attention import Input, Layer, average, joined, read_layer_and_inputs, read_tokens
from box_tree import node_numbers
from fractions_of_sums import Fractions, total
from independence import Contribution, Leaf, contribution, demand_independent, demand_too_few, read_independence
from limits import DEADLINE, Budget, demand
from prompt_setting import allowed_prompts, describe_layer, read_length, refuse_embedding
from rational import Matrix, read_matrix
from reading import Field


def prompted(layer: Layer, one: Input, prompt: Matrix) -> Fractions:
    """The attention output with the prompt, the sum over all heads."""
    return total([average(head, one.token, joined(prompt, one.context)) for head in layer.heads])


@dataclass(frozen=True)
class Prompted:
    """A layer, inputs, a prompt (rows are tokens); leaves of an independence tree."""

    layer: Layer
    inputs: tuple[Input, ...]
    prompt: Matrix
    leaves: tuple[Leaf, ...]

    def demand_contributions(self) -> None:
        """Those to the outputs that the prompt gives are independent."""
        contributions: list[Contribution] = []
        budget = Budget()
        for one in self.inputs:
            DEADLINE.check()
            averages = [average(head, one.token, one.context) for head in self.layer.heads]
            contributions.append(contribution(prompted(self.layer, one, self.prompt), averages, budget))
        demand_independent(self.leaves, contributions, "")

    def describe(self) -> str:
        """The instance, in words."""
        return f"{describe_layer(self.layer)}, inputs: {len(self.inputs)}, boxes: {len(self.leaves)}"


@dataclass(frozen=True)
class Tight:
    """The factor that shows the MLP to be injective; N or None for any length."""

    prompted: Prompted
    length: int | None
    factor: Matrix

    def check(self) -> str:
        """More dimensions are asked for than the prompts have that are allowed."""
        prompted = self.prompted
        prompted.layer.mlp.demand_monotone(self.factor, "MLP")
        demand_too_few(prompted.layer, self.length, len(prompted.inputs))
        prompted.demand_contributions()
        return (
            f"none of all {allowed_prompts(self.length)} gives all inputs the outputs that the given prompt "
            f"(tokens: {len(prompted.prompt.rows)}) gives ({prompted.describe()})"
        )


@dataclass(frozen=True)
class Independent:
    """The same without an MLP: about what a prompt contributes."""

    prompted: Prompted

    def check(self) -> str:
        """There are fewer tokens than inputs."""
        prompted = self.prompted
        tokens, count = len(prompted.prompt.rows), len(prompted.inputs)
        demand(tokens < count, f"the prompt has {tokens} tokens, for {count} inputs")
        prompted.demand_contributions()
        return (
            f"a prompt with fewer tokens ({tokens}) than inputs contributes linearly independent vectors to all of "
            f"these, whatever weight stays on their contexts ({prompted.describe()})"
        )


def _read_prompted(instance: Field, parts: list[Field], tree: Field) -> Prompted:
    layer_field, inputs_field, prompt_field = parts
    layer, inputs = read_layer_and_inputs(layer_field, inputs_field)
    refuse_embedding(layer, instance)
    prompt = read_tokens(prompt_field, layer.mlp.d)
    return Prompted(layer, inputs, prompt, read_independence(tree, len(inputs), layer, node_numbers()))


def read_tight(instance: Field, witness: Field) -> Tight:
    """The statement of a certificate and its witness, read but not checked."""
    *parts, length = instance.record("layer", "inputs", "prompt", "length")
    factor, tree = witness.record("factor", "tree")
    prompted = _read_prompted(instance, parts, tree)
    units = prompted.layer.mlp.units
    return Tight(prompted, read_length(length), read_matrix(factor, units, units))


def read_independent(instance: Field, witness: Field) -> Independent:
    """The statement of a certificate and its witness, read but not checked."""
    parts = instance.record("layer", "inputs", "prompt")
    (tree,) = witness.record("tree")
    return Independent(_read_prompted(instance, parts, tree))
