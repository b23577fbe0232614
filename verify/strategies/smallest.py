"""The smallest example of a strategy with a property: what a failing property test would report."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, Verbosity, find, settings
from hypothesis.strategies import SearchStrategy

from verify.strategies.arguments import whole

T = TypeVar("T")


def smallest(
    strategy: SearchStrategy[T],
    condition: Callable[[T], bool] = lambda value: True,
    *,
    max_examples: int = 2000,
    seed: int = 0,
) -> T:
    """The example with ``condition`` that hypothesis ends with after shrinking: for one seed always the same one.

    Raises hypothesis.errors.NoSuchExample when none of ``max_examples`` random ones has it, and Unsatisfiable when the
    strategy draws none at all.

    >>> from hypothesis import strategies as st
    >>> smallest(st.integers(), lambda n: n * n > 50)
    8
    """
    whole("max_examples", max_examples, least=1)
    # no setting comes from the profile that is loaded: hypothesis loads another one where it finds itself in CI
    quiet = settings(
        settings.get_profile("default"),
        max_examples=max_examples,
        derandomize=False,
        database=None,
        deadline=None,
        # the explaining phase runs a hundred more examples under a tracer, for a report that is not made here
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        verbosity=Verbosity.normal,
        backend="hypothesis",
    )
    return find(strategy, condition, settings=quiet, random=random.Random(seed))
