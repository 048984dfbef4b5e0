"""Tiny transformers with every parameter random, and a denoiser that remembers what it was shown."""

from __future__ import annotations

import torch
from torch import Tensor

from isodiff.families.autoregressive import Autoregressive
from isodiff.families.base import Family
from isodiff.families.gaussian import Gaussian
from isodiff.families.interpolating import Interpolating
from isodiff.families.masked import Masked
from isodiff.families.uniform import Uniform
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.network.view import Latent, Prediction, View
from isodiff.rng import stream

V = 7
FAMILIES: dict[str, Family] = {
    "autoregressive": Autoregressive(vocab_size=V),
    "masked": Masked(vocab_size=V),
    "uniform": Uniform(vocab_size=V),
    "uniform-untimed": Uniform(vocab_size=V, show_time=False),
    "interpolating-1": Interpolating(vocab_size=V, alpha_0=1.0),
    "interpolating-0.5": Interpolating(vocab_size=V, alpha_0=0.5),
    "interpolating-0": Interpolating(vocab_size=V, alpha_0=0.0),
    "gaussian": Gaussian(vocab_size=V, embedding_width=4),
    "gaussian-once": Gaussian(vocab_size=V, embedding_width=4, self_conditioning=False),
    "gaussian-fixed": Gaussian(
        vocab_size=V,
        embedding_width=4,
        output_prior=False,
        learned_schedule=False,
        learned_embeddings=False,
    ),
    "gaussian-schedule": Gaussian(vocab_size=V, embedding_width=4, learned_embeddings=False),
    "gaussian-embeddings": Gaussian(vocab_size=V, embedding_width=4, learned_schedule=False),
}
BACKBONES = {
    "plain": Backbone(),
    "paper": Backbone(adaln=True, mlp="gelu_tanh"),
    "swiglu": Backbone(mlp="swiglu"),
    "tied": Backbone(tied=True),
    "modern": Backbone(norm="rms", mlp="swiglu", qk_norm=True, adaln=True),
}


def tiny(
    family: Family, backbone: Backbone | None = None, *, depth: int = 2, width: int = 8
) -> Transformer:
    """Nothing is zero, so that whatever may flow does flow."""
    model = Transformer(
        vocab_size=family.vocab_size,
        num_states=family.num_states,
        shape=Shape(depth=depth, width=width, heads=2),
        backbone=backbone or Backbone(),
        timed=family.time_conditioned,
        vectors=family.vectors,
    )
    rng = stream(0, "tiny")
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
            parameter.copy_(0.5 * noise)
    return model


class Recorder:
    """A denoiser that keeps the views it is shown and the predictions it makes."""

    def __init__(self, model: Transformer) -> None:
        self.model, self.vocab_size = model, model.vocab_size
        self.views: list[View] = []
        self.predictions: list[Prediction] = []

    def __call__(self, view: View) -> Prediction:
        self.views.append(view)
        self.predictions.append(self.model(view))
        return self.predictions[-1]

    @property
    def latent(self) -> Latent | None:
        return self.model.latent

    @property
    def log_probs(self) -> list[Tensor]:
        return [prediction.log_probs().detach() for prediction in self.predictions]


def tokens(batch: int, length: int, vocab_size: int = V) -> Tensor:
    return torch.randint(vocab_size, (batch, length), generator=stream(0, "tokens"))
