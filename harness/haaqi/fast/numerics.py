"""What the compiled stages share: how they are compiled, and logarithm and exponential that fill SIMD lanes.

All kernels run `for time: for band:` over rows of `BANDS` values, so that the compiler puts the bands side by side
into the lanes of a SIMD register; big arrays are (band, time) in single precision, and tiles of `TILE` samples are
transposed on the way in and out. Recursive filters compute in double precision.

The logarithm and the exponential of the C library work on one number at a time. The two here are a polynomial on
the mantissa and integer arithmetic on the exponent, which the compiler vectorises. The polynomials interpolate at
Chebyshev points, so their error is evenly spread; it is below the rounding of single precision.
"""

import os
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

from harness.haaqi.fast.code_cache import kept_on_disk

# numba reads settings from a file in the current folder, which is nobody's wish for this program.
numba.core.config._config_fname = os.devnull
numba.config.reload_config()

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]

SAMPLE_RATE = 24000.0
"""Hz, of every signal in the model."""

BANDS = 32
"""Auditory bands, 80 to 8000 Hz."""

TILE = 192
"""Samples that are worked on at a time: few enough for the cache, and a multiple of all windows' hops."""


def _compiler(*fastmath: str, forceinline: bool = False) -> Callable[..., Any]:
    """A decorator that compiles a function at its first call and keeps the code on disk.

    Functions that others call are inlined into them: a call could end in one of several copies that were compiled
    differently, and give other last digits.
    """
    options = {"error_model": "numpy", "fastmath": set(fastmath), "forceinline": forceinline}
    return lambda function: kept_on_disk(function, numba.njit(**options)(function))


# Sums may be reordered and products fused: neither matters to the scores. NaN and infinity keep their meaning.
_FREE = ("reassoc", "contract", "nsz", "arcp")
compiled, inlined = _compiler(*_FREE), _compiler(*_FREE, forceinline=True)
compiled_in_order = _compiler("contract")
_in_this_order = _compiler("contract", forceinline=True)
# Where every last digit matters.
as_written = _compiler(forceinline=True)


def _reinterpreter(source: Any, target: Any) -> Any:
    """A function for compiled code: the number of one of numba's types that has the same bits as one of another."""

    @intrinsic  # type: ignore[untyped-decorator]
    def reinterpreted(typing_context: Any, value: Any) -> Any:  # noqa: ARG001
        if value != source:
            raise TypeError(f"{source} expected")

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), code

    return reinterpreted


_bits, _float = _reinterpreter(types.float32, types.int32), _reinterpreter(types.int32, types.float32)
bits_of_double = _reinterpreter(types.float64, types.int64)
double_of_bits = _reinterpreter(types.int64, types.float64)


def _interpolate(function: Callable[[Any], Any], degree: int, low: float, high: float) -> tuple[np.float32, ...]:
    """Coefficients, lowest first, of the polynomial through a function's values at the Chebyshev points."""
    series = Chebyshev.interpolate(function, degree, domain=[low, high])
    return tuple(np.float32(value) for value in series.convert(kind=Polynomial, domain=[-1, 1], window=[-1, 1]).coef)


def _log2_ratio(f: Any) -> Any:
    """log2(1 + f) / f, also at 0."""
    small = np.abs(f) < 1e-6
    safe = np.where(small, 1.0, f)
    return np.where(small, (1 - f / 2) / np.log(2), np.log2(1 + safe) / safe)


# Mantissas from 0.75 to 1.5, so that the logarithm of numbers near 1 has no cancellation.
LOG2 = _interpolate(_log2_ratio, 8, -0.25, 0.5)
EXP2 = _interpolate(np.exp2, 6, -0.5, 0.5)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = LOG2
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = EXP2

_ONE = np.float32(1)
_ROUND = 1.5 * 2.0**52  # adding it to a float64 rounds to an integer


@inlined
def log2_parts(x: Any) -> Any:
    """Logarithm to base 2 of a positive, normal float32 as a whole number and the rest (-0.42 to 0.59, to about 3e-8).

    Both are float32: their sum in single precision would lose digits that the rest still has.
    """
    bits = _bits(x)
    # The exponent that brings the mantissa into 0.75 .. 1.5.
    exponent = np.int32(bits - np.int32(0x3F400000)) >> np.int32(23)
    f = _float(np.int32(bits - (exponent << np.int32(23)))) - _ONE
    p = _L8
    p = p * f + _L7
    p = p * f + _L6
    p = p * f + _L5
    p = p * f + _L4
    p = p * f + _L3
    p = p * f + _L2
    p = p * f + _L1
    p = p * f + _L0
    return np.float32(exponent), p * f


@_in_this_order
def round_parts(x: Any) -> Any:
    """A float64 as the nearest whole number and the rest (-0.5 to 0.5), both as float32."""
    shifted = x + _ROUND
    whole = shifted - _ROUND
    return np.float32(whole), np.float32(x - whole)


@inlined
def exp2_parts(whole: Any, rest: Any) -> Any:
    """2 to the power of the sum of a whole number from -126 to 126 and a rest from -0.5 to 0.5, to about 1e-7."""
    p = _E6
    p = p * rest + _E5
    p = p * rest + _E4
    p = p * rest + _E3
    p = p * rest + _E2
    p = p * rest + _E1
    p = p * rest + _E0
    return _float(np.int32((np.int32(whole) << np.int32(23)) + _bits(p)))


def inner(x: F64, y: F64) -> float:
    """Sum of products. By this thread alone: BLAS has others take part, which then wait for more, and keep cores busy.

    Args:
        x, y: (samples,).
    """
    return float(np.einsum("t,t->", x, y))
