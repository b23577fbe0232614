"""Claim `contextual-mapping`: whether sweep and global shift give all read columns of all contexts different ids."""

from dataclasses import dataclass
from itertools import product

from limits import OverLimits, bounded, demand
from reading import Envelope, Field
from universality import ContextualMap, read_map

MAX_CONTEXTS = 1 << 20


@dataclass(frozen=True)
class DistinctIds:
    """All ids are different, by the bound on G or by enumeration."""

    map: ContextualMap
    enumerated: bool

    def check(self) -> str:
        """No column fires twice; and either G is large enough for all ids, or these are computed."""
        self.map.demand_one_firing()
        if self.enumerated:
            self._demand_different()
        else:
            self.map.demand_shift()
        return (
            "no column fires twice in the sweep, and after the shift by G the ids of all read columns of all contexts "
            f"are different ({describe(self.map)}, {'by enumeration' if self.enumerated else 'by the bound on G'})"
        )

    def _demand_different(self) -> None:
        contexts, m = self.map.contexts, self.map.grid.m
        if contexts > MAX_CONTEXTS:
            raise OverLimits(f"an enumeration of more than {MAX_CONTEXTS} contexts")
        codes = product(range(self.map.c), repeat=self.map.n)
        ids = set(bounded(number for context in codes for number in self.map.read_ids(context)))
        demand(len(ids) == m * contexts, f"of {m * contexts} ids only {len(ids)} are different")


@dataclass(frozen=True)
class Collision:
    """Two pairs of a context and a read column, numbered from 0 among the last m."""

    map: ContextualMap
    contexts: tuple[tuple[int, ...], tuple[int, ...]]
    columns: tuple[int, int]

    def check(self) -> str:
        """They differ, and their ids do not."""
        (first, second), (i, j) = self.contexts, self.columns
        demand((first, i) != (second, j), "the two contexts and columns are the same")
        demand(self.map.read_ids(first)[i] == self.map.read_ids(second)[j], "the ids are different")
        return f"after the shift by G two different read columns have the same id ({describe(self.map)})"


def describe(map_: ContextualMap) -> str:
    """The map, in words."""
    return f"{map_.grid.describe()}, columns: {map_.n}, codes of each: {map_.c}"


def _read_distinct(map_: ContextualMap, witness: Field) -> DistinctIds:
    (by,) = witness.record("by")
    return DistinctIds(map_, by.choice("bound", "enumeration") == "enumeration")


def _read_collision(map_: ContextualMap, witness: Field) -> Collision:
    contexts, columns = witness.record("contexts", "columns")
    first, second = (_read_codes(field, map_) for field in contexts.items(2))
    i, j = (_read_column(field, map_) for field in columns.items(2))
    return Collision(map_, (first, second), (i, j))


def _read_codes(field: Field, map_: ContextualMap) -> tuple[int, ...]:
    codes = field.numbers(map_.n)
    if not all(0 <= code < map_.c for code in codes):
        field.fail(f"integers from 0 to {map_.c - 1}", "one that is not")
    return codes


def _read_column(field: Field, map_: ContextualMap) -> int:
    column = field.index(map_.n) - (map_.n - map_.grid.m)
    if column < 0:
        field.fail(f"one of the last {map_.grid.m} columns, numbered from 0 to {map_.n - 1}")
    return column


def read(envelope: Envelope) -> DistinctIds | Collision:
    """The statement of a certificate and its witness, read but not checked."""
    relation = envelope.relation.choice("distinct-ids", "collision")
    envelope.evidence.choice("exact")
    map_ = read_map(*envelope.instance.record("d", "m", "k", "G"))
    if relation == "collision":
        return _read_collision(map_, envelope.witness)
    return _read_distinct(map_, envelope.witness)
