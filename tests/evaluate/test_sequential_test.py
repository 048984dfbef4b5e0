"""The sequential test: what it drops, how seldom it errs, what it costs; and the scores it leaves behind."""

import itertools

import numpy as np
import pytest
from scipy import stats

from isodiff.errors import InputError
from isodiff.evaluate.sequential_test import StoppingRule, sequential_test


class Table:
    """Scores prepared for every criterion, item, option and draw; remembers what was asked for."""

    def __init__(self, *criteria: np.ndarray) -> None:
        self.scores = np.stack(criteria)
        self.asked: list[tuple[int, int, int]] = []

    def __call__(self, pairs, draws):
        self.asked += [(i, j, d) for i, j in pairs for d in draws]
        return np.stack(
            [[c[i, j, draws.start : draws.stop] for i, j in pairs] for c in self.scores]
        )


def noisy(means, noise, shared, *, items, draws, seed=0):
    """items x options x draws: a mean, noise of the option, and noise that the options share."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0, noise, (items, len(means), draws))
    return np.array(means)[:, None] + own + rng.normal(0, shared, (items, 1, draws))


def test_looks_double_up_to_the_last():
    assert StoppingRule(most=128).looks == (2, 4, 8, 16, 32, 64, 128)
    assert StoppingRule(most=100).looks == (2, 4, 8, 16, 32, 64, 100)
    assert StoppingRule(most=2).looks == (2,)
    assert StoppingRule(most=1).looks == (1,)


@pytest.mark.parametrize(
    ("rules", "message"),
    [({"error": 0.0}, "error must be more than 0"), ({"most": 0}, "most must be at least 1")],
)
def test_rules_that_make_no_sense(rules, message):
    with pytest.raises(InputError, match=message):
        StoppingRule(**rules)


def test_exact_scores_take_one_draw():
    table = Table(np.array([[[3.0], [1.0], [2.0]], [[0.0], [0.0], [5.0]]]))
    first, tied = sequential_test([3, 3], table, None)
    assert (first.best, first.undecided, first.draws) == ((1,), (False,), (1, 1, 1))
    assert tied.best == (0,) and tied.undecided == (True,)
    assert sorted(table.asked) == [(i, j, 0) for i in range(2) for j in range(3)]


def test_noise_in_common_decides_at_once_and_drops_the_rest():
    """Differences without noise of their own: the second look is never needed."""
    table = Table(noisy([5.0, 4.0, 6.0], 0, 30, items=1, draws=128))
    (found,) = sequential_test([3], table, StoppingRule())
    assert found.best == (1,) and found.undecided == (False,) and found.draws == (2, 2, 2)
    scores = np.array(found.scores[0])
    np.testing.assert_allclose(scores - scores[1], [1, 0, 2], atol=1e-12)


def test_draws_are_nested_and_never_repeated():
    table = Table(noisy([0.0, 0.3, 2.0], 1, 1, items=20, draws=64))
    found = sequential_test([3] * 20, table, StoppingRule(most=64))
    assert len(set(table.asked)) == len(table.asked) == sum(sum(one.draws) for one in found)
    for item, one in enumerate(found):
        for option, count in enumerate(one.draws):
            assert {d for i, j, d in table.asked if (i, j) == (item, option)} == {*range(count)}
            assert count in StoppingRule(most=64).looks
    assert any(min(one.draws) < max(one.draws) for one in found)


def test_the_best_option_is_dropped_no_more_often_than_stated():
    """2000 items of equal options, the hardest case, and 2000 of close ones, at error 0.2."""
    for means in ([0.0, 0.0, 0.0], [0.0, 0.2, 0.2]):
        table = Table(noisy(means, 1, 3, items=2000, draws=32, seed=1))
        found = sequential_test([3] * 2000, table, StoppingRule(error=0.2, most=32))
        lost = sum(one.best != (0,) and not one.undecided[0] for one in found)
        assert lost / 2000 < 0.2
    # The bound is not vacuous: at error 0.9 some are lost.
    table = Table(noisy([0.0, 0.0, 0.0], 1, 3, items=500, draws=32, seed=1))
    found = sequential_test([3] * 500, table, StoppingRule(error=0.9, most=32))
    assert sum(one.best != (0,) and not one.undecided[0] for one in found) > 0


@pytest.mark.parametrize(("options", "most"), [(2, 2), (3, 8), (20, 4), (100, 128)])
def test_a_margin_is_corrected_for_rivals_and_looks(options, most):
    """Student's quantile at error / ((options - 1) looks), times the standard error of the mean."""
    rng = np.random.default_rng(4)
    looks = len(StoppingRule(most=most).looks)
    for draws in (2, 8):
        difference = rng.normal(1, 2, (options, draws))
        margin = StoppingRule(error=0.1, most=most).margin(difference, options)
        error = difference.std(-1, ddof=1) / np.sqrt(draws)
        chance = stats.t.sf(margin / error, draws - 1)
        np.testing.assert_allclose(chance * (options - 1) * looks, 0.1, rtol=1e-6)


def test_clear_items_are_cheap_and_close_ones_undecided():
    scores = np.concatenate(
        [noisy([0.0, 9.0], 1, 5, items=50, draws=64), noisy([0.0, 0.0], 1, 5, items=50, draws=64)]
    )
    found = sequential_test([2] * 100, Table(scores), StoppingRule(most=64))
    clear, close = found[:50], found[50:]
    assert all(one.best == (0,) and not one.undecided[0] for one in clear)
    assert np.mean([sum(one.draws) for one in clear]) < 12
    assert sum(one.undecided[0] for one in close) > 40
    assert all(one.draws == (64, 64) for one in close if one.undecided[0])


def test_each_criterion_has_its_own_sequential_test():
    """Option 1 wins the first, option 0 the second; option 2 neither."""
    nats = noisy([2.0, 1.0, 9.0], 0.01, 1, items=1, draws=64)
    scale = np.array([1.0, 4.0, 1.0])[:, None]
    (found,) = sequential_test([3], Table(nats, nats * scale), StoppingRule(most=64), criteria=2)
    assert found.best == (1, 0) and found.undecided == (False, False)
    # A criterion that cannot be decided goes on with its own options, no others.
    (found,) = sequential_test(
        [3], Table(nats, nats * [[0], [0], [1]]), StoppingRule(most=64), criteria=2
    )
    assert found.best[0] == 1 and found.undecided == (False, True)
    assert found.draws[:2] == (64, 64) and found.draws[2] < 64


def test_scores_of_the_dropped_are_linked_to_the_leader():
    """Luck of the first draws does not make an option that was dropped look better than the winner."""
    shared = np.concatenate([np.full(4, -50.0), np.full(60, 10.0)])
    rng = np.random.default_rng(3)
    scores = np.array([0.0, 5.0, 0.02])[:, None] + shared + rng.normal(0, 0.1, (3, 64))
    (found,) = sequential_test([3], Table(scores[None]), StoppingRule(most=64))
    assert found.draws[1] < 64
    raw = scores[1, : found.draws[1]].mean()
    assert raw < found.scores[0][0], "the mean over its own draws would win"
    assert found.scores[0][1] - found.scores[0][found.best[0]] == pytest.approx(5, abs=0.3)


def test_items_do_not_depend_on_each_other():
    scores = noisy([0.0, 0.4, 1.0], 1, 2, items=12, draws=32)
    together = sequential_test([3] * 12, Table(scores), StoppingRule(most=32))
    for item, one in enumerate(together):
        (alone,) = sequential_test([3], Table(scores[item : item + 1]), StoppingRule(most=32))
        assert (alone.best, alone.undecided, alone.draws) == (one.best, one.undecided, one.draws)
        np.testing.assert_array_equal(alone.scores, one.scores)


def test_one_draw_decides_nothing_where_scores_vary():
    (found,) = sequential_test(
        [2], Table(noisy([0.0, 50.0], 1, 1, items=1, draws=1)), StoppingRule(most=1)
    )
    assert found.best == (0,) and found.undecided == (True,)


def test_items_may_have_different_numbers_of_options():
    scores = noisy([0.0, 8.0, 9.0, 9.0], 1, 1, items=2, draws=16)
    two, four = sequential_test([2, 4], Table(scores), StoppingRule(most=16))
    assert len(two.draws) == 2 and len(four.draws) == 4
    assert [*itertools.chain(two.best, four.best)] == [0, 0]
