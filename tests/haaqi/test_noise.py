"""The stream of noise: NumPy's numbers to the last bit, and NumPy's state afterwards, however it is read."""

import math
import platform
from fractions import Fraction
from itertools import islice, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.haaqi.fast import noise, normals
from harness.haaqi.fast.noise import Noise
from harness.haaqi.fast.numerics import compiled


def generator(seed, position=None, left_over=None):
    """A generator at any place in its block of 624 words, with or without the second number of a pair left over."""
    made = np.random.RandomState(seed)
    _, key, at, _, _ = made.get_state()
    made.set_state(("MT19937", key, at if position is None else position, left_over is not None, left_over or 0.0))
    return made


def bits(values):
    return values.astype(np.float32).view(np.uint32)


def assert_same_numbers(found, due):
    assert found.dtype == np.float32
    assert np.array_equal(bits(found), bits(due))


def assert_same_state(one, other):
    (_, key, *rest), (_, due_key, *due) = one.get_state(), other.get_state()
    assert np.array_equal(key, due_key)
    assert rest == due


# The stream


@pytest.mark.parametrize(("seed", "count"), [(1, 6_000_000), (2, 6_000_001)])
def test_millions_of_numbers(seed, count):
    ours, numpys = generator(seed), generator(seed)
    assert_same_numbers(Noise(ours, count).read(0, count), numpys.standard_normal(count))
    assert_same_state(ours, numpys)


@pytest.mark.parametrize("left_over", [None, -1.2345678901234567])
def test_from_every_place_in_the_generators_block(left_over):
    for position in range(625):
        ours, numpys = generator(3, position, left_over), generator(3, position, left_over)
        stream = Noise(ours, 600)
        for start, count in (0, 1), (1, 2), (3, 3), (6, 500 + position % 2):
            assert_same_numbers(stream.read(start, count), numpys.standard_normal(count))
            assert_same_state(ours, numpys)


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    position=st.integers(0, 624),
    left_over=st.none() | st.floats(-8, 8),
    reads=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 2000)), max_size=8),
)
def test_any_reads_in_any_order(seed, position, left_over, reads):
    ours, numpys = generator(seed, position, left_over), generator(seed, position, left_over)
    stream = Noise(ours, 7000)
    due = np.empty(0)
    for start, count in reads:
        due = np.concatenate([due, numpys.standard_normal(max(start + count - len(due), 0))])
        assert_same_numbers(stream.read(start, count), due[start : start + count])
        assert_same_state(ours, numpys)


def test_nothing_is_drawn_beyond_the_capacity():
    ours = generator(5)
    stream = Noise(ours, 700)
    assert stream.capacity == 700
    with pytest.raises(ValueError, match="noise is read to 701, but there is room for 700"):
        stream.read(699, 2)
    assert_same_state(ours, generator(5))


def test_the_generator_is_drawn_from_by_others_in_between():
    ours, numpys = generator(6), generator(6)
    stream = Noise(ours, 1000)
    for start, count in (0, 333), (333, 333), (666, 334):
        assert_same_numbers(stream.read(start, count), numpys.standard_normal(count))
        assert ours.randint(1000, size=3).tolist() == numpys.randint(1000, size=3).tolist()


@pytest.fixture
def _own_global_generator():
    before, state = np.random.get_bit_generator(), np.random.get_state()
    yield
    np.random.set_bit_generator(before)
    np.random.set_state(state)


@pytest.mark.usefixtures("_own_global_generator")
@pytest.mark.parametrize("replaced", [False, True], ids=["MT19937", "replaced"])
def test_numpys_global_generator(replaced):
    def restart():
        if replaced:
            np.random.set_bit_generator(np.random.PCG64(7))
        else:
            np.random.seed(7)

    count = 2**18 + 5
    restart()
    due, next_due = np.random.standard_normal(count), np.random.standard_normal(3)
    restart()
    assert_same_numbers(Noise(np.random.mtrand._rand, count).read(0, count), due)
    assert np.array_equal(np.random.standard_normal(3), next_due)


# How the numbers are made


def points(seed, count):
    """Coordinates and squared distances of the first so many accepted points."""
    x1, x2 = 2 * generator(seed).random_sample((2 * count, 2)).T - 1
    r2 = x1 * x1 + x2 * x2
    inside = (r2 > 0) & (r2 < 1)
    return x1[inside][:count], x2[inside][:count], r2[inside][:count]


def test_the_polar_method_in_plain_python_is_numpys():
    uniform = generator(8).random_sample(30_000).tolist()
    due = np.array(list(normals.polar(uniform)))
    assert len(due) > 20_000
    if noise._numpy_is_polar():
        assert np.array_equal(generator(8).standard_normal(len(due)), due)
    out = np.empty(len(due), np.float32)
    _, key, position, *_ = generator(8).get_state()
    normals.draw_pairs(key, position, out)
    assert_same_numbers(out, due)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="NumPy may have been compiled otherwise")
def test_nearly_all_numbers_are_drawn_fast():
    assert noise._numpy_is_polar()
    for left_over, count, due in (None, 8, 8), (None, 9, 8), (0.5, 8, 7), (0.5, 9, 9), (0.5, 1, 1):
        assert noise._draw_fast(generator(9, 100, left_over), np.empty(count, np.float32)) == due


def test_a_numpy_that_fuses_product_and_sum_is_found_out():
    uniform = generator(0).random_sample(400)
    fused = []
    for x1, x2 in (2 * uniform - 1).reshape(-1, 2):
        r2 = float(Fraction(x1) ** 2 + Fraction(x2 * x2))
        if 0 < r2 < 1:
            f = np.sqrt(-2 * np.log(r2) / r2)
            fused += [f * x2, f * x1]
    right = list(islice(normals.polar(uniform.tolist()), 300))
    assert np.allclose(fused[:300], right, rtol=1e-12, atol=0)
    assert noise._are_polar(np.array(right), uniform)
    assert not noise._are_polar(np.array(fused[:300]), uniform)


def test_no_step_is_fused():
    words = np.random.RandomState(12).randint(2**32, size=4 * 50_000, dtype=np.uint64).astype(np.uint32)
    x1, x2, r2 = np.empty((3, 50_000))
    normals._points(words, x1, x2, r2, np.empty(50_000, np.bool_))
    high, low = (words >> np.uint32(5)).astype(float)[::2], (words >> np.uint32(6)).astype(float)[1::2]
    due = 2.0 * ((high * 67108864.0 + low) / 9007199254740992.0) - 1.0
    assert np.array_equal(np.stack([x1, x2], axis=1).ravel(), due)
    assert np.array_equal(r2, np.square(x1) + np.square(x2))


@compiled
def _factors(r2, fast, exact):
    for i in range(r2.size):
        fast[i] = normals._fast_factor(r2[i])
        exact[i] = normals._factor(r2[i])


def factors(r2):
    fast, exact = np.empty((2, len(r2)))
    _factors(r2, fast, exact)
    return fast, exact


def test_the_fast_factor_is_good_far_within_the_margin():
    steps = np.arange(1, 100_000) * 2.0**-53
    r2 = np.concatenate(
        [
            points(10, 500_000)[2],
            1 - steps,
            1 - np.exp(-np.linspace(0.1, 36, 100_000)),
            np.sqrt(0.5) * (1 + 2 * steps),
            np.sqrt(0.5) * (1 - 2 * steps),
            np.exp2(-np.arange(1.0, 105.0)),
            np.exp2(-np.linspace(1, 104, 100_000)),
        ]
    )
    fast, exact = factors(r2)
    assert np.abs(fast.view(np.int64) - exact.view(np.int64)).max() <= normals._MARGIN // 32


def test_doubtful_is_what_lies_next_to_the_middle_between_two_of_single_precision():
    for value in np.float32([1, 3.1, -0.7, 1e-20]):
        low, high = np.float64(value), np.float64(np.nextafter(value, np.float32(np.inf) * value))
        middle = (low + high) / 2
        for steps, due in (0, True), (255, True), (-256, True), (256, False), (-257, False), (2**27, False):
            assert normals._doubtful((np.int64(steps) + middle.view(np.int64)).view(np.float64)) is due
        assert not normals._doubtful(low)
        assert not normals._doubtful(high)
    assert not normals._doubtful(0.0)
    assert not normals._doubtful(np.nan)


@pytest.mark.parametrize("places", [(), (0,), (4, 5, 6, 9), (0, 48, 49), range(50)])
def test_all_that_is_doubtful_is_settled_and_nothing_else(places):
    doubtful = np.isin(np.arange(50), places)
    found = np.zeros(100, np.float32)
    normals._settle(*points(13, 50), doubtful, found)
    assert_same_numbers(found, np.where(np.repeat(doubtful, 2), generator(13).standard_normal(100), 0))


@pytest.mark.parametrize(("seed", "place"), [(295, 81_792), (6211, 18_564), (8335, 11_613)])
def test_a_number_that_the_fast_factor_alone_would_round_the_wrong_way(seed, place):
    """One of some 700 million is such a number."""
    x1, x2, r2 = points(seed, place // 2 + 1)
    fast = factors(r2)[0] * (x1 if place % 2 else x2)
    due = generator(seed).standard_normal(place + 2)
    assert np.flatnonzero(bits(fast) != bits(due[place % 2 :: 2])).tolist() == [place // 2]
    assert_same_numbers(Noise(generator(seed), place + 2).read(0, place + 2), due)


# Points at the edge


def undone(change, word):
    """The word that was `word ^ change(word)` before, for a change that only moves bits on."""
    before = word
    for _ in range(32):
        before = word ^ change(before)
    return before


def untempered(word):
    word = undone(lambda y: y >> np.uint32(18), word)
    word = undone(lambda y: (y << np.uint32(15)) & np.uint32(0xEFC60000), word)
    word = undone(lambda y: (y << np.uint32(7)) & np.uint32(0x9D2C5680), word)
    return undone(lambda y: y >> np.uint32(11), word)


def test_points_at_the_centre_on_the_circle_and_next_to_them():
    # In steps of 2**-52, in which NumPy draws them.
    one, root = 2**52, math.isqrt(2**103)
    coordinates = (-one, 1 - one, -root, -(2**26), -1, 0, 1, 2**26, one // 2, root, root + 1, one - 1)
    plane = np.ravel(list(product(coordinates, repeat=2)))
    words = np.stack([(plane + one) >> 26 << 5, ((plane + one) & 2**26 - 1) << 6], axis=1).astype(np.uint32)
    key = generator(11).get_state()[1]
    key[: words.size] = untempered(words.ravel())

    def edge():
        made = np.random.RandomState()
        made.set_state(("MT19937", key, 0, 0, 0.0))
        return made

    drawn = 2 * edge().random_sample(len(plane)) - 1
    assert np.array_equal(drawn, plane / one)
    r2 = np.square(drawn).reshape(-1, 2).sum(axis=1)
    assert {0.0, 1.0} < set(r2)
    assert 0 < 1 - r2[r2 < 1].max() < 1e-15
    ours, numpys = edge(), edge()
    assert_same_numbers(Noise(ours, 401).read(0, 401), numpys.standard_normal(401))
    assert_same_state(ours, numpys)
