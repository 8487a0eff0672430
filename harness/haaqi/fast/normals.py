"""NumPy's legacy normal numbers, many at a time: the same in single precision, bit for bit.

`RandomState.standard_normal` takes 32-bit words from the Mersenne Twister MT19937 (M. Matsumoto, T. Nishimura, ACM
Transactions on Modeling and Computer Simulation 8, 1998), makes a double of 53 bits of each two, and normal numbers by
the polar method (G. Marsaglia, T. A. Bray, SIAM Review 6, 1964): a point drawn in the square from -1 to 1 is rejected
unless it lies in the unit circle, and else gives two numbers. `polar` says it in plain Python. What is slow there is
one number at a time, with a call of the C library's logarithm for each two.

Here each step is a loop over many points that the compiler puts into SIMD lanes, with a logarithm of our own. That one
may be wrong in the last digits of a double, and single precision drops 29 of 53 bits: it is seen only in numbers that
lie next to the middle between two of single precision. These, about one in a million, are computed as NumPy does.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from harness.haaqi.fast.numerics import as_written, bits_of_double, compiled, double_of_bits

_TRIES = 624  # points at a time: few enough for the fastest cache

_BLOCK = 624  # words of state
_AHEAD = 397
_TWIST = np.uint32(0x9908B0DF)
_UPPER, _LOWER, _ODD = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(1)
_MASK_B, _MASK_C = np.uint32(0x9D2C5680), np.uint32(0xEFC60000)
_U, _S, _T, _L = np.uint32(11), np.uint32(7), np.uint32(15), np.uint32(18)
_DROP_FIRST, _DROP_SECOND = np.uint32(5), np.uint32(6)


def polar(uniform: Iterable[float]) -> Iterator[float]:
    """Normal numbers from numbers of 0 to 1, in the order of NumPy."""
    numbers = iter(uniform)
    for first, second in zip(numbers, numbers, strict=False):
        x1, x2 = 2 * first - 1, 2 * second - 1
        r2 = x1 * x1 + x2 * x2
        if 0 < r2 < 1:
            f = math.sqrt(-2 * math.log(r2) / r2)
            yield f * x2
            yield f * x1


@as_written
def _twisted(word, following, ahead):  # type: ignore[no-untyped-def]
    """The word of the next block in the place of a word of this one."""
    mixed = (word & _UPPER) | (following & _LOWER)
    return ahead ^ (mixed >> _ODD) ^ ((mixed & _ODD) * _TWIST)


@as_written
def _twist(key):  # type: ignore[no-untyped-def]
    """Replace a block of words by the next. Split where words of the next block are needed for its further ones."""
    for i in range(_BLOCK - _AHEAD):
        key[i] = _twisted(key[i], key[i + 1], key[i + _AHEAD])
    for i in range(_AHEAD - 1):
        at = i + _BLOCK - _AHEAD
        key[at] = _twisted(key[at], key[at + 1], key[i])
    key[_BLOCK - 1] = _twisted(key[_BLOCK - 1], key[0], key[_AHEAD - 1])


@as_written
def _temper(key, words):  # type: ignore[no-untyped-def]
    """The words that are given out for words of state."""
    for i in range(key.size):
        word = key[i]
        word ^= word >> _U
        word ^= (word << _S) & _MASK_B
        word ^= (word << _T) & _MASK_C
        words[i] = word ^ (word >> _L)


@as_written
def _next_words(key, position, words):  # type: ignore[no-untyped-def]
    """Fill words, and return the new position. A block is twisted when a word of the next one is due, not before."""
    done = 0
    while done < words.size:
        if position == _BLOCK:
            _twist(key)
            position = 0
        count = min(_BLOCK - position, words.size - done)
        _temper(key[position : position + count], words[done : done + count])
        position += count
        done += count
    return position


@as_written
def _coordinate(first, second):  # type: ignore[no-untyped-def]
    """Two words as a double from -1 to 1; every step is exact."""
    high, low = np.int32(first >> _DROP_FIRST), np.int32(second >> _DROP_SECOND)
    return 2.0 * ((np.float64(high) * 2.0**26 + np.float64(low)) / 2.0**53) - 1.0


@as_written
def _points(words, x1, x2, r2, inside):  # type: ignore[no-untyped-def]
    """A point of each four words: its coordinates, its squared distance from 0, and whether it is accepted."""
    for i in range(r2.size):
        x1[i] = _coordinate(words[4 * i], words[4 * i + 1])
        x2[i] = _coordinate(words[4 * i + 2], words[4 * i + 3])
        r2[i] = x1[i] * x1[i] + x2[i] * x2[i]
        inside[i] = 0 < r2[i] < 1


@as_written
def _factor(r2):  # type: ignore[no-untyped-def]
    """What the coordinates of an accepted point are multiplied by, as NumPy computes it."""
    return np.sqrt(-2.0 * math.log(r2) / r2)


# r2 = 2**exponent * mantissa, with mantissas from sqrt(1/2) to sqrt(2), so that numbers near 1 have no cancellation.
_LOWEST = np.float64(math.sqrt(0.5)).view(np.int64)
_MANTISSA_BITS = 52
_MANTISSA = np.int64(2**_MANTISSA_BITS - 1)
_LN_2 = math.log(2)

# log(m) = 2 atanh(s), s = (m - 1) / (m + 1), and 2 atanh(s) = s * P(s**2) (Abramowitz & Stegun 1964, 4.6.22 and
# 4.6.33). A polynomial of degree 6 through P at Chebyshev points is as good as double precision.
_LARGEST = ((math.sqrt(2) - 1) / (math.sqrt(2) + 1)) ** 2
_P0, _P1, _P2, _P3, _P4, _P5, _P6 = (
    Chebyshev.interpolate(lambda z: 2 * np.arctanh(np.sqrt(z)) / np.sqrt(z), 6, domain=[0, _LARGEST])
    .convert(kind=Polynomial, domain=[-1, 1], window=[-1, 1])
    .coef
)


@as_written
def _fast_factor(r2):  # type: ignore[no-untyped-def]
    """The same without a call, to some units in the last place of a double."""
    shifted = bits_of_double(r2) - _LOWEST
    exponent = np.float64(np.int32(shifted >> _MANTISSA_BITS))
    m = double_of_bits((shifted & _MANTISSA) + _LOWEST)
    # One division does for both s and the division by r2.
    inverse = 1.0 / ((m + 1.0) * r2)
    s = (m - 1.0) * (r2 * inverse)
    z = s * s
    p = _P6
    p = p * z + _P5
    p = p * z + _P4
    p = p * z + _P3
    p = p * z + _P2
    p = p * z + _P1
    p = p * z + _P0
    return np.sqrt(-2.0 * (exponent * _LN_2 + s * p) * ((m + 1.0) * inverse))


# Units in the last place of a double. In billions of numbers the two factors never made more than 8 of difference.
_MARGIN = 2**8
_MIDDLE, _PERIOD = 2**28, 2**29  # of the bits that single precision drops


@as_written
def _doubtful(number):  # type: ignore[no-untyped-def]
    """Whether a double is so near to the middle between two float32 that its last digits decide which it becomes."""
    return ((bits_of_double(number) + (_MARGIN - _MIDDLE)) & (_PERIOD - 2 * _MARGIN)) == 0


@as_written
def _normals(x1, x2, r2, normals, doubtful):  # type: ignore[no-untyped-def]
    """Two float32 of each point, whether one of them is doubtful, and of how many points. Rejected ones give any."""
    count = np.int64(0)
    for i in range(r2.size):
        f = _fast_factor(r2[i])
        first, second = f * x2[i], f * x1[i]
        normals[2 * i] = np.float32(first)
        normals[2 * i + 1] = np.float32(second)
        doubtful[i] = _doubtful(first) | _doubtful(second)
        count += np.int64(doubtful[i])
    return count


@as_written
def _next_true(flags, i):  # type: ignore[no-untyped-def]
    """Where the next flag is set, from i on; or how many there are."""
    while i < flags.size and not flags[i]:
        i += 1
    return i


@as_written
def _settle(x1, x2, r2, doubtful, normals):  # type: ignore[no-untyped-def]
    """Compute as NumPy does what is doubtful."""
    # Searched for in a loop of its own. In a single one, a compiler that knows a logarithm for SIMD would take that.
    i = _next_true(doubtful, 0)
    while i < r2.size:
        f = _factor(r2[i])
        normals[2 * i] = np.float32(f * x2[i])
        normals[2 * i + 1] = np.float32(f * x1[i])
        i = _next_true(doubtful, i + 1)


@as_written
def _keep(normals, inside, out, done):  # type: ignore[no-untyped-def]
    """Append the numbers of accepted points to the pairs in out that are done; return how many are done then."""
    for i in range(inside.size):
        # Written in any case, and written over if the point is rejected: a branch would be mispredicted too often.
        first, second = normals[2 * i], normals[2 * i + 1]
        out[2 * done] = first
        out[2 * done + 1] = second
        done += np.int64(inside[i])
    return done


@compiled
def draw_pairs(key, position, out):  # type: ignore[no-untyped-def]
    """Draw normal numbers, and no word more than they take.

    Args:
        key: (624,) uint32, the generator's block of words; receives the last one.
        position: of the next word in it, 0 to 624.
        out: (count,) float32, of even length, receives the numbers.

    Returns:
        The new position.
    """
    words, normals = np.empty(4 * _TRIES, np.uint32), np.empty(2 * _TRIES, np.float32)
    x1, x2, r2 = np.empty(_TRIES), np.empty(_TRIES), np.empty(_TRIES)
    inside, doubtful = np.empty(_TRIES, np.bool_), np.empty(_TRIES, np.bool_)
    done, pairs = 0, out.size // 2
    while done < pairs:
        # As many points as pairs are wanted: if all were accepted, none would be drawn in vain.
        n = min(_TRIES, pairs - done)
        position = _next_words(key, position, words[: 4 * n])
        _points(words, x1[:n], x2[:n], r2[:n], inside[:n])
        if _normals(x1[:n], x2[:n], r2[:n], normals, doubtful[:n]):
            _settle(x1[:n], x2[:n], r2[:n], doubtful[:n], normals)
        done = _keep(normals, inside[:n], out, done)
    return position
