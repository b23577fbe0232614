"""Trees that cut a box, one side after the other, and say at each leaf why what is sought is not in its part."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from curve import Ends
from limits import DEADLINE, OverLimits
from rational import Scalar, read_scalar
from reading import Field

MAX_NODES = 100_000
Box = tuple[Ends, ...]
Leaf = TypeVar("Leaf")
End = TypeVar("End", Scalar, Scalar | None)  # None: no bound on that side


def node_numbers() -> Iterator[int]:
    """One for each node that is allowed, in all trees of a certificate together."""
    return iter(range(MAX_NODES))


def _halves(box: tuple[tuple[End, End], ...], g: int, cut: Scalar) -> tuple[tuple[tuple[End, End], ...], ...]:
    """What is below the cut of side g, and what is above; one of them is empty if the cut is outside."""
    low, high = box[g]
    upper: tuple[End, End] = (cut if low is None or (cut - low).sign() > 0 else low), high
    lower: tuple[End, End] = low, (cut if high is None or (cut - high).sign() < 0 else high)
    return tuple(tuple(part if k == g else side for k, side in enumerate(box)) for part in (lower, upper))


def read_leaves(
    root: Field,
    box: tuple[tuple[End, End], ...],
    nodes: Iterator[int],
    read_leaf: Callable[[Field, tuple[tuple[End, End], ...]], Leaf],
    name: str = "group",
) -> list[Leaf]:
    """What `read_leaf` makes of the leaves and their boxes, which cover the box; `name` is that of a coordinate."""
    leaves: list[Leaf] = []
    stack = [(root, box)]
    while stack:
        DEADLINE.check()
        if next(nodes, None) is None:
            raise OverLimits(f"more than {MAX_NODES} nodes in trees")
        node, box = stack.pop()
        if node.has(name):
            coordinate, at, below, above = node.record(name, "at", "below", "above")
            g, cut = coordinate.index(len(box)), read_scalar(at)
            lower, upper = _halves(box, g, cut)
            stack += [(above, upper), (below, lower)]
        else:
            leaves.append(read_leaf(node, box))
    return leaves
