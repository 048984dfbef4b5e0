"""The memory of a plan against what autograd keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from isodiff.cost.memory import activation_bytes
from isodiff.families import FAMILIES
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.rng import Rows, stream

BATCH = 4


def kept(name: str, depth: int, width: int, length: int, vocab_size: int, bf16: bool) -> int:
    """Bytes that one step of a family keeps for its backward pass, parameters left out."""
    family = FAMILIES[name](vocab_size=vocab_size)  # type: ignore[call-arg]
    network = Transformer(
        vocab_size=vocab_size,
        num_states=family.num_states,
        shape=Shape(depth=depth, width=width, heads=2),
        backbone=Backbone(),
        timed=family.time_conditioned,
    )
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    held: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            held[place] = tensor  # alive, so that no other storage takes its place
        return tensor

    x = torch.randint(vocab_size, (BATCH, length), generator=stream(0, "text"))
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        family.loss(network, x, rng=Rows.of(stream(0, "noise"), BATCH))
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", ["autoregressive", "masked", "uniform", "hybrid"])
def test_a_layer_keeps_about_what_is_planned(name: str, bf16: bool) -> None:
    """Of layers alone: the difference of two depths."""
    depths = [kept(name, depth, 64, 128, 64, bf16) for depth in (2, 4)]
    planned = activation_bytes(
        depth=2,
        width=64,
        positions=BATCH * 128,
        scores=2 * 128,
        logits=0,
        number_bytes=2 if bf16 else 4,
    )
    assert 0.6 < (depths[1] - depths[0]) / planned < 1.25


def test_three_copies_of_the_logits_are_an_upper_limit() -> None:
    """Two at most are kept, and one is at work."""
    sizes = [kept("uniform", 2, 64, 128, vocab_size, bf16=False) for vocab_size in (64, 1024)]
    each = {"depth": 0, "width": 64, "positions": BATCH * 128, "scores": 0, "number_bytes": 4}
    planned = activation_bytes(**each, logits=960)
    assert 0.5 < (sizes[1] - sizes[0]) / planned <= 1
