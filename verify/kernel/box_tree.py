"""Trees that cut a box of log masses, one for each group, and say at each leaf why no prompt has its masses there."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from curve import Ends
from limits import DEADLINE, OverLimits
from rational import read_scalar
from reading import Field

MAX_NODES = 100_000
Box = tuple[Ends, ...]
Leaf = TypeVar("Leaf")


def node_numbers() -> Iterator[int]:
    """One for each node that is allowed, in all trees of a certificate together."""
    return iter(range(MAX_NODES))


def read_leaves(root: Field, box: Box, nodes: Iterator[int], read_leaf: Callable[[Field, Box], Leaf]) -> list[Leaf]:
    """What `read_leaf` makes of the leaves and their boxes, which cover the box."""
    leaves: list[Leaf] = []
    stack = [(root, box)]
    while stack:
        DEADLINE.check()
        if next(nodes, None) is None:
            raise OverLimits(f"more than {MAX_NODES} nodes in trees")
        node, box = stack.pop()
        if node.has("group"):
            group, at, below, above = node.record("group", "at", "below", "above")
            g, cut = group.index(len(box)), read_scalar(at)
            low, high = box[g]
            rest = box[:g], box[g + 1 :]
            upper: Ends = (cut if low is None or (cut - low).sign() > 0 else low), high
            lower: Ends = low, (cut if high is None or (cut - high).sign() < 0 else high)
            stack += [(above, (*rest[0], upper, *rest[1])), (below, (*rest[0], lower, *rest[1]))]
        else:
            leaves.append(read_leaf(node, box))
    return leaves
