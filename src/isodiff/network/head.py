"""The vocabulary head: hidden states in, a lazy prediction out.

Logits are made only for the positions read and only when a method asks; they are normalized in
float32 whatever the precision of the matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from isodiff.network.view import Prediction

PIECE = 2**22  # logits at a time where a method can do with pieces: 16 MB in float32


@dataclass(frozen=True, slots=True)
class HeadPrediction(Prediction):
    """Hidden states of the positions read, with the weights of the head, and their own evidence."""

    hidden: Float[Tensor, "M D"]
    weight: Float[Tensor, "V D"]
    bias: Float[Tensor, " V"] | None
    evidence: Float[Tensor, "M E"] | None = None
    table: Float[Tensor, "V E"] | None = None

    def logits(self) -> Float[Tensor, "M V"]:
        """Unnormalized, float32 or better."""
        logits = F.linear(self.hidden, self.weight, self.bias)
        logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        if self.evidence is None or self.table is None:
            return logits
        with torch.autocast(logits.device.type, enabled=False):
            return torch.addmm(logits, self.evidence, self.table.T)

    def in_pieces(self, *columns: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Logits and columns of as many rows at a time as make `PIECE` numbers."""
        rows, whole = max(1, PIECE // len(self.weight)), len(self.hidden)
        for start in range(0, whole, rows) if whole else [0]:
            piece = slice(start, start + rows)
            evidence = None if self.evidence is None else self.evidence[piece]
            part = replace(self, hidden=self.hidden[piece], evidence=evidence)
            yield part.logits(), *(column[piece] for column in columns)

    def log_probs(self) -> Float[Tensor, "M V"]:
        """Normalized log-probabilities."""
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
