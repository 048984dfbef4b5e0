"""Keys, values and positions of what the network was shown, by slot: preallocated, written in place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isodiff.network.attention import attend_to_slots, biased
from isodiff.network.view import Cache, View


@dataclass(frozen=True, slots=True)
class KVCache(Cache):
    """`keys[l]`, `values[l]`: layer l, each (B, H, N slots, C); `positions` of the slots, for all layers."""

    keys: Float[Tensor, "depth B H N C"]
    values: Float[Tensor, "depth B H N C"]
    positions: Int[Tensor, "B N"]

    def opened(self, view: View) -> tuple[list[Layer], Int[Tensor, "B n"]]:
        """The layers, ready to take in `view`, and the positions of the slots that they look at.

        Slots outside those allowed to anyone are not looked at.
        """
        assert view.slots is not None
        slots, n = view.slots, int(view.slots.max()) + 1
        shown = view.inputs.shape[:2]
        self.positions.scatter_(1, slots.expand(shown), view.positions.expand(shown))
        index = torch.arange(n, device=slots.device)
        allowed = view.attention.allowed(slots[..., None], index, self.keys.shape[3])
        first = int(allowed.flatten(0, -2).any(0).long().argmax())
        allowed, bias = allowed[..., first:], None
        if not bool(allowed.all()):
            zero = torch.zeros(allowed.shape, dtype=self.keys.dtype, device=slots.device)
            bias = zero.masked_fill_(~allowed, float("-inf"))
            bias = bias if allowed.ndim == 2 else bias[:, None]
        layers = [
            Layer(keys, values, slots, slice(first, n), bias)
            for keys, values in zip(self.keys, self.values, strict=True)
        ]
        return layers, self.positions[:, first:n]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a cache during one call."""

    keys: Float[Tensor, "B H N C"]
    values: Float[Tensor, "B H N C"]
    slots: Int[Tensor, "*B M"]
    seen: slice
    bias: Tensor | None

    def attend(
        self,
        q: Float[Tensor, "B H M C"],
        k: Float[Tensor, "B H M C"],
        v: Float[Tensor, "B H M C"],
        bias: Float[Tensor, "B H M n"] | None = None,
    ) -> Float[Tensor, "B H M C"]:
        """Put k and v into their slots, then attend to the slots seen; `bias` is added to their scores."""
        if self.slots.ndim == 1:
            self.keys[:, :, self.slots] = k.to(self.keys.dtype)
            self.values[:, :, self.slots] = v.to(self.values.dtype)
        else:
            row = torch.arange(len(k), device=k.device)[:, None]
            self.keys[row, :, self.slots] = k.transpose(1, 2).to(self.keys.dtype)
            self.values[row, :, self.slots] = v.transpose(1, 2).to(self.values.dtype)
        k, v = self.keys[:, :, self.seen], self.values[:, :, self.seen]
        return attend_to_slots(q, k.to(q.dtype), v.to(q.dtype), biased(self.bias, bias, q.dtype))
