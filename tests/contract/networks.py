"""Tiny transformers with every parameter random, and a denoiser that remembers what it was shown."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isodiff.families.autoregressive import Autoregressive
from isodiff.families.base import Family, Sampler, Stepped
from isodiff.families.block import BlockDiffusion
from isodiff.families.gaussian import Gaussian
from isodiff.families.hybrid import Hybrid
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
    "masked-d3pm": Masked(vocab_size=V, objective="d3pm", d3pm_steps=4),
    "masked-sedd": Masked(vocab_size=V, objective="sedd"),
    "uniform": Uniform(vocab_size=V),
    "uniform-untimed": Uniform(vocab_size=V, show_time=False),
    "interpolating-1": Interpolating(vocab_size=V, alpha_0=1.0),
    "interpolating-0.5": Interpolating(vocab_size=V, alpha_0=0.5),
    "interpolating-0": Interpolating(vocab_size=V, alpha_0=0.0),
    "block-1": BlockDiffusion(vocab_size=V, block_size=1),
    "block-4": BlockDiffusion(vocab_size=V, block_size=4, objective="nelbo"),
    "block-5": BlockDiffusion(vocab_size=V, block_size=5),
    "block-64": BlockDiffusion(vocab_size=V, block_size=64),
    "block-clipped": BlockDiffusion(vocab_size=V, block_size=4, low=0.3, high=0.8),
    "hybrid": Hybrid(vocab_size=V),
    "hybrid-masks": Hybrid(vocab_size=V, p_u=0.0),
    "hybrid-shift": Hybrid(
        vocab_size=V, shift=1.0, weighting="elbo", independent_noise=0.5, show_time=False
    ),
    "interpolating-A-1": Interpolating(vocab_size=V, alpha_0=1.0, variant="A"),
    "interpolating-A-0.5": Interpolating(vocab_size=V, alpha_0=0.5, variant="A"),
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
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "masked": [
        {"order": "margin"},
        {"order": "entropy", "block": 4},
        {"block": 5},
        {"remask": 0.3},
        {"steps": None},
    ],
    "uniform": [{"kappa": 0.5}, {"tail": "x_hat"}],
    "interpolating": [
        {"order": "strided", "block": 5, "alpha_0": 0.6},
        {"order": "anchored", "alpha_0": 0.6},
        {"steps": None, "alpha_0": 0.6},
        {"block": 5},
    ],
    "autoregressive": [{"stop": 3}],
    "block": [{"steps": None}, {"window": 8}],
    "hybrid": [{"corrections": 4}],
}
"""Samplers worth testing beside the variants that families name."""


def samplers(steps: int) -> dict[str, tuple[Family, Sampler]]:
    """Every family with every variant of its samplers, cut and uncut."""
    found: dict[str, tuple[Family, Sampler]] = {}
    for name, family in FAMILIES.items():
        for options in [*family.variants.values(), *OPTIONS.get(family.name, [])]:
            own = {"steps": steps} if issubclass(family.sampler, Stepped) else {}
            words = [name, *(f"{key}={value}" for key, value in options.items())]
            found[" ".join(words)] = family, family.sampler(**own | dict(options))
        cut = family.sampler_with(steps, temperature=0.7, top_p=0.9, top_k=5, min_p=0.01)
        found[f"{name} cut"] = family, cut
    return found


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
