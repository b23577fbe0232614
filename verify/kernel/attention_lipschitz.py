"""Claim `attention-lipschitz`: Lipschitz constants of the attention of one layer, from above and from below."""

from collections.abc import Callable

from attention_bound import read_bound
from attention_box import read_box
from attention_slope import read_slope
from prompt_law import Statement
from reading import Envelope, Field

READERS: dict[str, tuple[str, Callable[[Field, Field], Statement]]] = {
    "bound": ("exact", read_bound),
    "box": ("enclosed", read_box),
    "slope": ("enclosed", read_slope),
}


def read(envelope: Envelope) -> Statement:
    """The statement of a certificate and its witness, read but not checked."""
    evidence, reader = READERS[envelope.relation.choice(*READERS)]
    envelope.evidence.choice(evidence)
    return reader(envelope.instance, envelope.witness)
