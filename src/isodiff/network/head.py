"""The vocabulary head: hidden states in, a lazy prediction out.

Logits are made only for the positions read and only when a method asks; they are normalised in
float32 whatever the precision of the matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from isodiff.network.view import Prediction


@dataclass(frozen=True, slots=True)
class HeadPrediction(Prediction):
    """Hidden states of the positions read, with the weights of the head, and their own evidence."""

    hidden: Float[Tensor, "M D"]
    weight: Float[Tensor, "V D"]
    bias: Float[Tensor, " V"] | None
    evidence: Float[Tensor, "M E"] | None = None
    table: Float[Tensor, "V E"] | None = None

    def logits(self) -> Float[Tensor, "M V"]:
        """Unnormalised, float32 or better."""
        logits = F.linear(self.hidden, self.weight, self.bias)
        logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        if self.evidence is None or self.table is None:
            return logits
        with torch.autocast(logits.device.type, enabled=False):
            return torch.addmm(logits, self.evidence, self.table.T)

    def log_probs(self) -> Float[Tensor, "M V"]:
        """Normalised log-probabilities."""
        return self.logits().log_softmax(-1)

    def probs(self) -> Float[Tensor, "M V"]:
        """Probabilities."""
        return self.logits().softmax(-1)

    def nats(self, target: Int[Tensor, " M"]) -> Float[Tensor, " M"]:
        """-log p(target) by a fused cross-entropy."""
        return F.cross_entropy(self.logits(), target, reduction="none")
