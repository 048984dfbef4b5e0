"""Muon: steps of matrices are orthogonalized momenta (Keller Jordan 2024; arXiv 2502.16982).

`torch.optim.Muon` takes one matrix at a time in bfloat16: 1.6 to 3.8 ms a step for the eight of a network
of two blocks. Here those of one shape are one batch, in float32 while they are small: a tenth of that
(benchmarks/results/muon.md). In one precision the numbers are the library's, which a test holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS, _EPSILON = 5, 1e-7
_SMALL = 128  # rows below which bfloat16 does not pay


class MuonWithAdamW(torch.optim.AdamW):
    """AdamW for all groups but those with `momentum`, whose matrices are stepped by Muon."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if "momentum" not in group]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if "momentum" in group:
                self._orthogonal_step(group)
        return loss

    def _orthogonal_step(self, group: dict[str, Any]) -> None:
        rate, momentum = group["lr"], group["momentum"]
        by_shape: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = {}
        for matrix in group["params"]:
            if matrix.grad is None:
                continue
            mean = self.state[matrix].setdefault("momentum_buffer", torch.zeros_like(matrix))
            mean.lerp_(matrix.grad, 1 - momentum)
            update = matrix.grad.lerp(mean, momentum)  # Nesterov's
            by_shape.setdefault(_wide(update).shape, []).append((matrix, update))
        for found in by_shape.values():
            steps = _orthogonalized(torch.stack([_wide(update) for _, update in found]))
            for (matrix, _), step in zip(found, steps, strict=True):
                rows, columns = matrix.shape
                matrix.mul_(1 - rate * group["weight_decay"])
                scale = max(1.0, rows / columns) ** 0.5
                matrix.add_(step.mT if rows > columns else step, alpha=-rate * scale)


def _wide(matrix: Tensor) -> Tensor:
    """With no more rows than columns."""
    return matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix


def _orthogonalized(matrices: Float[Tensor, "K R C"]) -> Float[Tensor, "K R C"]:
    """U V^T of each U S V^T, with singular values between about 0.7 and 1.2, by Newton-Schulz; R <= C."""
    a, b, c = _COEFFICIENTS
    x = matrices if matrices.shape[1] < _SMALL else matrices.bfloat16()
    x = x / x.flatten(1).norm(dim=1).clamp_min(_EPSILON)[:, None, None]
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)


def optimizer_flops(optimizer: torch.optim.Optimizer) -> int:
    """FLOPs of the matrix products of one step: Muon's; AdamW has none."""
    shapes = [p.shape for g in optimizer.param_groups if "momentum" in g for p in g["params"]]
    found = 0
    for small, large in map(sorted, shapes):
        found += _ITERATIONS * (4 * small * small * large + 2 * small**3)
    return found
