"""Claim `several-heads`: what prompts can do to a layer with any number of heads, with V singular or not."""

from collections.abc import Callable

from head_pairs import Pairs
from heads_memorizable import read_heads_memorizable
from heads_prompt import read_heads_prompt
from heads_refuted import read_heads_refuted
from heads_shared import read_heads_memorizable_shared
from heads_stuck import read_stuck
from prompt_law import Statement
from prompt_setting import read_setting_of_heads, refuse_embedding
from reading import Envelope, Field

READERS: dict[str, Callable[[Pairs, Field], Statement]] = {
    "memorizable": read_heads_memorizable,
    "memorizable-shared": read_heads_memorizable_shared,
    "no-prompt-memorizes": read_heads_refuted,
    "prompt": read_heads_prompt,
}


def read(envelope: Envelope) -> Statement:
    """The statement of a certificate and its witness, read but not checked."""
    relation = envelope.relation.choice(*READERS, "stuck")
    envelope.evidence.choice("enclosed" if relation == "prompt" else "exact")
    if relation == "stuck":
        return read_stuck(envelope)
    setting = read_setting_of_heads(envelope.instance)
    refuse_embedding(setting.layer, envelope.instance)
    if relation in ("memorizable", "memorizable-shared") and setting.length is not None:
        envelope.instance.fail("the length null", "a number")
    return READERS[relation](Pairs(setting), envelope.witness)
