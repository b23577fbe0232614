"""Whether a strategy draws something at all, without the time that shrinking takes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")


def first(strategy: SearchStrategy[T], condition: Callable[[T], bool], most: int = 400) -> T:
    """The first of at most ``most`` examples with the condition; NoSuchExample is raised when there is none."""
    quiet = settings(
        max_examples=most,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return find(strategy, condition, settings=quiet, random=random.Random(0))
