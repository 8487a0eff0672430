"""SIMD vectors: every operation on all lanes against NumPy, also for NaN and infinity; logarithm and exponential."""

import operator

import numba
import numpy as np
import pytest

from harness.haaqi.fast.numerics import compiled
from harness.haaqi.fast.single import functions
from harness.haaqi.fast.single import vectors as v
from harness.haaqi.fast.single.vectors import LANES

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-40, -1e-40, 3.4e38, -3.4e38, 0.5, 2.5, -1.5, 1e-30, 7.25]


def numbers(dtype):
    """Two flat arrays: all pairs of special numbers, and some of all sizes."""
    random = np.random.RandomState(1)
    wide = random.standard_normal((2, 100 * LANES)) * np.exp2(random.uniform(-60, 60, (2, 100 * LANES)))
    pairs = np.array([(a, b) for a in SPECIAL for b in SPECIAL]).T
    with np.errstate(over="ignore"):
        return np.concatenate([pairs, wide], axis=1).astype(dtype)


@compiled
def _floats(a, b, out):
    size = a.size
    for i in range(0, size, LANES):
        x, y = v.load(a, i), v.load(b, i)
        v.store(out, i, x + y)
        v.store(out, size + i, x - y)
        v.store(out, 2 * size + i, x * y)
        v.store(out, 3 * size + i, x / y)
        v.store(out, 4 * size + i, v.larger(x, y))
        v.store(out, 5 * size + i, v.smaller(x, y))
        v.store(out, 6 * size + i, v.root(x))
        v.store(out, 7 * size + i, v.nearest(x))
        v.store(out, 8 * size + i, v.magnitude(x))


def _floats_plainly(x, y):
    return [
        x + y, x - y, x * y, x / y, np.where(x > y, x, y), np.where(x < y, x, y), np.sqrt(x), np.rint(x), np.abs(x),
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arithmetic(dtype):
    a, b = numbers(dtype)
    out = np.empty(9 * a.size, dtype)
    _floats(a, b, out)
    with np.errstate(all="ignore"):
        due = _floats_plainly(a, b)
    for name, found, expected in zip(
        ("add", "sub", "mul", "div", "larger", "smaller", "root", "nearest", "magnitude"),
        out.reshape(9, -1), due, strict=True,
    ):  # fmt: skip
        assert np.array_equal(found, expected, equal_nan=True), name
    # Where neither is larger the second one is taken, also of zeros of both signs; where the second is none, so is it.
    for found, expected in ((out[4 * a.size : 5 * a.size], due[4]), (out[5 * a.size : 6 * a.size], due[5])):
        zero = expected == 0
        assert zero.any()
        assert np.array_equal(np.signbit(found[zero]), np.signbit(expected[zero]))
        assert np.isnan(found[np.isnan(b)]).all()
        assert np.array_equal(found[np.isnan(a)], b[np.isnan(a)], equal_nan=True)


@compiled
def _masks(a, b, out):
    size = a.size
    for i in range(0, size, LANES):
        x, y = v.load(a, i), v.load(b, i)
        v.store(out, i, v.above(x, y))
        v.store(out, size + i, v.reaches(x, y))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_comparisons_give_masks_and_are_false_for_nan(dtype):
    if dtype == np.int32:
        a, b = np.random.RandomState(2).randint(-3, 3, (2, 64 * LANES)).astype(dtype)
        a[:2], b[:2] = (-(2**31), 2**31 - 1), (2**31 - 1, -(2**31))
    else:
        a, b = numbers(dtype)
    out = np.empty(2 * a.size, np.int32)
    _masks(a, b, out)
    assert np.array_equal(out[: a.size], np.where(a > b, -1, 0))
    assert np.array_equal(out[a.size :], np.where(a >= b, -1, 0))


@compiled
def _choices(mask, a, b, out, any_of):
    for i in range(0, a.size, LANES):
        chosen = v.load(mask, i)
        v.store(out, i, v.choose(chosen, v.load(a, i), v.load(b, i)))
        any_of[i // LANES] = v.some(chosen)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_choice(dtype):
    rows = 2 * LANES
    mask = np.zeros((rows, LANES), np.int32)
    for lane in range(LANES):  # one lane alone, then all but one
        mask[lane, lane] = -1
        mask[LANES + lane] = -1
        mask[LANES + lane, lane] = 0
    mask = np.concatenate([mask, np.zeros((1, LANES), np.int32)]).reshape(-1)
    if dtype == np.int32:
        a, b = np.arange(mask.size, dtype=dtype), -np.arange(mask.size, dtype=dtype)
    else:
        a, b = np.resize(numbers(dtype), (2, mask.size))
    out, any_of = np.empty(mask.size, dtype), np.empty(rows + 1, np.bool_)
    _choices(mask, a, b, out, any_of)
    due = np.where(mask != 0, a, b)
    assert np.array_equal(out, due, equal_nan=dtype != np.int32)
    assert np.array_equal(np.signbit(out), np.signbit(due))
    assert any_of.tolist() == [True] * rows + [False]


@compiled
def _integers(a, b, shift, out):
    size = a.size
    for i in range(0, size, LANES):
        x, y, s = v.load(a, i), v.load(b, i), v.load(shift, i)
        v.store(out, i, x + y)
        v.store(out, size + i, x - y)
        v.store(out, 2 * size + i, x << s)
        v.store(out, 3 * size + i, x >> s)
        v.store(out, 4 * size + i, x & y)
        v.store(out, 5 * size + i, v.bits(v.from_bits(x)))
        v.store(out, 6 * size + i, v.to_int(v.to_float(y >> v.splat(np.int32(8)))))


def test_integers():
    a, b = np.random.RandomState(3).randint(-(2**31), 2**31, (2, 50 * LANES)).astype(np.int32)
    shift = np.random.RandomState(4).randint(0, 32, a.size).astype(np.int32)
    out = np.empty(7 * a.size, np.int32)
    _integers(a, b, shift, out)
    due = [a + b, a - b, a << shift, a >> shift, a & b, a, b >> 8]
    assert np.array_equal(out.reshape(7, -1), due)


@compiled
def _conversions(x, y, integers, wide, single):
    size = x.size
    for i in range(0, size, LANES):
        value = v.load(x, i)
        v.store(integers, i, v.bits(value))
        v.store(integers, size + i, v.to_int(value))
        v.store(wide, i, v.widen(value))
        v.store(single, i, v.narrow(v.load(y, i)))
        v.store(single, size + i, v.narrow(value))
        v.store(single, 2 * size + i, v.to_float(v.bits(value)))
        v.store(single, 3 * size + i, v.from_bits(v.bits(value)))


def test_conversions():
    x = np.random.RandomState(5).uniform(-1e6, 1e6, 10 * LANES).astype(np.float32)
    y = np.random.RandomState(6).standard_normal(x.size) * 1e20
    y[:4] = np.nan, np.inf, 1e300, -1e-300
    integers, wide, single = np.empty(2 * x.size, np.int32), np.empty(x.size), np.empty(4 * x.size, np.float32)
    _conversions(x, y, integers, wide, single)
    assert np.array_equal(integers.reshape(2, -1), [x.view(np.int32), np.trunc(x)])
    assert np.array_equal(wide, x)
    with np.errstate(over="ignore"):
        due = [y.astype(np.float32), x, x.view(np.int32).astype(np.float32), x]
    assert np.array_equal(single.reshape(4, -1), due, equal_nan=True)


@compiled
def _spread(single, double, integer, out, out_64, out_32, at):
    v.store(out, at, v.splat(single))
    v.store(out_64, at, v.splat(double))
    v.store(out_32, at, v.splat(integer))
    # A hint: it need not lie in the array.
    v.prefetch(out, at + 10**12)
    v.prefetch(out, -(10**12))


def test_vectors_begin_anywhere_and_write_no_more_than_their_lanes():
    for at in range(5):
        arrays = [np.zeros(LANES + 5, dtype) for dtype in (np.float32, np.float64, np.int32)]
        _spread(np.float32(1.5), 0.1, np.int32(-7), *arrays, at)
        for array, value in zip(arrays, (1.5, 0.1, -7), strict=True):
            due = np.zeros(LANES + 5)
            due[at : at + LANES] = value
            assert np.array_equal(array, due)


def test_a_vector_goes_into_arrays_of_its_own_numbers_alone():
    @numba.njit
    def wrong(x, out):
        v.store(out, 0, v.load(x, 0))

    with pytest.raises(TypeError, match="cannot be stored in an array of float64"):
        wrong(np.zeros(LANES, np.float32), np.zeros(LANES))


def test_vectors_of_different_numbers_do_not_mix():
    @numba.njit
    def wrong(x, y, out):
        v.store(out, 0, operator.add(v.load(x, 0), v.load(y, 0)))

    with pytest.raises(numba.TypingError):
        wrong(np.zeros(LANES, np.float32), np.zeros(LANES), np.zeros(LANES))


@compiled
def _there(rows, starts, time, out, at):
    v.read_rows(rows, starts, time, out, at)


@compiled
def _back(rows, starts, time, vectors, at):
    v.write_rows(rows, starts, time, vectors, at)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_come_side_by_side_and_go_back(dtype):
    random = np.random.RandomState(7)
    rows = random.standard_normal(LANES * 100).astype(dtype)
    starts = np.array([lane * 100 + random.randint(0, 50) for lane in range(LANES)])
    time, at = 13, 5
    out = np.zeros(LANES * LANES + 10, dtype)
    _there(rows, starts, time, out, at)
    due = np.array([[rows[starts[lane] + time + t] for lane in range(LANES)] for t in range(LANES)])
    assert np.array_equal(out[at:-5].reshape(LANES, LANES), due)
    assert not out[:at].any()
    assert not out[-5:].any()

    again = np.zeros_like(rows)
    _back(again, starts, time, out, at)
    expected = np.zeros_like(rows)
    for lane in range(LANES):
        own = slice(starts[lane] + time, starts[lane] + time + LANES)
        expected[own] = rows[own]
    assert np.array_equal(again, expected)


# Logarithm and exponential


@compiled
def _log2(x, whole, rest):
    for i in range(0, x.size, LANES):
        a, b = functions.log2(v.load(x, i))
        v.store(whole, i, a)
        v.store(rest, i, b)


@compiled
def _exp2(x, out):
    for i in range(0, x.size, LANES):
        v.store(out, i, functions.exp2(v.load(x, i)))


def test_logarithm_of_all_normal_numbers():
    """The sum of both parts is as good as the rest's digits; near 1 the logarithm keeps its relative precision."""
    x = np.exp2(np.linspace(-126, 127.999, 400_000 // LANES * LANES)).astype(np.float32)
    x[:4] = np.finfo(np.float32).tiny, np.finfo(np.float32).max, 0.75, np.nextafter(np.float32(0.75), np.float32(0))
    whole, rest = np.empty_like(x), np.empty_like(x)
    _log2(x, whole, rest)
    assert np.array_equal(whole, np.rint(whole))
    assert rest.min() > -0.4151
    assert rest.max() < 0.5850
    assert np.abs(whole.astype(float) + rest - np.log2(x.astype(float))).max() < 1e-7

    near = (1 + np.linspace(-0.2, 0.4, 1001 // LANES * LANES)).astype(np.float32)
    near = near[: near.size // LANES * LANES]
    whole, rest = np.empty_like(near), np.empty_like(near)
    _log2(near, whole, rest)
    due = np.log2(near.astype(float))
    assert (whole == 0).all()
    assert np.abs(rest - due).max() < 1e-7
    assert (np.abs(rest - due) <= 4e-7 * np.abs(due)).all()


def test_exponential_from_the_smallest_to_the_largest():
    x = np.linspace(-126, 126, 200_000 // LANES * LANES).astype(np.float32)
    x[:5] = -126, 126, 0, 0.5, -0.5
    out = np.empty_like(x)
    _exp2(x, out)
    # Half a unit in the last place is 6e-8; the polynomial's own error and its steps' rounding come to about another.
    assert np.abs(out / np.exp2(x.astype(float)) - 1).max() < 2e-7
    assert out[2] == 1
