"""Parameter counts of arXiv 2602.15014 and of MDLM's DiT, on the meta device."""

from __future__ import annotations

import pytest
import torch

from isodiff.network.shape import PAPER, Backbone, Shape
from isodiff.network.transformer import Transformer


def paper_network(name: str, vocab_size: int, num_states: int) -> Transformer:
    with torch.device("meta"):
        return Transformer(
            vocab_size=vocab_size,
            num_states=num_states,
            shape=Shape.parse(name),
            backbone=Backbone(adaln=True, mlp="gelu_tanh"),
            timed=False,
        )


def test_dit_small_of_mdlm() -> None:
    """169,627,218 with a head row and bias for the mask, which ours has not."""
    model = paper_network("113M", 50257, 50258)
    assert model.num_parameters == 169_627_218 - (768 + 1)


# Millions, V = 32001 with the mask; non-embedding = all - 2 V d.
LADDER = {
    "6M": (6.1, 22.5),
    "19M": (16.7, 41.3),
    "48M": (40.1, 77.0),
    "75M": (86.9, 127.8),
    "113M": (92.4, 141.6),
    "180M": (145.0, 202.3),
    "336M": (268.0, 333.5),
    "472M": (372.3, 454.2),
    "761M": (597.8, 687.9),
    "1028M": (799.2, 913.9),
    "1476M": (1143.1, 1274.2),
    "2121M": (1639.2, 1778.5),
}


@pytest.mark.parametrize("name", LADDER)
def test_ladder_of_the_paper(name: str) -> None:
    model = paper_network(name, 32001, 32001)
    non_embedding, total = LADDER[name]
    assert round(model.num_non_embedding / 1e6, 1) == non_embedding
    assert round(model.num_parameters / 1e6, 1) == total


def test_every_size_of_the_ladder_is_a_valid_shape() -> None:
    assert len(PAPER) == 30
    for name in PAPER:
        shape = Shape.parse(name)
        assert Shape.parse(str(shape)) == shape


def test_swiglu_has_nearly_as_many_parameters() -> None:
    def count(backbone: Backbone) -> int:
        with torch.device("meta"):
            shape = Shape(depth=4, width=192, heads=6)
            model = Transformer(
                vocab_size=256, num_states=257, shape=shape, backbone=backbone, timed=False
            )
        return model.num_non_embedding

    assert count(Backbone(mlp="swiglu")) == pytest.approx(count(Backbone()), rel=0.01)
