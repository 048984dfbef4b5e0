"""The bias of each head on scores: by positions shown, on every path, local from the start."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from networks import FAMILIES, V, tiny, tokens
from test_attention import PATTERNS, written_out
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from isodiff.network.attention import Attention, Full, attend, plain_attention
from isodiff.network.relative_bias import RelativeBias
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.network.view import View
from isodiff.rng import stream
from isodiff.runs.parametrization import factors
from isodiff.runs.spec import Recipe
from isodiff.serialization import to_json
from isodiff.train.optimizer import make_optimizer

pytestmark = pytest.mark.usefixtures("float64")


def by_hand(weight: Tensor, queries: list[int], keys: list[int]) -> Tensor:
    """H, M, N: entry by entry."""
    reach = weight.shape[1] // 2
    found = [
        [[row[max(-reach, min(reach, k - q)) + reach] for k in keys] for q in queries]
        for row in weight.tolist()
    ]
    return torch.tensor(found)


def drawn(depth: int, heads: int, reach: int) -> RelativeBias:
    bias = RelativeBias(depth, heads, reach)
    with torch.no_grad():
        bias.weight.copy_(torch.randn(bias.weight.shape, generator=stream(1)))
    return bias


def test_each_head_begins_at_a_neighbor_of_its_own() -> None:
    bias = RelativeBias(3, 6, 8)
    assert bias.weight.shape == (3, 6, 17)
    best = bias.weight.argmax(-1) - 8
    assert best.tolist() == [[-1, 1, -2, 2, -3, 3]] * 3
    assert bias.weight[0, 2].tolist() == [-abs(d + 2) for d in range(-8, 9)]
    assert (RelativeBias(1, 40, 2).weight.argmax(-1) - 2).abs().max() == 2


def test_entries_are_those_of_distances_shown_in_any_order() -> None:
    bias = drawn(2, 3, 2)
    keys = [[4, 0, 9, 1, 4], [7, 8, 2, 3, 0]]
    entries = bias.entries(torch.tensor(keys), torch.tensor(keys))
    for layer in range(2):
        found = bias(layer, entries)
        for row, places in enumerate(keys):
            assert torch.equal(found[row], by_hand(bias.weight[layer], places, places))
        few = bias(layer, entries, torch.tensor([[3, 0], [1, 1]]))
        assert torch.equal(few[0], by_hand(bias.weight[layer], [1, 4], keys[0]))
        assert torch.equal(few[1], by_hand(bias.weight[layer], [8, 8], keys[1]))
        alone = bias(layer, bias.entries(torch.arange(5), torch.arange(5)))
        assert torch.equal(alone, by_hand(bias.weight[layer], list(range(5)), list(range(5))))


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_it_is_added_to_the_scores_on_every_path(pattern: Attention, batch: tuple[int]) -> None:
    n = 12
    q, k, v = torch.randn(3, 3, 2, n, 4, generator=stream(2))
    added = torch.randn(*batch, 2, n, n, generator=stream(3))
    mask = torch.zeros(n, n).masked_fill(~written_out(pattern, n), float("-inf"))
    want = scaled_dot_product_attention(q, k, v, attn_mask=added + mask)
    for path in (plain_attention, attend):
        for grad in (False, True):
            got = path(q.requires_grad_(grad), k, v, pattern, added)
            torch.testing.assert_close(got.detach(), want, rtol=1e-12, atol=1e-13)


def test_the_order_shown_is_not_what_counts() -> None:
    """Tokens shuffled with their positions: the same predictions, shuffled."""
    model = tiny(FAMILIES["masked"], Backbone(relative_bias=2))
    x, place = tokens(1, 9), torch.arange(9)
    order = torch.randperm(9, generator=stream(4))
    in_order = model(View(x, place, Full())).log_probs()
    shuffled = model(View(x[:, order], place[order], Full())).log_probs()
    torch.testing.assert_close(shuffled, in_order[order])
    moved = model(View(x, place[order], Full())).log_probs()
    assert (moved - in_order).abs().max() > 1e-3


def test_every_layer_and_head_has_its_own_and_learns_it() -> None:
    model = tiny(FAMILIES["masked"], Backbone(relative_bias=2))
    model(View(tokens(2, 9), torch.arange(9), Full())).nats(tokens(2, 9).flatten()).sum().backward()
    assert model.relative is not None and model.relative.weight.grad is not None
    assert bool((model.relative.weight.grad != 0).all())


def test_a_spec_mentions_it_only_where_it_is_set() -> None:
    assert "relative_bias" not in to_json(Backbone())
    assert to_json(Backbone(relative_bias=8))["relative_bias"] == 8


@pytest.mark.parametrize("parametrization", ["standard", "complete_p"])
def test_it_moves_at_the_peak_rate_and_does_not_decay(parametrization: Any) -> None:
    def network(reach: int) -> Transformer:
        return Transformer(
            vocab_size=V,
            num_states=V,
            shape=Shape(depth=4, width=128, heads=4),
            backbone=Backbone(relative_bias=reach),
            timed=False,
        )

    recipe = Recipe(parametrization=parametrization)
    optimizer = make_optimizer(model := network(8), recipe, 128)
    (group,) = (g for g in optimizer.param_groups if any(p.ndim == 3 for p in g["params"]))
    assert group["weight_decay"] == 0 and group["peak"] == recipe.peak(128)
    assert factors(model) == factors(network(0))
    assert dataclasses.replace(model.backbone, relative_bias=0) == network(0).backbone
