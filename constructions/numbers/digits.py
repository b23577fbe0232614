"""Exact numbers as people read them: a few digits, rounded to the side that keeps a bound a bound."""

from __future__ import annotations

from flint import fmpq


def decimal_bound(x: fmpq, up: bool, digits: int = 10) -> str:
    """x ≥ 0 to so many significant digits, rounded upwards or downwards.

    >>> decimal_bound(fmpq(2, 3), True, 4), decimal_bound(fmpq(2, 3), False, 4), decimal_bound(fmpq(0), True)
    ('0.6667', '0.6666', '0')
    >>> decimal_bound(fmpq(10)**40 / 3, False, 3), decimal_bound(fmpq(12345), True, 3), decimal_bound(fmpq(1, 8), True)
    ('3.33e39', '12400', '0.125')
    """
    if x == 0:
        return "0"
    exponent = (abs(x.p).bit_length() - x.q.bit_length()) * 30103 // 100000
    exponent -= 1  # now 10^exponent is at most x, or nearly
    while x >= fmpq(10) ** (exponent + 1):
        exponent += 1
    while x < fmpq(10) ** exponent:
        exponent -= 1
    scaled = x * fmpq(10) ** (digits - 1 - exponent)
    value = int(scaled.ceil() if up else scaled.floor())
    if value == 10**digits:
        value, exponent = value // 10, exponent + 1
    text = str(value)
    if -5 <= exponent < 0:
        return ("0." + "0" * (-exponent - 1) + text).rstrip("0")
    if 0 <= exponent < 15:
        whole, part = text[: exponent + 1].ljust(exponent + 1, "0"), text[exponent + 1 :].rstrip("0")
        return f"{whole}.{part}" if part else whole
    part = text[1:].rstrip("0")
    return f"{text[0]}.{part}e{exponent}" if part else f"{text[0]}e{exponent}"
