"""Every registered family with its examples and samplers, and tiny networks for them.

Nothing here names a family: the conformance tests of this folder run on whatever is registered.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from isodiff.errors import InputError
from isodiff.families import FAMILIES as REGISTERED
from isodiff.families.base import UNDECIDED, Family, Sampler, Stepped, undecided
from isodiff.families.sampling import sample
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.network.view import Latent, LogProbTable, Prediction, View
from isodiff.rng import Streams, stream

V = 7
DEFAULTS: dict[str, Family] = {name: cls(vocab_size=V) for name, cls in REGISTERED.items()}
EXAMPLES: dict[str, Family] = {
    f"{name}-{example}": cls(vocab_size=V, **options)
    for name, cls in REGISTERED.items()
    for example, options in cls.examples.items()
}
FAMILIES = DEFAULTS | EXAMPLES


def samplers_of(name: str, steps: int) -> dict[str, Sampler]:
    """Variants and examples of a family's samplers, and one that truncates; of an example the plain one."""
    family, found = FAMILIES[name], {}
    chosen = [*family.variants.values(), *family.sampler.examples]
    for options in chosen if name in DEFAULTS else chosen[:1]:
        words = [name, *(f"{key}={value}" for key, value in options.items())]
        dial = {"steps": steps} if issubclass(family.sampler, Stepped) else {}
        found[" ".join(words)] = family.sampler(**dial | dict(options))
    if name in DEFAULTS:
        cut = {"temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0.01}
        found[f"{name} cut"] = family.sampler_with(steps, **cut)
    return found


def samplers(steps: int) -> dict[str, tuple[Family, Sampler]]:
    """Those of every family."""
    return {
        label: (family, sampler)
        for name, family in FAMILIES.items()
        for label, sampler in samplers_of(name, steps).items()
    }


@functools.cache
def infills(family: Family) -> bool:
    """Whether its sampler takes prompts with anything given anywhere, or refuses them."""
    prompt = undecided(1, 12).index_fill(1, torch.tensor([1, 4, 11]), 0)
    try:
        sample(family, tiny(family, depth=1), prompt, family.sampler_with(1), rng=Streams(0, 1))
    except InputError:
        return False
    return True


def prompts(family: Family, length: int, given: list[int]) -> Tensor:
    """A row for each number of given tokens: anywhere if the family takes that, else at the beginning."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(V, (len(given), length), generator=generator)
    x = x.where(torch.arange(length) < torch.tensor(given)[:, None], UNDECIDED)
    if not infills(family):
        return x
    return x.gather(1, torch.stack([torch.randperm(length, generator=generator) for _ in x]))


BACKBONES = {
    "plain": Backbone(),
    "paper": Backbone(adaln=True, mlp="gelu_tanh"),
    "swiglu": Backbone(mlp="swiglu"),
    "tied": Backbone(tied=True),
    "modern": Backbone(norm="rms", mlp="swiglu", qk_norm=True, adaln=True),
    "local": Backbone(relative_bias=3),
    "gpt2": Backbone(biased=True, learned_positions=64, mlp="gelu_tanh", tied=True),
    "llama": Backbone(norm="rms", mlp="swiglu", mlp_hidden=24, norm_epsilon=1e-5, biased=True),
}


def tiny(
    family: Family, backbone: Backbone | None = None, *, depth: int = 2, width: int = 8
) -> Transformer:
    """Nothing is zero, so that whatever may flow does flow; with a relative bias unless `backbone` says."""
    model = Transformer(
        vocab_size=family.vocab_size,
        num_states=family.num_states,
        shape=Shape(depth=depth, width=width, heads=2),
        backbone=backbone or Backbone(relative_bias=2),
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


class Uninformed:
    """Predicts every token alike, whatever it is shown: for tests that look at the views only."""

    vocab_size = V

    def __init__(self, latent: Latent | None) -> None:
        self.latent = latent
        self.views: list[View] = []

    def __call__(self, view: View) -> Prediction:
        self.views.append(view)
        return LogProbTable(torch.full((view.num_read, V), -math.log(V)))
