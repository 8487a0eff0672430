"""Logarithm and exponential of vectors: the polynomials of `numerics`, on all lanes."""

from typing import Any

import numpy as np

from harness.haaqi.fast.numerics import EXP2, LOG2, inlined
from harness.haaqi.fast.single.vectors import bits, from_bits, nearest, splat, to_float, to_int

_ONE = np.float32(1)
_LOWEST_MANTISSA = np.int32(0x3F400000)  # 0.75
_EXPONENT = np.int32(23)  # bits of a mantissa


@inlined
def log2(x: Any) -> Any:
    """Logarithm to base 2 of positive, normal numbers as a whole number and the rest (`numerics.log2_parts`)."""
    raw = bits(x)
    exponent = (raw - splat(_LOWEST_MANTISSA)) >> splat(_EXPONENT)
    f = from_bits(raw - (exponent << splat(_EXPONENT))) - splat(_ONE)
    p = splat(LOG2[8])
    p = p * f + splat(LOG2[7])
    p = p * f + splat(LOG2[6])
    p = p * f + splat(LOG2[5])
    p = p * f + splat(LOG2[4])
    p = p * f + splat(LOG2[3])
    p = p * f + splat(LOG2[2])
    p = p * f + splat(LOG2[1])
    p = p * f + splat(LOG2[0])
    return to_float(exponent), p * f


@inlined
def exp2(x: Any) -> Any:
    """2 to the power of x, from -126 to 126, to about 1e-7."""
    whole = nearest(x)
    rest = x - whole
    p = splat(EXP2[6])
    p = p * rest + splat(EXP2[5])
    p = p * rest + splat(EXP2[4])
    p = p * rest + splat(EXP2[3])
    p = p * rest + splat(EXP2[2])
    p = p * rest + splat(EXP2[1])
    p = p * rest + splat(EXP2[0])
    return from_bits((to_int(whole) << splat(_EXPONENT)) + bits(p))
