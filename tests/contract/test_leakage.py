"""Claim 8: a prediction is unchanged when tokens it may not see change, and changes when others do."""

from __future__ import annotations

import pytest
import torch
from networks import BACKBONES, FAMILIES, Recorder, V, tiny, tokens
from torch import Tensor

from isodiff.families.autoregressive import Autoregressive
from isodiff.families.base import Family
from isodiff.families.block import BlockDiffusion
from isodiff.families.hybrid import Hybrid
from isodiff.families.interpolating import Interpolating
from isodiff.families.masked import Masked
from isodiff.families.uniform import Uniform
from isodiff.network.attention import (
    Attention,
    BidirectionalPrefix,
    BlockCausal,
    Causal,
    Full,
    TwoStream,
)
from isodiff.network.view import View
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
MASKING, NOISING = (
    [name for name, family in FAMILIES.items() if isinstance(family, kinds)]
    for kinds in ((Autoregressive, Masked, Interpolating, BlockDiffusion), (Uniform, Hybrid))
)
PATTERNS = [
    *((Full(), 6), (Causal(), 6), (TwoStream(1), 8), (TwoStream(2), 8), (TwoStream(3), 8)),
    *((TwoStream(3, hidden=2), 8), (TwoStream(2, hidden=2), 8), (BlockCausal(2), 5)),
    *((BidirectionalPrefix(Causal(), (3,)), 6), (BidirectionalPrefix(TwoStream(1), (3,)), 8)),
]


def allowed(pattern: Attention, n: int) -> Tensor:
    """Through the two layers of `tiny`."""
    index = torch.arange(n)
    once = pattern.allowed(index[:, None], index[None, :], n).expand(1, n, n)[0]
    twice = once.double() @ once.double() > 0
    # The second adds something only to the noisy copies of clean tokens, which nobody reads.
    unread = index < (3 if pattern == BidirectionalPrefix(TwoStream(1), (3,)) else 0)
    assert torch.equal(twice[~unread], once[~unread])
    return twice


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
@pytest.mark.parametrize(("pattern", "n"), PATTERNS, ids=str)
def test_gradients_flow_just_where_the_pattern_allows(pattern, n, backbone) -> None:
    """d prediction_i / d embedding_j is exactly zero where j is invisible, and nowhere else."""
    model = tiny(Masked(vocab_size=V), backbone)
    embedded: list[Tensor] = []
    model.embedding.register_forward_hook(lambda *call: embedded.append(call[2]))
    log_probs = model(View(tokens(1, n), torch.arange(n), pattern)).log_probs()
    for i in range(n):
        (slope,) = torch.autograd.grad(log_probs[i, 0], embedded[0], retain_graph=True)
        assert torch.equal(slope[0].abs().sum(-1) > 0, allowed(pattern, n)[i])


@pytest.mark.parametrize(("pattern", "n"), PATTERNS, ids=str)
def test_predictions_change_just_where_the_pattern_allows(pattern, n) -> None:
    model, inputs, place = tiny(Masked(vocab_size=V)), tokens(1, n), torch.arange(n)
    before = model(View(inputs, place, pattern)).log_probs()
    for j in range(n):
        other = inputs.clone()
        other[0, j] = (other[0, j] + 1) % V
        after = model(View(other, place, pattern)).log_probs()
        changed = ((after - before).abs() > 1e-9).any(-1)  # equal to rounding
        assert torch.equal(changed, allowed(pattern, n)[:, j])


@pytest.mark.parametrize("reach", [1, 2])
def test_in_one_layer_a_window_ends_where_it_says(reach: int) -> None:
    """Deeper layers hear of earlier blocks through what is cached, as in any sliding window."""
    model, inputs, n = tiny(Masked(vocab_size=V), depth=1), tokens(1, 8), 8
    pattern, place = BlockCausal(2, reach), torch.arange(8)
    before = model(View(inputs, place, pattern)).log_probs()
    index = torch.arange(n)
    seen = pattern.allowed(index[:, None], index, n)
    for j in range(n):
        other = inputs.clone()
        other[0, j] = (other[0, j] + 1) % V
        after = model(View(other, place, pattern)).log_probs()
        assert torch.equal(((after - before).abs() > 1e-9).any(-1), seen[:, j])


def seen_tokens(family: Family, view: View, length: int) -> Tensor:
    """M, L: which clean tokens each prediction may depend on, by the family's definition."""
    place = view.positions.expand(view.inputs.shape)
    row = torch.arange(len(place))[:, None].expand(place.shape)
    asked, row = place.flatten(), row.flatten()
    if view.read is not None:
        asked, row = asked[view.read], row[view.read]
    before = torch.arange(length) < asked[:, None]
    if family.name == "autoregressive":
        return before
    noisy, place = view.inputs[:, :length], place[:, :length]
    clean = torch.zeros_like(noisy, dtype=torch.bool).scatter(1, place, noisy < V)[row]
    if family.name == "block":
        block = torch.arange(length) // family.block_size
        own = block[asked][:, None]
        return (clean & (block == own)) | (block < own)
    return clean | before if view.inputs.shape[1] == 2 * length else clean


@pytest.mark.parametrize("name", MASKING)
def test_families_predict_from_nothing_but_what_they_may_see(name: str) -> None:
    """Every token of the batch is changed in turn; the noise stays the same."""
    family, batch, length = FAMILIES[name], 6, 5
    model, x = tiny(family), tokens(6, 5)

    def shown(x: Tensor) -> Recorder:
        recorder = Recorder(model)
        family.loss(recorder, x, rng=Rows.of(stream(1), batch))
        return recorder

    before = shown(x)
    assert before.views
    for j in range(length):
        other = x.clone()
        other[:, j] = (x[:, j] + 1) % V
        after = shown(other)
        for view, old, new in zip(before.views, before.log_probs, after.log_probs, strict=True):
            assert torch.equal((old != new).any(-1), seen_tokens(family, view, length)[:, j])


@pytest.mark.parametrize("name", NOISING)
def test_noisy_families_predict_from_the_noisy_tokens_alone(name: str) -> None:
    """A token whose place was taken by noise tells nothing."""
    family, model, x = FAMILIES[name], tiny(FAMILIES[name]), tokens(6, 5)
    recorder = Recorder(model)
    family.loss(recorder, x, rng=Rows.of(stream(1), 6))
    z = recorder.views[0].inputs
    assert (z != x).any() and (z == x).any()
    other = torch.where(z != x, (x + 1) % V, x)
    other = torch.where(other == z, x, other)
    again = Recorder(model)
    family.loss(again, other, rng=Rows.of(stream(1), 6))
    assert (other != x).any()
    assert torch.equal(recorder.log_probs[0], again.log_probs[0])


def test_rotary_positions_travel_with_their_tokens() -> None:
    """Under full attention, a permuted view has permuted predictions."""
    n, model = 6, tiny(Masked(vocab_size=V))
    inputs, order = tokens(2, n), torch.tensor([3, 0, 5, 1, 4, 2])
    place = torch.arange(n)
    want = model(View(inputs, place, Full())).log_probs().unflatten(0, (2, n))[:, order]
    per_row = order.expand(2, n)
    for positions in (order, per_row):
        got = model(View(inputs[:, order], positions, Full())).log_probs().unflatten(0, (2, n))
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    fixed = model(View(inputs[:, order], place, Full())).log_probs().unflatten(0, (2, n))
    assert (fixed - want).abs().max() > 1e-3


def test_causal_order_is_the_order_shown_and_places_are_the_positions() -> None:
    """In one layer the last entry sees a set of (token, position); its order does not matter."""
    n, model = 6, tiny(Masked(vocab_size=V), depth=1)
    inputs, order = tokens(1, n), torch.tensor([3, 0, 4, 1, 2, 5])
    place = torch.arange(n)
    want = model(View(inputs, place, Causal())).log_probs()[-1]
    got = model(View(inputs[:, order], order, Causal())).log_probs()[-1]
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    assert (
        model(View(inputs[:, order], place, Causal())).log_probs()[-1] - want
    ).abs().max() > 1e-3


def test_only_differences_of_positions_matter() -> None:
    n, model, inputs = 6, tiny(Masked(vocab_size=V)), tokens(1, 6)
    want = model(View(inputs, torch.arange(n), Full())).log_probs()
    got = model(View(inputs, torch.arange(n) + 17, Full())).log_probs()
    torch.testing.assert_close(got, want, rtol=0, atol=1e-4)  # angles are float32
    stretched = model(View(inputs, 2 * torch.arange(n), Full())).log_probs()
    assert (stretched - want).abs().max() > 1e-2


def test_the_noise_level_is_seen_by_every_prediction() -> None:
    model, inputs = tiny(FAMILIES["uniform"]), tokens(2, 5)
    views = [
        View(inputs, torch.arange(5), Full(), time=torch.tensor(m))
        for m in ([0.2, 0.2], [0.2, 0.7])
    ]
    low, mixed = (model(view).log_probs().unflatten(0, (2, 5)) for view in views)
    assert torch.equal(low[0], mixed[0]) and (low[1] != mixed[1]).any(-1).all()
