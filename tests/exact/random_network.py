"""Small transformers with random weights: unlike an oracle's, their answers depend on the order."""

from __future__ import annotations

import torch

from isodiff.families.base import Family
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.rng import stream


def random_transformer(family: Family, seed: int = 0, scale: float = 0.7) -> Transformer:
    """Nothing is zero, so that whatever may matter does matter."""
    model = Transformer(
        vocab_size=family.vocab_size,
        num_states=family.num_states,
        shape=Shape(depth=2, width=8, heads=2),
        backbone=Backbone(),
        timed=family.time_conditioned,
        vectors=family.vectors,
    )
    rng = stream(seed, "random network")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=rng))
    return model
