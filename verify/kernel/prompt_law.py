"""Claim `prompt-law`: what prompts can do to queries that share one logit vector at the only head of a layer."""

from typing import Protocol

from loss_bounds import read_loss_bounds
from memorizable import read_memorizable
from no_prompt import read_no_prompt
from prompt_setting import read_setting, refuse_embedding
from reading import Envelope


class Statement(Protocol):
    """One of the relations, with its witness."""

    def check(self) -> str:
        """Say in one sentence what has been proved, or raise."""


def read(envelope: Envelope) -> Statement:
    """The statement of a certificate and its witness, read but not checked."""
    relation = envelope.relation.choice("loss-bounds", "memorizable", "no-prompt-memorizes")
    envelope.evidence.choice("enclosed" if relation == "loss-bounds" else "exact")
    setting = read_setting(envelope.instance)
    if relation == "loss-bounds":
        return read_loss_bounds(setting, envelope.witness)
    refuse_embedding(setting.layer, envelope.instance)
    return (read_memorizable if relation == "memorizable" else read_no_prompt)(setting, envelope.witness)
