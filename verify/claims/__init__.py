"""The claims: one file for each, found here by slug."""

from verify.claims import (
    attention_split,
    direction_lemma,
    low_rank_memorization,
    mlp_injectivity,
    prompt_law,
    prompt_length_bound,
    several_heads,
    several_queries,
    unmemorizable_pair,
)
from verify.claims.claim import Case, CaseResult, Claim, Finding, Settings

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
    )
}

__all__ = ["REGISTRY", "Case", "CaseResult", "Claim", "Finding", "Settings"]
