"""All claims of this project by slug, in the order of docs and tables."""

from verify.claims import (
    attention_lipschitz,
    attention_split,
    contextual_mapping,
    direction_lemma,
    experiments,
    joint_injectivity,
    low_rank_memorization,
    mlp_injectivity,
    prompt_law,
    prompt_length_bound,
    prompted_injectivity,
    quantisation,
    several_heads,
    several_queries,
    universality_hardmax,
    universality_softmax,
    unmemorizable_pair,
)
from verify.claims.claim import Claim

REGISTRY: dict[str, Claim] = {
    claim.slug: claim
    for claim in (
        attention_split.CLAIM,
        direction_lemma.CLAIM,
        mlp_injectivity.CLAIM,
        unmemorizable_pair.CLAIM,
        prompt_law.CLAIM,
        several_queries.CLAIM,
        several_heads.CLAIM,
        prompt_length_bound.CLAIM,
        low_rank_memorization.CLAIM,
        quantisation.CLAIM,
        contextual_mapping.CLAIM,
        universality_hardmax.CLAIM,
        universality_softmax.CLAIM,
        attention_lipschitz.CLAIM,
        joint_injectivity.CLAIM,
        prompted_injectivity.CLAIM,
        experiments.CLAIM,
    )
}
