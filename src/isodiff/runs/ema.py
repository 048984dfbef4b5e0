"""Exponential moving average of the weights: what is evaluated, never what is trained."""

from __future__ import annotations

import torch
from torch import nn


class AveragedWeights:
    """average <- decay * average + (1 - decay) * weights, after every step.

    Attributes:
        weights: the averages by parameter, of the parameters' shapes.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {n: p.detach().clone() for n, p in network.named_parameters()}

    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        current = [p.detach() for p in network.parameters()]
        averages = list(self.weights.values())
        torch._foreach_lerp_(averages, current, 1 - self.decay)  # pyright: ignore[reportPrivateImportUsage]
