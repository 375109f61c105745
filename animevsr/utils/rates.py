"""Frame rates as a person writes them."""

from __future__ import annotations

from fractions import Fraction


def parse_rate(value: int | str) -> Fraction:
    """Frame rate as an exact Fraction, from '24000/1001', 23.976 (which is 24000/1001), 25 or a Fraction."""
    try:
        rate = Fraction(value) if not isinstance(value, float) else Fraction(str(value))
        if max(rate.numerator, rate.denominator) >= 2**31:  # containers count in 32 bits
            rate = rate.limit_denominator(1_000_000)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"fps '{value}' is not a frame rate; write e.g. 25, 23.976 or 24000/1001") from None
    for ntsc in (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)):
        if abs(rate - ntsc) < Fraction(1, 200):
            return ntsc
    if not 0 < rate <= 1000:
        raise ValueError(f'fps must be above 0 and at most 1000, got {value}')
    return rate
