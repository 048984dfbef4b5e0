"""Claim 9 for samplers: with a cache, the same texts as when everything is shown again."""

from __future__ import annotations

import functools
from typing import Literal

import pytest
import torch
from networks import FAMILIES, Recorder, V, prompts, samplers, tiny
from torch import Tensor

from isodiff.families.base import UNDECIDED, Family, Sampler, undecided
from isodiff.families.block import BlockDiffusion, BlockSampler
from isodiff.families.interpolating import Interpolating, InterpolatingSampler
from isodiff.families.sampling import sample
from isodiff.network.attention import BlockCausal, Causal
from isodiff.network.view import Cache, Prediction, Replaying, View
from isodiff.rng import Streams

pytestmark = pytest.mark.usefixtures("float64")
SAMPLERS, L = samplers(5), 12
each_sampler = pytest.mark.parametrize(("family", "sampler"), SAMPLERS.values(), ids=SAMPLERS)
GIVEN = [0, 1, 4, 4, 11]  # tokens of each prompt


class CountingCalls(Replaying):
    """Everything is shown again; how often a cache was asked for."""

    def cached(self, view: View, cache: Cache) -> Prediction:
        CALLS[-1] += 1
        return super().cached(view, cache)


CALLS = [0]


@functools.cache
def caches(kind: type[Family]) -> bool:
    """Whether the family's plain sampler asks for a cache, for the default or any example."""
    for family in FAMILIES.values():
        if type(family) is kind:
            CALLS.append(0)
            denoiser = CountingCalls(tiny(family, depth=1))
            if family.vectors is None:
                sample(family, denoiser, undecided(1, 2), family.sampler_with(2), rng=Streams(0, 1))
            if CALLS[-1]:
                return True
    return False


CACHED = {name: both for name, both in SAMPLERS.items() if caches(type(both[0]))}


@pytest.mark.parametrize(("family", "sampler"), CACHED.values(), ids=CACHED)
def test_a_cache_changes_no_text(family: Family, sampler: Sampler) -> None:
    model, start = tiny(family), prompts(family, L, GIVEN)
    states = {}
    for name, denoiser in (("cache", model), ("no cache", Replaying(model))):
        with torch.no_grad():
            steps = family.denoise(denoiser, start, sampler, rng=Streams(0, 5))
            states[name] = [state.tokens for state in steps]
    assert len(states["cache"]) == len(states["no cache"]) > 2
    for with_cache, without in zip(states["cache"], states["no cache"], strict=True):
        assert torch.equal(with_cache, without)


def test_a_cache_changes_no_prediction() -> None:
    """Slots filled piece by piece, ragged, one overwritten: the predictions of a whole view."""
    family = FAMILIES["masked"]
    model = tiny(family)
    tokens = torch.randint(V, (2, 6), generator=torch.Generator().manual_seed(1))
    places = torch.stack(
        [torch.randperm(6, generator=torch.Generator().manual_seed(i)) for i in (2, 3)]
    )
    whole = model(View(tokens, places, Causal())).log_probs().view(2, 6, V)
    cache = model.cache(2, 6)
    first = torch.tensor([[0, 1, 2], [0, 1, 1]])
    wrong = tokens.gather(1, first)
    wrong[0, 2] = (wrong[0, 2] + 1) % V
    model.cached(View(wrong, places.gather(1, first), Causal(), slots=first), cache)
    rest = torch.tensor([[2, 3, 4, 5], [2, 3, 4, 5]])
    view = View(tokens.gather(1, rest), places.gather(1, rest), Causal(), slots=rest)
    got = model.cached(view, cache).log_probs().view(2, 4, V)
    torch.testing.assert_close(got, whole[:, 2:], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "sampler",
    [
        BlockSampler(steps=None),
        BlockSampler(steps=1, window=4),
        BlockSampler(steps=3, window=6, stop=2),
        BlockSampler(steps=4, window=9, repetition=1.6, span=8),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [1, 3, 4])
def test_blocks_with_holes_windows_and_early_ends(sampler: BlockSampler, size: int) -> None:
    """Beyond any length: rows at different blocks, some of them finished; the cache changes no text."""
    length, family = 23, BlockDiffusion(vocab_size=V, block_size=size)
    model, start = tiny(family), undecided(6, length)
    observed = torch.randint(V, (6, length), generator=torch.Generator().manual_seed(3))
    for row, places in enumerate(([], [0], [1, 2][: size - 1], range(7), range(size, 0), [0, 1])):
        start[row, list(places)] = observed[row, list(places)]
    start[5, 2 * size :] = UNDECIDED
    frames, counts = [], []
    for denoiser in (model, Replaying(model)):
        with torch.no_grad():
            states = list(family.denoise(denoiser, start, sampler, rng=Streams(0, 6)))
        frames.append(torch.stack([state.tokens for state in states]))
        counts.append(torch.stack([state.evaluated for state in states]).sum(0))
    assert torch.equal(frames[0], frames[1]) and torch.equal(counts[0], counts[1])
    for row in (1, 4):
        rng = Streams(0, 1, first=row)
        alone, count = sample(family, model, start[row : row + 1], sampler, rng=rng)
        assert torch.equal(alone[0], frames[0][-1, row]) and count[0] == counts[0][row]


@pytest.mark.parametrize("reach", [None, 1, 2])
def test_blocks_shown_piece_by_piece_make_the_predictions_of_the_whole(reach: int | None) -> None:
    """A block's slots are rewritten as its tokens are decided; only slots within reach are looked at."""
    model = tiny(FAMILIES["masked"])
    tokens = torch.randint(V, (2, 10), generator=torch.Generator().manual_seed(1))
    place, pattern = torch.arange(10), BlockCausal(3, reach)
    whole = model(View(tokens, place, pattern)).log_probs().view(2, 10, V)
    cache = model.cache(2, 10)
    for start, end, wrong in ((0, 6, True), (3, 9, True), (6, 10, False)):
        shown = tokens[:, start:end].clone()
        shown[:, -1] = (shown[:, -1] + wrong) % V
        view = View(shown, place[start:end], pattern, slots=place[start:end])
        got = model.cached(view, cache).log_probs().view(2, end - start, V)
        right = slice(0, 3 if wrong else None)
        torch.testing.assert_close(
            got[:, right], whole[:, start:end][:, right], rtol=1e-11, atol=1e-12
        )


def nats_as_drawn(family: Interpolating, start: Tensor, alpha_0: float) -> tuple[Tensor, ...]:
    """The text written, the order in which it was shown, and -log p of every token as it was drawn."""
    recorder = Recorder(tiny(family))
    sampler = InterpolatingSampler(steps=1, alpha_0=alpha_0)
    x, _ = sample(family, recorder, start, sampler, rng=Streams(0, len(start)))
    nats = torch.zeros(x.shape)
    for view, prediction in zip(recorder.views, recorder.predictions, strict=True):
        assert view.read is not None
        row, place = view.read // view.inputs.shape[1], view.positions.flatten()[view.read]
        nats = nats.index_put((row, place), prediction.nats(x[row, place]))
    return x, recorder.views[-1].positions, nats.detach()


@pytest.mark.parametrize("variant", ["A", "B"])
@pytest.mark.parametrize("alpha_0", [0.0, 1.0])
def test_sampling_is_shown_what_training_shows(variant: Literal["A", "B"], alpha_0: float) -> None:
    """All at once they are the diffusion term, from left to right the sequential term."""
    family = Interpolating(vocab_size=V, alpha_0=0.5, variant=variant)
    start = torch.randint(V, (4, L), generator=torch.Generator().manual_seed(2))
    start[:, [1, 4, 5, 9]] = UNDECIDED
    x, order, nats = nats_as_drawn(family, start, alpha_0)
    k = torch.full((4,), 4)
    term = family.phase_nats(tiny(family), x, order, k, first=alpha_0 == 1)
    torch.testing.assert_close(nats, term.detach())
    assert bool((nats[start == UNDECIDED] > 0).all())


@each_sampler
def test_a_sample_does_not_depend_on_its_batch(family: Family, sampler: Sampler) -> None:
    """Prompts of different lengths beside it, so that others have more or fewer events."""
    model, start = tiny(family), prompts(family, L, GIVEN)
    together, nfe = sample(family, model, start, sampler, rng=Streams(3, 5))
    for i in (0, 2, 4):
        alone, count = sample(family, model, start[i : i + 1], sampler, rng=Streams(3, 1, first=i))
        assert torch.equal(alone[0], together[i])
        assert count[0] == nfe[i]
    other, _ = sample(family, model, start, sampler, rng=Streams(4, 5))
    assert not torch.equal(other, together)


@each_sampler
def test_evaluations_are_counted(family: Family, sampler: Sampler) -> None:
    """No more visits to the network than are reported; what is reported changed something."""
    model, start = tiny(family), prompts(family, L, GIVEN)
    shown: list[int] = []
    forward = model.forward

    def counted(*observed):
        shown.append(len(observed[0].inputs))
        return forward(*observed)

    model.forward = counted
    with torch.no_grad():
        frames = list(family.denoise(model, start, sampler, rng=Streams(3, 5)))
    evaluated = [int(frame.evaluated.sum()) for frame in frames]
    assert len(shown) == sum(count > 0 for count in evaluated)
    busy = [count for count in evaluated if count]
    assert all(rows >= count for rows, count in zip(shown, busy, strict=True))
    if family.name in ("masked", "uniform"):
        assert shown == busy


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_what_the_prompt_gives_is_kept(family: Family) -> None:
    start = prompts(family, L, GIVEN)
    got, nfe = sample(family, tiny(family), start, family.sampler_with(4), rng=Streams(0, 5))
    assert torch.equal(got[start != UNDECIDED], start[start != UNDECIDED])
    assert bool((got >= 0).all())
    full, none = sample(family, tiny(family), got, family.sampler_with(4), rng=Streams(0, 5))
    assert torch.equal(full, got) and int(none.sum()) == 0
    assert int(nfe.min()) >= 1
