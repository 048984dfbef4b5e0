"""Scores: noise that options share, whatever batch they are in; unbiased; the forwards counted."""

import itertools

import numpy as np
import pytest
import torch

from isodiff.evaluate.items import Target
from isodiff.evaluate.scoring import (
    FromStart,
    PaddedBatch,
    Scorer,
    TargetScores,
    doubling_parts,
    shared_levels,
)
from isodiff.families.masked import Masked
from isodiff.network.view import LogProbTable
from isodiff.rng import stream
from tests.contract.networks import FAMILIES, Recorder, V, tiny

NAMES = [name for name in FAMILIES if "d3pm" not in name and "sedd" not in name]


def rows(keys, starts, length, places=None):
    observed = torch.zeros(len(keys)) if places is None else places
    return FromStart(0, keys, observed, starts=starts, length=length)


def test_numbers_count_from_the_start_whatever_the_length():
    """The third call too, and along the positions of any shape."""
    short, long = rows([("a", 1)], [2], 8), rows([("a", 1)], [11], 40)
    for shape in ((8,), (2, 8), (8, 3), (2, 8, 3)):
        along = shape.index(8)
        longer = tuple(40 if size == 8 else size for size in shape)
        few, many = short.uniform(*shape, along=along), long.uniform(*longer, along=along)
        assert few.shape == (1, *shape) and many.shape == (1, *longer)
        torch.testing.assert_close(
            few.narrow(1 + along, 2, 6), many.narrow(1 + along, 11, 6), rtol=0, atol=0
        )
    assert torch.equal(short.uniform(), long.uniform())
    assert not torch.equal(short.uniform(8), short.uniform(8))


def test_numbers_are_uniform_and_keys_differ():
    many = rows([("a", i) for i in range(400)], [3] * 400, 50).uniform(50)
    assert abs(float(many.mean()) - 0.5) < 0.01 and abs(float(many.var()) - 1 / 12) < 0.005
    assert abs(float(torch.corrcoef(many[:, :10].T)[0, 1:].abs().max())) < 0.2
    assert len(many.unique()) == many.numel()


@pytest.mark.parametrize("num", [2, 4, 8, 64])
def test_places_cover_evenly_and_are_nested(num):
    for key in (("item", 1), ("item", 2)):
        found = shared_levels(0, key, range(128))
        cells = np.floor((found[:num] - found[0]) % 1 * num + 1e-9).astype(int)
        assert sorted(cells.tolist()) == [*range(num)]
        np.testing.assert_array_equal(shared_levels(0, key, range(4, 9)), found[4:9])
    assert shared_levels(0, ("item", 1), range(1)) != shared_levels(0, ("item", 2), range(1))


def test_places_are_uniform_over_items():
    found = [shared_levels(0, ("item", i), range(3, 4))[0] for i in range(2000)]
    assert abs(np.histogram(found, 10, (0, 1))[0] - 200).max() < 60


def targets(*sizes: tuple[int, int], seed: int = 0) -> list[Target]:
    rng = stream(seed, "targets")
    made = []
    for known, scored in sizes:
        made.append(Target(torch.randint(V, (known + scored,), generator=rng).numpy(), known))
    return made


def masks(scorer: Scorer, recorder: Recorder, target: Target, draw: int, place: float) -> list[int]:
    """Which tokens of the target were masked, counted from its start."""
    group = PaddedBatch(scorer, [target], [("item", 1)])
    recorder.views.clear()
    group.bound(torch.tensor([0]), [("item", 1, draw)], torch.tensor([place]))
    (view,) = recorder.views
    return ((view.inputs[0] == V).nonzero()[:, 0] - target.known).tolist()


def test_options_share_their_masks():
    """Same length: the same masks wherever the context ends. Another length: the same share of it."""
    recorder = Recorder(tiny(Masked(vocab_size=V)))
    scorer = Scorer(Masked(vocab_size=V), recorder)
    one, other, later, longer = targets((5, 8), (5, 8), (9, 8), (5, 15))
    for draw in range(20):
        place = (draw + 0.5) / 20
        found = masks(scorer, recorder, one, draw, place)
        assert found == masks(scorer, recorder, other, draw, place)
        assert found == masks(scorer, recorder, later, draw, place)
        assert len(found) == 1 + int(place * 7)
        assert len(masks(scorer, recorder, longer, draw, place)) == 1 + int(place * 14)


def test_masks_are_fresh_with_every_draw():
    recorder = Recorder(tiny(Masked(vocab_size=V)))
    scores = TargetScores(Scorer(Masked(vocab_size=V), recorder), targets((5, 9)), [("item", 1)])
    recorder.views.clear()
    scores.draw([0], range(64))
    every = torch.cat([view.inputs for view in recorder.views]) == V
    assert len(every) == 64
    four = every[every.sum(-1) == 4]
    assert len(four) == 8 and len(four.unique(dim=0)) > 5


@pytest.mark.parametrize("name", NAMES)
def test_a_score_does_not_depend_on_its_batch(name):
    family = FAMILIES[name]
    made = targets((5, 4), (5, 4), (2, 11), (0, 6), (9, 1), (3, 7))
    keys = [("item", i // 2) for i in range(len(made))]

    def scored(targets, keys, **settings) -> np.ndarray:
        scores = TargetScores(Scorer(family, tiny(family), **settings), targets, keys)
        looks = [range(2), range(2, 4), range(4, 19)]
        return np.concatenate([scores.draw(range(len(targets)), look) for look in looks], 1)

    together = scored(made, keys)
    alone = [scored([one], [key])[0] for one, key in zip(made, keys, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=2e-5, atol=2e-4)
    np.testing.assert_allclose(scored(made, keys, batch_tokens=30), alone, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("known", [0, 1])
def test_a_score_does_not_depend_on_sizes_that_coincide(name, known):
    """Beside texts of 1, 2, 3, .. tokens: as many as there are copies, rows or numbers in a vector."""
    family = FAMILIES[name]
    scorer = Scorer(family, tiny(family))
    (one,) = targets((known, 1))

    def scored(*made: Target) -> np.ndarray:
        keys = [("item", i) for i in range(len(made))]
        return TargetScores(scorer, made, keys).draw([0], range(2))[0]

    alone = scored(one)
    for size in range(known + 1, 9):
        (other,) = targets((0, size))
        np.testing.assert_allclose(scored(one, other), alone, rtol=2e-5, atol=2e-4, err_msg=size)


def test_some_targets_alone_are_asked_about():
    """And in the order asked for, whatever groups they are in."""
    family = FAMILIES["masked"]
    made = targets((5, 4), (2, 11), (0, 6), (9, 1), (3, 17))
    keys = [("item", i) for i in range(len(made))]
    scorer = Scorer(family, tiny(family), batch_tokens=30)
    every = TargetScores(scorer, made, keys).draw(range(5), range(2))
    scores, before = TargetScores(scorer, made, keys), scorer.num_forwards
    np.testing.assert_allclose(scores.draw([4, 0, 3], range(2)), every[[4, 0, 3]], rtol=1e-5)
    assert scorer.num_forwards - before == 2 * 2, "one token has no more to tell than all masks did"
    assert every[3, 0] == every[3, 1]


def test_parts_do_not_depend_on_where_a_look_begins():
    assert doubling_parts(range(50)) == [
        *(range(0, 2), range(2, 4), range(4, 8), range(8, 16), range(16, 32), range(32, 48)),
        range(48, 50),
    ]
    assert doubling_parts(range(3, 9)) == [range(3, 4), range(4, 8), range(8, 9)]
    assert doubling_parts(range(1)) == [range(1)]


def test_an_exact_family_gives_the_likelihood():
    family = FAMILIES["autoregressive"]
    network = tiny(family)
    (one,) = targets((4, 6))
    scorer = Scorer(family, network)
    (found,) = scorer.mean([one], [("item", 1)], 64)
    with torch.no_grad():
        x = torch.from_numpy(one.ids)[None]
        log_p = network(family.view(x)).log_probs().view(1, 10, V)
    expected = -log_p[0, torch.arange(4, 10), x[0, 4:]].sum()
    assert found == pytest.approx(float(expected), abs=1e-5)
    assert scorer.num_forwards == 1


def enumerated(family: Masked, network, target: Target) -> float:
    """E_k (n/k) sum of the nats of k masks, every k and every set of masks once."""
    x = torch.from_numpy(target.ids)[None]
    free = range(target.known, len(target))
    total = 0.0
    with torch.no_grad():
        for k in range(1, len(free) + 1):
            sets = [*itertools.combinations(free, k)]
            masked = torch.zeros(len(sets), len(target), dtype=torch.bool)
            for row, chosen in enumerate(sets):
                masked[row, list(chosen)] = True
            nats = family.nats(network, x.expand(len(sets), -1), masked).sum(-1)
            total += float(nats.mean()) / k
    return total


def test_scores_are_unbiased():
    """Over items, as the draws of one item learn from each other."""
    family = Masked(vocab_size=V)
    network = tiny(family)
    scorer = Scorer(family, network)
    num = 500
    for one in targets((4, 3), (0, 4)):
        scores = TargetScores(scorer, [one] * num, [("item", i) for i in range(num)])
        found = scores.draw(range(num), range(10))
        truth = enumerated(family, network, one)
        error = found.std(0, ddof=1) / num**0.5
        assert (np.abs(found.mean(0) - truth) < 4 * error).all()
        of_all = found.mean(1)
        assert abs(of_all.mean() - truth) < 4 * of_all.std(ddof=1) / num**0.5
    assert scorer.num_forwards == 2 * num * (1 + 10)


def test_what_was_expected_is_taken_off():
    """Where tokens differ in their nats and nothing else does, later draws hardly scatter."""

    class Steep:
        """Token v costs about v nats, whatever is around it."""

        vocab_size = V

        def __call__(self, view):
            log_p = -torch.arange(V, dtype=torch.float32)
            return LogProbTable(log_p.log_softmax(-1).expand(view.num_read, -1))

    ids = np.arange(12) % V
    scorer = Scorer(Masked(vocab_size=V), Steep())
    scores = TargetScores(scorer, [Target(ids, 2)], [("item", 1)])
    found = scores.draw([0], range(64))[0]
    cost = -(-torch.arange(V).double()).log_softmax(-1).numpy()
    np.testing.assert_allclose(found, cost[ids[2:]].sum(), rtol=1e-5)


@pytest.mark.parametrize("name", ["masked", "uniform", "hybrid", "gaussian", "interpolating-0.5"])
def test_sharing_noise_sharpens_a_difference(name):
    """Two options that differ in one token: the spread of the difference falls by more than half."""
    family = FAMILIES[name]
    scorer = Scorer(family, tiny(family))
    (one,) = targets((4, 8))
    ids = one.ids.copy()
    ids[6] = (ids[6] + 1) % V
    other = Target(ids, 4)
    keys = [("item",), ("item",), ("apart",)]
    found = TargetScores(scorer, [one, other, other], keys).draw(range(3), range(128))
    assert (found[0] - found[1]).var() < 0.5 * (found[0] - found[2]).var()
