"""The claims: one file for each. registry.py has them all, by slug; here is what a claim is made of."""

from verify.claims.claim import Case, CaseResult, Claim, Constant, Finding, Settings

__all__ = ["Case", "CaseResult", "Claim", "Constant", "Finding", "Settings"]
