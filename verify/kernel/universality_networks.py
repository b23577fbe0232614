"""Claims `universality-hardmax` and `universality-softmax`: one network, and a prompt for every Lipschitz function."""

from dataclasses import dataclass

import limits
from expsum import enclose_exp, precisions
from limits import OverLimits, demand
from rational import ONE, Scalar, read_scalar
from reading import Envelope, Field
from universality import (
    ContextualMap,
    Quantisation,
    against_root,
    demand_positive,
    power,
    read_map,
    read_quantisation,
)

CHUNK = 1 << 14


@dataclass(frozen=True)
class Hardmax:
    """The network with hardmax and piecewise-linear units; epsilon bounds the error in d_p."""

    map: ContextualMap
    quantisation: Quantisation
    epsilon: Scalar

    def check(self) -> str:
        """All ids of read columns differ, so the value layers give each its own value; what is left is quantisation.

        Values stay where they are: their ids are below U, and those of read columns are above l_{n-1} >= 2 U.
        """
        self.demand_ids()
        demand((self.epsilon - self.quantisation.bound()).sign() >= 0, "the error by quantisation is above epsilon")
        return self.sentence("hardmax")

    def demand_ids(self) -> None:
        """The conditions on sweep and shift."""
        self.map.demand_one_firing()
        self.map.demand_shift()

    def sentence(self, kind: str) -> str:
        """What has been proved."""
        grid = self.map.grid
        return (
            f"for every L-Lipschitz function a prompt of {self.map.n - grid.m} tokens makes the {kind} network "
            f"approximate it within epsilon in d_p ({grid.describe()})"
        )


@dataclass(frozen=True)
class Softmax:
    """The network with softmax at inverse temperature t and ramps of width eta.

    `ideal` is the hardmax network with the same epsilon, of which epsilon_s is for errors of ids (in row 1 of the
    output) and epsilon_r for inputs on ramps.
    """

    ideal: Hardmax
    root_m: Scalar
    t: Scalar
    eta: Scalar
    epsilon_s: Scalar
    epsilon_r: Scalar

    def check(self) -> str:
        """The shares of epsilon, and that each is enough."""
        for name in ("root_m", "t", "eta", "epsilon_s", "epsilon_r"):
            demand_positive(getattr(self, name), name)
        self.ideal.demand_ids()
        self._demand_ramps()
        m = Scalar(self.ideal.map.grid.m, 1)
        demand(against_root(self.root_m, m, self.ideal.quantisation.p) >= 0, "root_m is below m^(1/p)")
        rest = self.ideal.epsilon - self.ideal.quantisation.bound() - self.epsilon_s * self.root_m - self.epsilon_r
        demand(rest.sign() >= 0, "the shares of the error sum up to more than epsilon")
        self._demand_sharp()
        return self.ideal.sentence("softmax")

    def _demand_ramps(self) -> None:
        """Prompts, at grid values + delta/4, are not on the ramps [g + delta - eta, g + delta] of the quantiser.

        An input is on one with probability dmk eta at most, and then, by the clamp, each of dm errors is at most 1.
        """
        grid = self.ideal.map.grid
        demand((Scalar(3, 4 * grid.k) - self.eta).sign() > 0, "eta is not below 3 delta/4")
        mean = self.eta * Scalar((grid.d * grid.m) ** 2 * grid.k, 1)
        demand(against_root(self.epsilon_r, mean, self.ideal.quantisation.p) >= 0, "epsilon_r is too small for eta")

    def _demand_sharp(self) -> None:
        """Off the ramps every id is within min(delta/4, epsilon_s) of the ideal one when the value layers begin.

        While ids are within kappa delta of the ideal ones, which are delta apart and delta/2 away from the threshold,
        all lie within R. A head gives a mean of ids in which others than the extreme one have weights of at most
        e^{-x}; so it gives that one up to rho = R (n-1) e^{-x}. If e bounds the errors of the ids, a layer of the
        sweep adds c rho at most to it, or replaces it by (2c-1) e + 2c rho where a column fires, n times among K:
        after the sweep e <= (2c-1)^n c (K+n) rho. Columns that do not fire are above the threshold, as all below have
        fired; their margins fall by delta from one layer of a run without firing to the next, so that the run adds
        c rho / (1-q) at most, q = e^{-t delta^2 (1-2 kappa)}. There are n+1 runs, and if q <= 1/e they and the n
        layers that fire add up to c (2n + 2(n+1)) rho. The shift leaves (1+G) e + G rho. Asked to be at most
        min(delta/4, epsilon_s) = kappa delta (1+G), this keeps all errors before it within kappa delta.
        """
        map_ = self.ideal.map
        c, n, k, G = map_.c, map_.n, map_.grid.k, map_.G
        share = Scalar(1, 4 * k)
        if (share - self.epsilon_s).sign() > 0:
            share = self.epsilon_s
        gap = ONE - share * Scalar(2 * k, 1 + G)  # 1 - 2 kappa
        step = self.t * gap * Scalar(1, k**2)
        factor = c * (map_.n * c + n)
        if (step - ONE).sign() >= 0:
            factor = min(factor, c * (4 * n + 2))
        error = Scalar(((1 + G) * power(2 * c - 1, n) * factor + G) * map_.id_bound() * (n - 1), k)
        demand(
            at_most_exponential(error * Scalar(share.den, share.num), step * gap * Scalar(1, 2)),
            "t is not shown to be large enough: the errors of the ids are not bounded by min(delta/4, epsilon_s)",
        )


def at_most_exponential(number: Scalar, x: Scalar) -> bool:
    """Whether number <= e^x, for number, x > 0. They are not equal, since e^x is irrational.

    e^x is the power e^y ... e^y with y = x/parts <= 2^14, and is enclosed by that of an enclosure of e^y, which is
    above 1: so the precision that is needed does not grow with x.
    """
    bits = number.num.bit_length() - number.den.bit_length() + 1
    if bits * x.den <= x.num:
        return True  # number < 2^bits
    parts = x.num // (x.den * CHUNK) + 1
    for precision in precisions():
        if parts * (precision + 3 * CHUNK // 2) > limits.MAX_COMPUTED_BITS:  # e^y < 2^{3y/2}
            break
        low, high = enclose_exp(x.num, x.den * parts, precision)
        scaled = number.num << precision * parts
        if scaled <= number.den * power(low, parts):
            return True
        if scaled > number.den * power(high, parts):
            return False
    raise OverLimits("a number and an exponential are too long, or too close, to be compared")


def _read_hardmax(instance: Field, roots: Field) -> Hardmax:
    d, m, k, G, L, p, epsilon_field = instance.record("d", "m", "k", "G", "L", "p", "epsilon")
    map_, epsilon = read_map(d, m, k, G), read_scalar(epsilon_field)
    if epsilon.sign() <= 0:
        epsilon_field.fail("a positive number")
    return Hardmax(map_, read_quantisation(map_.grid, L, p, roots), epsilon)


def read_hardmax(envelope: Envelope) -> Hardmax:
    """The statement of a certificate and its witness, read but not checked."""
    envelope.relation.choice("for-all")
    envelope.evidence.choice("exact")
    (roots,) = envelope.witness.record("roots")
    return _read_hardmax(envelope.instance, roots)


def read_softmax(envelope: Envelope) -> Softmax:
    """The statement of a certificate and its witness, read but not checked."""
    envelope.relation.choice("for-all")
    envelope.evidence.choice("exact")
    roots, *others = envelope.witness.record("roots", "root_m", "t", "eta", "epsilon_s", "epsilon_r")
    root_m, t, eta, epsilon_s, epsilon_r = map(read_scalar, others)
    return Softmax(_read_hardmax(envelope.instance, roots), root_m, t, eta, epsilon_s, epsilon_r)
