"""The last block at the positions read only: the same predictions as with all of it."""

from __future__ import annotations

import pytest
import torch
from networks import BACKBONES, FAMILIES, V, tiny

from isodiff.network.attention import Attention, BidirectionalPrefix, Causal, Full, TwoStream
from isodiff.network.shape import Backbone
from isodiff.network.view import View

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize(
    "pattern",
    [
        *(Full(), Causal(), TwoStream(2), TwoStream(3, hidden=2)),
        BidirectionalPrefix(Causal(), (3, 0, 12)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
@pytest.mark.parametrize("own_positions", [False, True])
def test_few_reads_change_no_prediction(
    pattern: Attention, backbone: Backbone, own_positions: bool
) -> None:
    family = FAMILIES["uniform"] if backbone.adaln else FAMILIES["masked"]
    model = tiny(family, backbone)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(V, (3, 12), generator=generator)
    positions = torch.arange(12)
    if own_positions:
        positions = torch.stack([torch.randperm(12, generator=generator) for _ in range(3)])
    time = torch.tensor([0.2, 0.5, 0.9]) if backbone.adaln else None
    read = torch.tensor([25, 3, 11, 5, 30])  # none of the middle row, out of order
    view = View(tokens, positions, pattern, time=time, read=read)
    with torch.no_grad():
        few = model(view).log_probs()
    whole = model(view).log_probs().detach()  # with gradients, nothing is left out
    torch.testing.assert_close(few, whole, rtol=1e-11, atol=1e-12)
