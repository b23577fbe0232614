"""Claim `prompted-injectivity`: what injective layers mean for the outputs at the input's tokens, a prompt in front."""

from collections.abc import Callable

from collapse import read_collapse
from fold import read_fold
from prompt_law import Statement
from reading import Envelope, Field
from same_output import read_same_output
from small_product import read_layer_by_layer, read_small_product
from subspace import read_subspace

READERS: dict[str, tuple[str, Callable[[Field, Field], Statement]]] = {
    "collapse": ("exact", read_collapse),
    "fold": ("enclosed", read_fold),
    "layer-by-layer": ("exact", read_layer_by_layer),
    "same-output": ("exact", read_same_output),
    "small-product": ("exact", read_small_product),
    "subspace": ("exact", read_subspace),
}


def read(envelope: Envelope) -> Statement:
    """The statement of a certificate and its witness, read but not checked."""
    evidence, reader = READERS[envelope.relation.choice(*READERS)]
    envelope.evidence.choice(evidence)
    return reader(envelope.instance, envelope.witness)
