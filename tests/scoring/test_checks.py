"""Which parts of fast scores are checked: drawn at random, then the closest, as many as are due and no more."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness.challenge import CAD1, EARS
from harness.haaqi.evaluator import Score
from harness.scoring.checks import disagreement, disputes, furthest, is_suspect, to_check
from harness.scoring.tasks import Checked, PartCheck
from harness_leaderboard.checks import CHECK_TOLERANCE, CheckRecord, checks_due, double_checks_due
from harness_leaderboard.records import EvaluationSetRecord, PairRecord, RunStatus, ScoreRecord, StoredRun

LISTENERS = 20
SCENES = 100


def fast(left=0.5, in_double=(), margin=None, closest=None):
    return ScoreRecord("fast", left, 0.5, (left + 0.5) / 2, "2024", "4" * 64, None, None, in_double, margin, closest)


def locked(left=0.5):
    return ScoreRecord("locked", left, 0.5, (left + 0.5) / 2, "2024", "4" * 64)


def stored_run(scenes=SCENES, created_at="2024-01-31T12:00:00Z", **scores):
    """A run of 100 scenes for 20 listeners each, 4000 ears; `scores` are those of all pairs."""
    ids = [(f"scene_{scene:05}", f"L{who:04}") for scene in range(scenes) for who in range(LISTENERS)]
    status = RunStatus(
        id=1,
        name=None,
        visibility="shown",
        run=SimpleNamespace(key="0" * 64),
        evaluation_set=EvaluationSetRecord("set", "valid", "1" * 64, scenes, len(ids)),
        fingerprint="2" * 64,
        created_at=created_at,
        updated_at=created_at,
    )
    scores = {"locked": None, "fast": None, **scores}
    return StoredRun(
        status, {each: PairRecord(*each, "track", "5" * 64, "scored", None, "3" * 64, 0, **scores) for each in ids}
    )


def changed(run, ids, **records):
    """The run with other records for some pairs."""
    return replace(run, pairs={**run.pairs, **{each: replace(run.pairs[each], **records) for each in ids}})


def with_checks(run, found, gap=0.0):
    """The run with these checks made, as `to_check` asks for them."""
    for pair_id, made in found.items():
        pair = run.pairs[pair_id]
        checks = tuple(
            CheckRecord(part, by, getattr(pair.fast, part) + gap, getattr(pair.fast, part), "4" * 64, "2024")
            for part, by in made
        )
        run = changed(run, [pair_id], checks=(*pair.checks, *checks))
    return run


def parts_of(found, by):
    """The pairs and parts that are checked by one of both."""
    return {(pair_id, part) for pair_id, made in found.items() for part, of in made if of == by}


def drawn(run, todo=frozenset(), without_file=frozenset(), share=None, **options):
    return to_check(run, EARS, set(todo), set(without_file), share, **options)


def counts(found):
    return len(parts_of(found, "locked")), len(parts_of(found, "fast64"))


# How many


@pytest.mark.parametrize(
    ("parts", "by_locked", "by_double"),
    [
        *((0, 0, 0), (1, 0, 1), (2, 0, 2), (16, 0, 2), (100, 0, 2), (101, 0, 3), (639, 0, 13), (640, 1, 13)),
        *((1279, 1, 26), (1280, 2, 26), (38_400, 60, 768), (51_200, 80, 1024), (1_000_000, 80, 20_000)),
    ],
)
def test_how_many_checks_are_due(parts, by_locked, by_double):
    assert (checks_due(parts), double_checks_due(parts)) == (by_locked, by_double)


def test_checks_take_a_fifth_of_the_time_and_those_by_the_locked_evaluator_a_tenth():
    """In ears by the fast engine: 80 of them take as long as one by the locked evaluator, 4 as one in double."""
    for parts in range(640, 100_000, 7):
        of_locked, in_double = 80 * checks_due(parts), 4 * double_checks_due(parts)
        assert of_locked / (parts + of_locked + in_double) <= 0.105
        assert of_locked + in_double <= 0.21 * parts


@pytest.mark.parametrize("count", [0, 1, 20, 320, 321, 640, 2000])
def test_half_of_the_checks_are_made_while_scoring_and_half_at_the_end(count):
    run = stored_run()
    todo = set(sorted(run.pairs)[:count])
    first = drawn(run, todo)
    assert first.keys() <= todo
    due = checks_due(2 * count), double_checks_due(2 * count)
    assert counts(first) == tuple(-(-number // 2) for number in due) if count else first == {}
    assert first == drawn(run, todo)
    scored = with_checks(changed(run, todo, fast=fast()), first)
    rest = drawn(scored)
    assert counts(rest) == tuple(number // 2 for number in due)
    for by in ("locked", "fast64"):
        assert not parts_of(first, by) & parts_of(rest, by)
    assert drawn(with_checks(scored, rest)) == {}


def test_the_eight_stems_are_parts_of_their_own():
    run = stored_run(scenes=8)
    found = to_check(run, CAD1.signals, set(run.pairs), set())
    assert counts(found) == (1, 13)
    assert {part for made in found.values() for part, _ in made} <= set(CAD1.signals)


# Which


def test_those_that_are_drawn_are_spread_over_scenes_listeners_and_ears():
    run = stored_run()
    found = drawn(run, run.pairs.keys(), engine="fast")
    in_double = parts_of(found, "fast64")
    assert len(in_double) == 40
    assert len({scene for (scene, _), _ in in_double}) == 40
    assert set(Counter(listener for (_, listener), _ in in_double).values()) == {2}
    assert {part for _, part in in_double} == set(EARS)
    # The two kinds are drawn apart.
    assert not parts_of(found, "locked") <= in_double


def test_the_rest_are_the_closest():
    run = stored_run(fast=fast(margin=900.0, closest="left"))
    first = drawn(run, run.pairs.keys())
    run = with_checks(run, first)
    free = sorted(run.pairs.keys() - first.keys())[:60]
    for place, pair_id in enumerate(free):
        run = changed(run, [pair_id], fast=fast(margin=1.0 + place, closest="right"))
    rest = drawn(run)
    assert counts(rest) == (3, 40)
    assert parts_of(rest, "fast64") == {(pair_id, "right") for pair_id in free[:40]}
    assert parts_of(rest, "locked") == {(pair_id, "right") for pair_id in free[:3]}
    # Where there is no file, the next closest.
    assert parts_of(drawn(run, without_file=free[:1]), "locked") == {(pair_id, "right") for pair_id in free[1:4]}
    # What was tried is not tried again.
    tried = {(free[1], ("right", "locked"))}
    assert parts_of(drawn(run, tried=tried), "locked") == {(free[place], "right") for place in (0, 2, 3)}


def test_what_is_in_double_precision_is_not_checked_by_it():
    run = stored_run(fast=fast(in_double=("left",)))
    found = drawn(run)
    assert counts(found) == (checks_due(4000), double_checks_due(2000))
    assert {part for _, part in parts_of(found, "fast64")} == {"right"}
    assert {part for _, part in parts_of(found, "locked")} == set(EARS)
    assert counts(drawn(stored_run(fast=fast(in_double=EARS)))) == (6, 0)
    # Of scores from before nobody knows.
    assert counts(drawn(stored_run(fast=fast(in_double=None)))) == (6, 0)
    assert counts(drawn(run, run.pairs.keys(), engine="fast64")) == (3, 0)


def test_the_sample_of_a_run_stays_the_same_when_it_goes_on():
    run = stored_run()
    sample = drawn(run, run.pairs.keys())
    # Some are scored, and of these some are checked; then the run goes on.
    done = set(sorted(run.pairs)[:1200]) - set(sorted(sample)[-3:])
    partly = changed(run, done, fast=fast())
    left = run.pairs.keys() - done
    assert drawn(partly, left) == sample
    checked = {pair_id: made for pair_id, made in sample.items() if pair_id in done}
    assert drawn(with_checks(partly, checked), left) == {
        pair_id: made for pair_id, made in sample.items() if pair_id not in done
    }
    # A check that failed is no check.
    assert drawn(with_checks(partly, checked, gap=2e-6), left) == sample


def test_locked_scores_of_whole_pairs_are_checks_of_both_ears():
    """As runs from before have them: 1 % of the pairs, at least 2."""
    run = stored_run(fast=fast(in_double=None))
    assert counts(drawn(run)) == (6, 0)
    both = changed(run, sorted(run.pairs)[:20], locked=locked())
    assert drawn(both) == {}
    apart = changed(run, sorted(run.pairs)[:20], locked=locked(0.51))
    # The right ears agree.
    assert drawn(apart) == {}
    assert counts(drawn(changed(run, sorted(run.pairs)[:2], locked=locked()))) == (2, 0)


def test_pairs_without_file_are_passed_over():
    run = stored_run(fast=fast())
    sample = drawn(run)
    gone = set(sorted(sample)[:30])
    instead = drawn(run, without_file=gone)
    assert counts(instead) == counts(sample) == (6, 80)
    assert not instead.keys() & gone
    assert sample.keys() - gone <= instead.keys()


def test_the_sample_depends_on_when_a_run_was_entered():
    one, other = stored_run(), stored_run(created_at="2024-01-31T12:00:01Z")
    assert drawn(one, one.pairs.keys()) != drawn(other, other.pairs.keys())


# Parts of a run


def test_parts_of_a_run_draw_one_sample_and_each_checks_its_own():
    run = stored_run()
    whole = drawn(run, run.pairs.keys())
    shares = [set(sorted(run.pairs)[start::7]) for start in range(7)]
    of_shares = [drawn(run, share, share=share) for share in shares]
    assert {pair_id: made for found in of_shares for pair_id, made in found.items()} == whole
    assert sum(map(len, of_shares)) == len(whole)
    # Also when others have come further, and when it goes on itself.
    further = changed(run, shares[1], fast=fast())
    assert drawn(further, shares[0], share=shares[0]) == of_shares[0]


def test_parts_of_a_run_make_together_as_many_checks_as_are_due():
    run = stored_run()
    shares = [set(sorted(run.pairs)[start::7]) for start in range(7)]
    for share in shares:
        first = drawn(run, share, share=share)
        run = with_checks(changed(run, share, fast=fast(margin=3.0, closest="left")), first)
        rest = drawn(run, share=share)
        assert rest.keys() <= share
        run = with_checks(run, rest)
        assert drawn(run, share=share) == {}
    assert drawn(run) == {}
    made = Counter(check.by for pair in run.pairs.values() for check in pair.checks)
    assert made == {"locked": checks_due(4000), "fast64": double_checks_due(4000)}


def test_what_has_failed_in_a_part_is_replaced_there():
    run = stored_run()
    shares = [set(sorted(run.pairs)[start::7]) for start in range(7)]
    gone = {min(drawn(run, shares[0], share=shares[0]))}
    for share in shares:
        assert drawn(run, share, gone, share).keys() <= share - gone


# Disagreements


def test_scores_disagree_by_more_than_the_tolerance():
    score = Score(0.5, 0.25)

    def check(value, part="right", by="locked"):
        return PartCheck(part, by, score.parts[part], value)

    assert disagreement(Checked(score)) is None
    assert disagreement(Checked(score, None, (check(0.25 + 0.9 * CHECK_TOLERANCE), check(0.5, "left")))) is None
    far = disagreement(Checked(score, None, (check(0.5 + 1.1e-6, "left"), check(0.2500012))))
    assert far == "the fast engine gives the right ear 0.25, the locked evaluator 0.2500012"
    assert "the right ear 0.25, its double precision nan" in str(
        disagreement(Checked(score, None, (check(float("nan"), by="fast64"),)))
    )
    assert disagreement(Checked(score, None, (check("it is silent"),))) == (
        "the fast engine gives the right ear 0.25, the locked evaluator no score (it is silent)"
    )
    assert disagreement(Checked(score, Score(0.5, 0.2500012))) == far
    assert disagreement(Checked("no luck", Score(0.5, 0.25))) == (
        "the fast engine gives no score (no luck), the locked evaluator 0.5 and 0.25"
    )
    assert "the locked evaluator no score (no luck)" in str(disagreement(Checked(score, "no luck")))


def test_a_difference_in_one_stem_is_a_disagreement():
    names = dict.fromkeys(CAD1.signals, 0.5)
    same = Score(0.5, 0.5, names)
    assert disagreement(Checked(same, Score(0.5, 0.5, dict(names)))) is None
    # The ears' means agree: one stem is as much too high as another one too low.
    other = Score(0.5, 0.5, {**names, "right_vocals": 0.5 + 3e-6, "right_drums": 0.5 - 2e-6})
    assert disagreement(Checked(same, other)) == (
        f"the fast engine gives the vocals of the right ear 0.5, the locked evaluator {0.5 + 3e-6!r}"
    )
    assert disagreement(Checked(same, None, (PartCheck("left_bass", "fast64", 0.5, 0.4),))) == (
        "the fast engine gives the bass of the left ear 0.5, its double precision 0.4"
    )
    near = Score(0.5, 0.5, {**names, "right_vocals": 0.5 + CHECK_TOLERANCE / 2})
    assert disagreement(Checked(same, near)) is None
    assert furthest(Score(0.25, 0.5), Score(0.25, 0.75)) == ("the right ear", 0.5, 0.75)


def test_a_pair_with_a_check_that_disagrees_is_suspect():
    run = stored_run(scenes=1, fast=fast())
    pair_id = min(run.pairs)
    assert not is_suspect(with_checks(run, {pair_id: [("left", "fast64")]}).pairs[pair_id])
    found = with_checks(run, {pair_id: [("left", "fast64"), ("right", "locked")]}, gap=2e-6).pairs[pair_id]
    assert is_suspect(found)
    assert disputes(found) == [("left", "fast64"), ("right", "locked")]
