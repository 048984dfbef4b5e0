"""How weights are initialized and move at another width and depth, so that hyper-parameters carry over.

`complete_p` is muP for Adam (arXiv 2203.03466) with residual branches scaled by one over the depth (alpha =
1 of CompleteP, arXiv 2505.01618). With m = width / 64 and l = depth / 2, its Table 1 reads

    hidden matrices     variance 1 / fan-in, rate eta / m, decay lambda m, epsilon / (m l)
    embedding           variance and rate as at the base width, epsilon / m
    norms and biases    both as at the base width
    head                logits = W h / m, rate eta
    residual branch     h + f(h) / l
    attention           scores q.k / C instead of q.k / sqrt(C), equal at C = 16

A factor before a matrix is the same as a smaller initialization and rate, since Adam does not see the size
of a gradient: W / m at rate eta moves as W at rate eta / m. So head and branches need no factor in the
network: the head starts at zero, and the last matrix of a branch starts and moves l times less. What a
network computes with given weights depends on the parametrization only if its heads are not 16 wide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import nn

from isodiff.errors import InputError
from isodiff.network.shape import Shape
from isodiff.network.transformer import Transformer
from isodiff.runs.spec import Recipe

BASE = Shape.parse("98k")  # 2x64x4: where both parametrizations are one
_BRANCH_ENDS = ("out.weight", "out.bias", "down.weight", "down.bias")


@dataclass(frozen=True, slots=True)
class Factors:
    """Of one parameter, relative to the base shape: initialization, learning rate, Adam's epsilon."""

    initial: float = 1.0
    rate: float = 1.0
    epsilon: float = 1.0


def query_scale(recipe: Recipe, shape: Shape) -> float:
    """What queries are multiplied with, before scores are divided by the root of the head's width."""
    if recipe.parametrization == "standard":
        return 1.0
    return ((BASE.width / BASE.heads) / (shape.width / shape.heads)) ** 0.5


def factors(network: Transformer) -> dict[str, Factors]:
    """Those of complete_p for every parameter that has a width: not what a noise process or a bias learns."""
    if network.backbone.tied:
        raise InputError(
            "complete_p: embedding and head move at rates of their own; set backbone tied to false"
        )
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        base = {name: p.shape for name, p in network.reshaped(BASE).named_parameters()}
    depth = network.shape.depth / BASE.depth
    found: dict[str, Factors] = {}
    for name, parameter in network.named_parameters():
        if name.startswith(("latent.", "relative.")):
            continue
        twin = base[re.sub(r"^blocks\.\d+", "blocks.0", name)]
        ratios = [own / theirs for own, theirs in zip(parameter.shape, twin, strict=True)]
        ends, inside = name.endswith(_BRANCH_ENDS), name.startswith("blocks.")
        if isinstance(network.get_submodule(name.rpartition(".")[0]), nn.Embedding):
            fan_in, fan_out, initial = 1.0, ratios[1], ratios[1] ** 0.5  # begins at 1 / sqrt(width)
        elif len(ratios) == 2:
            fan_in, fan_out, initial = ratios[1], ratios[0], 1.0
        else:
            fan_in, fan_out, initial = 1.0, ratios[0], _initial_bias(name, network, base)
        branch = 1 / depth if ends else 1.0
        hidden = 1 / depth if inside and not ends else 1.0
        found[name] = Factors(initial * branch, branch / fan_in, hidden / fan_out)
    return found


def _initial_bias(name: str, network: Transformer, base: dict[str, torch.Size]) -> float:
    """Biases begin at 1 / sqrt(fan-in) of their layer; what undoes its change. 1 for norms."""
    layer = network.get_submodule(name.rpartition(".")[0])
    if not isinstance(layer, nn.Linear):
        return 1.0
    weight = re.sub(r"^blocks\.\d+", "blocks.0", name.removesuffix("bias") + "weight")
    return (layer.in_features / base[weight][1]) ** 0.5


@torch.no_grad()
def initialize(network: Transformer) -> None:
    """Make fresh weights those of complete_p."""
    parameters = dict(network.named_parameters())
    for name, factor in factors(network).items():
        if factor.initial != 1:
            parameters[name].mul_(factor.initial)
