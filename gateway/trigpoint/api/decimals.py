"""Exact decimal text. A reading is mantissa * 10 ** exponent, and never passes through a float on its way out."""

from __future__ import annotations

MEAN_DIGITS = 3
"""A mean has so many digits more than the finest of its readings."""


def text(mantissa: int, exponent: int) -> str:
    """Write mantissa * 10 ** exponent with all its digits: (2150, -2) is 21.50.

    Args:
        mantissa: any integer.
        exponent: 0 or less.
    """
    if exponent == 0:
        return str(mantissa)
    digits = str(abs(mantissa)).rjust(1 - exponent, "0")
    return f"{'-' if mantissa < 0 else ''}{digits[:exponent]}.{digits[exponent:]}"


def mean(total: int, count: int, exponent: int) -> tuple[int, int]:
    """Return mantissa and exponent of total / count, rounded half to even.

    Args:
        total: sum of mantissas.
        count: how many, at least one.
        exponent: of the total.
    """
    quotient, rest = divmod(total * 10**MEAN_DIGITS, count)
    if 2 * rest > count or (2 * rest == count and quotient % 2):
        quotient += 1
    return quotient, exponent - MEAN_DIGITS
