"""Scores: noise that options share, whatever batch they are in; unbiased; the forwards counted."""

import itertools

import numpy as np
import pytest
import torch

from isodiff.evaluate.items import Target
from isodiff.evaluate.scoring import FromStart, Job, Scorer, places
from isodiff.families.masked import Masked
from isodiff.rng import stream
from tests.contract.networks import FAMILIES, Recorder, V, tiny

NAMES = [name for name in FAMILIES if "d3pm" not in name and "sedd" not in name]


def rows(keys, starts, length, places=None):
    given = torch.zeros(len(keys)) if places is None else places
    return FromStart(0, keys, given, starts=starts, length=length)


def test_numbers_count_from_the_start_whatever_the_length():
    """The third call too, and along the positions of any shape."""
    short, long = rows([("a", 1)], [2], 8), rows([("a", 1)], [11], 40)
    for shape in ((8,), (2, 8), (8, 3), (2, 8, 3)):
        longer = tuple(40 if size == 8 else size for size in shape)
        few, many = short.uniform(*shape), long.uniform(*longer)
        assert few.shape == (1, *shape) and many.shape == (1, *longer)
        axis = 1 + shape.index(8)
        torch.testing.assert_close(few.narrow(axis, 2, 6), many.narrow(axis, 11, 6), rtol=0, atol=0)
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
        found = places(0, key, range(128))
        cells = np.floor((found[:num] - found[0]) % 1 * num + 1e-9).astype(int)
        assert sorted(cells.tolist()) == [*range(num)]
        np.testing.assert_array_equal(places(0, key, range(4, 9)), found[4:9])
    assert places(0, ("item", 1), range(1)) != places(0, ("item", 2), range(1))


def test_places_are_uniform_over_items():
    found = [places(0, ("item", i), range(3, 4))[0] for i in range(2000)]
    assert abs(np.histogram(found, 10, (0, 1))[0] - 200).max() < 60


def targets(*sizes: tuple[int, int], seed: int = 0) -> list[Target]:
    rng = stream(seed, "targets")
    made = []
    for known, scored in sizes:
        made.append(Target(torch.randint(V, (known + scored,), generator=rng).numpy(), known))
    return made


def masks(scorer: Scorer, recorder: Recorder, target: Target, draw: int, place: float) -> list[int]:
    """Which tokens of the target were masked, counted from its start."""
    recorder.views.clear()
    scorer.nats([Job(target, ("item", 1, draw), place)])
    (view,) = recorder.views
    return ((view.inputs[0] == V).nonzero()[:, 0] - target.known).tolist()


def test_options_share_their_masks():
    """Same length: the same masks wherever the context ends. Another length: the same share of it."""
    recorder = Recorder(tiny(Masked(vocab_size=V)))
    scorer = Scorer(Masked(vocab_size=V), recorder)
    one, other, later, longer = targets((5, 8), (5, 8), (9, 8), (5, 16))
    for draw in range(20):
        place = (draw + 0.5) / 20
        found = masks(scorer, recorder, one, draw, place)
        assert found == masks(scorer, recorder, other, draw, place)
        assert found == masks(scorer, recorder, later, draw, place)
        assert len(found) == 1 + int(place * 8)
        assert len(masks(scorer, recorder, longer, draw, place)) == 1 + int(place * 16)
    every = {tuple(masks(scorer, recorder, one, draw, 0.3)) for draw in range(20)}
    assert len(every) > 10, "masks are fresh with every draw"


@pytest.mark.parametrize("name", NAMES)
def test_a_score_does_not_depend_on_its_batch(name):
    family = FAMILIES[name]
    made = targets((5, 4), (5, 4), (2, 11), (0, 6), (9, 1), (3, 7))
    jobs = [
        Job(one, ("item", i // 2, d), place)
        for i, one in enumerate(made)
        for d, place in enumerate((0.1, 0.8))
    ]
    together = Scorer(family, tiny(family)).nats(jobs)
    alone = [float(Scorer(family, tiny(family)).nats([job])[0]) for job in jobs]
    small = Scorer(family, tiny(family), batch_tokens=30).nats(jobs)
    np.testing.assert_allclose(together, alone, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(small, alone, rtol=2e-5, atol=2e-5)


def test_an_exact_family_gives_the_likelihood():
    family = FAMILIES["autoregressive"]
    network = tiny(family)
    (one,) = targets((4, 6))
    scorer = Scorer(family, network)
    (found,) = scorer.nats([Job(one, ("item", 1, 0), 0.5)])
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
    family = Masked(vocab_size=V)
    network = tiny(family)
    scorer = Scorer(family, network)
    for number, one in enumerate(targets((4, 3), (0, 4))):
        key = ("item", number)
        jobs = [Job(one, (*key, d), p) for d, p in enumerate(places(0, key, range(2048)))]
        found = scorer.nats(jobs)
        error = found.std() / 2048**0.5
        assert abs(found.mean() - enumerated(family, network, one)) < 4 * error
    assert scorer.num_forwards == 2 * 2048


@pytest.mark.parametrize("name", ["masked", "uniform", "hybrid", "gaussian", "interpolating-0.5"])
def test_sharing_noise_sharpens_a_difference(name):
    """Two options that differ in one token: the spread of the difference falls by more than half."""
    family = FAMILIES[name]
    scorer = Scorer(family, tiny(family))
    (one,) = targets((4, 8))
    ids = one.ids.copy()
    ids[6] = (ids[6] + 1) % V
    other = Target(ids, 4)
    where = places(0, ("item",), range(128))
    shared = [
        scorer.nats([Job(target, ("item", d), p) for d, p in enumerate(where)])
        for target in (one, other)
    ]
    apart = scorer.nats([Job(other, ("apart", d), p) for d, p in enumerate(np.roll(where, 37))])
    assert (shared[0] - shared[1]).var() < 0.5 * (shared[0] - apart).var()
