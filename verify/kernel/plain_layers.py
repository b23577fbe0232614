"""Layers of attention alone: no MLP, no causal mask, no positional embedding."""

from attention import Layer, read_layer
from rational import Vector
from reading import Field


def _read_plain(field: Field, one_head: bool) -> Layer:
    layer = read_layer(field)
    if one_head and len(layer.heads) != 1:
        field.fail("exactly one head", str(len(layer.heads)))
    _, _, causal, _ = field.record("heads", "mlp", "causal", "E")
    if causal.boolean():
        causal.fail("no causal mask", "one")
    if layer.mlp.units or not layer.mlp.output(Vector((0,) * layer.mlp.d, 1)).is_zero():
        field.fail("an MLP without units and bias")
    return layer


def read_plain_layers(field: Field, one_head: bool) -> tuple[Layer, ...]:
    """At least one layer, all of one width."""
    layers = tuple(_read_plain(one, one_head) for one in field.items())
    if not layers:
        field.fail("at least one layer", "none")
    if any(layer.mlp.d != layers[0].mlp.d for layer in layers):
        field.fail("layers of one width")
    return layers
