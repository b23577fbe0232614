"""Claim `joint-injectivity`: the map from all tokens to all outputs, on a region."""

from collections.abc import Callable

from approximate_inverse import read_inverse
from injective import read_injective
from prompt_law import Statement
from reading import Envelope, Field

READERS: dict[str, tuple[str, Callable[[Field, Field], Statement]]] = {
    "injective": ("exact", read_injective),
    "inverse": ("enclosed", read_inverse),
}


def read(envelope: Envelope) -> Statement:
    """The statement of a certificate and its witness, read but not checked."""
    evidence, reader = READERS[envelope.relation.choice(*READERS)]
    envelope.evidence.choice(evidence)
    return reader(envelope.instance, envelope.witness)
