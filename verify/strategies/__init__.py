"""Hypothesis strategies for exact transformers, prompts and data: property tests of constructions of one's own.

See docs/property-testing.md. All numbers are rational, every promise holds by construction, and counterexamples end
small.
"""

from verify.strategies.assumptions import paper_layers, paper_pairs
from verify.strategies.matrices import (
    matrices,
    matrices_with_singular_values,
    orthogonal_matrices,
    rationals,
    vectors,
)
from verify.strategies.memorizable import Memorizable, memorizable_datasets
from verify.strategies.models import heads, layers, mlps, piecewise_linear_units, transformers
from verify.strategies.smallest import smallest
from verify.strategies.stacks import contractive_stacks
from verify.strategies.targets import lipschitz_targets
from verify.strategies.tokens import inputs, prompted, prompts, shared_token_datasets

__all__ = [
    "Memorizable",
    "contractive_stacks",
    "heads",
    "inputs",
    "layers",
    "lipschitz_targets",
    "matrices",
    "matrices_with_singular_values",
    "memorizable_datasets",
    "mlps",
    "orthogonal_matrices",
    "paper_layers",
    "paper_pairs",
    "piecewise_linear_units",
    "prompted",
    "prompts",
    "rationals",
    "shared_token_datasets",
    "smallest",
    "transformers",
    "vectors",
]
