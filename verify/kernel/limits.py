"""The three ways not to be true, and the limits that keep hostile files bounded in time and memory.

Nothing in the kernel answers "true" by default: each check either reaches its last line, with every
condition demanded on the way, or raises one of the exceptions below.
"""

import time
from collections.abc import Iterable, Iterator

MAX_FILE_BYTES = 1 << 26
MAX_VALUES = 1 << 22  # commas and opening brackets in a file, so at most this many values
MAX_NESTING = 512
MAX_INTEGER_BITS = 1 << 22  # one integer of a file
MAX_PRECISION = 1 << 16  # bits after the point, when a sign is looked for
MAX_SECONDS = 900
# What the kernel computes itself; a file within the limits above can ask for more, an honest one does not.
MAX_COMPUTED_BITS = 1 << 24  # one integer
MAX_TOTAL_BITS = 1 << 28  # one vector, matrix or exponential sum


class NotACertificate(Exception):
    """The file does not follow the written format; the message names field, expectation and finding."""


class Refuted(Exception):
    """The certificate is well formed, and a condition of its claim does not hold."""


class OverLimits(Exception):
    """Deciding would exceed a stated limit; nothing is decided."""


def demand(condition: bool, reason: str) -> None:
    """Raise `Refuted` unless the condition is the value True itself."""
    if condition is not True:
        raise Refuted(reason)


class Deadline:
    """The time by which the file in hand must be decided; every loop over data asks for it."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin a new file."""
        self._end = time.monotonic_ns() + MAX_SECONDS * 1_000_000_000

    def check(self) -> None:
        """Raise `OverLimits` once the time is over."""
        if time.monotonic_ns() > self._end:
            raise OverLimits(f"more than {MAX_SECONDS} seconds")


DEADLINE = Deadline()


class Budget:
    """Counts the bits of one computed object. One per vector, matrix or exponential sum."""

    def __init__(self) -> None:
        self._left = MAX_TOTAL_BITS

    def spend(self, bits: int) -> None:
        """Account for an integer of that many bits (negative: one that was given up)."""
        DEADLINE.check()
        self._left -= bits
        if bits > MAX_COMPUTED_BITS or self._left < 0:
            raise OverLimits("the numbers of an intermediate result are too long")


def bounded(numbers: Iterable[int]) -> Iterator[int]:
    """The same numbers, one by one, within the limits on computed objects and on time."""
    budget = Budget()
    for number in numbers:
        budget.spend(number.bit_length())
        yield number
