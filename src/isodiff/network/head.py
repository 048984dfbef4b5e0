"""The vocabulary head: hidden states in, a lazy prediction out.

Logits are made only for the positions read and only when a method asks; they are normalised in
float32 whatever the precision of the matrix product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from isodiff.network.view import Prediction


@dataclass(frozen=True, slots=True)
class HeadPrediction(Prediction):
    """Hidden states of the positions read, with the weights of the head."""

    hidden: Float[Tensor, "M D"]
    weight: Float[Tensor, "V D"]
    bias: Float[Tensor, " V"] | None

    def logits(self) -> Float[Tensor, "M V"]:
        """Unnormalised, float32 or better."""
        logits = F.linear(self.hidden, self.weight, self.bias)
        return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits

    def log_probs(self) -> Float[Tensor, "M V"]:
        """Normalised log-probabilities."""
        return self.logits().log_softmax(-1)

    def probs(self) -> Float[Tensor, "M V"]:
        """Probabilities."""
        return self.logits().softmax(-1)

    def nats(self, target: Int[Tensor, " M"]) -> Float[Tensor, " M"]:
        """-log p(target) by a fused cross-entropy."""
        return F.cross_entropy(self.logits(), target, reduction="none")

    def nats_and_mass(
        self, target: Int[Tensor, " M"]
    ) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
        """-log p(target), and the logarithm of the mean of exp(logits), from the same logits."""
        logits = self.logits()
        mass = logits.logsumexp(-1) - math.log(logits.shape[-1])
        return F.cross_entropy(logits, target, reduction="none"), mass
