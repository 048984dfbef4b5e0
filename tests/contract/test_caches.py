"""Claim 9 for samplers: with a cache, the same texts as when everything is shown again."""

from __future__ import annotations

import pytest
import torch
from networks import FAMILIES, V, tiny

from isodiff.families.base import HOLE, Family, blank, sample
from isodiff.network.attention import Causal
from isodiff.network.view import Replaying, View
from isodiff.rng import Streams

pytestmark = pytest.mark.usefixtures("float64")
CACHED = {name: f for name, f in FAMILIES.items() if name.startswith(("auto", "inter", "block"))}
L = 12


def prompts(family: Family) -> torch.Tensor:
    """Five prompts of different lengths."""
    given = torch.randint(V, (5, L), generator=torch.Generator().manual_seed(0))
    return given.where(torch.arange(L) < torch.tensor([0, 1, 4, 4, 11])[:, None], HOLE)


@pytest.mark.parametrize("family", CACHED.values(), ids=CACHED)
@pytest.mark.parametrize("prompted", [False, True])
def test_a_cache_changes_no_text(family: Family, prompted: bool) -> None:
    model = tiny(family)
    start = prompts(family) if prompted else blank(5, L)
    frames = {}
    for name, denoiser in (("cache", model), ("no cache", Replaying(model))):
        with torch.no_grad():
            walk = family.walk(denoiser, start, family.sampler_with(3), rng=Streams(0, 5))
            frames[name] = [frame.tokens for frame in walk]
    assert len(frames["cache"]) == len(frames["no cache"]) > 2
    for with_cache, without in zip(frames["cache"], frames["no cache"], strict=True):
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


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_sample_does_not_depend_on_its_batch(family: Family) -> None:
    model, sampler = tiny(family), family.sampler_with(5)
    together, nfe = sample(family, model, blank(6, L), sampler, rng=Streams(3, 6))
    for i in (0, 4):
        alone, count = sample(family, model, blank(1, L), sampler, rng=Streams(3, 1, first=i))
        assert torch.equal(alone[0], together[i])
        assert count[0] == nfe[i]
    other, _ = sample(family, model, blank(6, L), sampler, rng=Streams(4, 6))
    assert not torch.equal(other, together)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_what_the_prompt_gives_is_kept(family: Family) -> None:
    start = prompts(family)
    got, nfe = sample(family, tiny(family), start, family.sampler_with(4), rng=Streams(0, 5))
    assert torch.equal(got[start != HOLE], start[start != HOLE])
    assert bool((got >= 0).all())
    full, none = sample(family, tiny(family), got, family.sampler_with(4), rng=Streams(0, 5))
    assert torch.equal(full, got) and int(none.sum()) == 0
    assert int(nfe.min()) >= 1
