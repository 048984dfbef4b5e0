"""Axis legend and array aliases used in every signature.

B  sequences in the batch        L  clean positions of a sequence
N  positions the network reads   M  positions whose prediction is read
V  clean vocabulary              S  states: V, plus the family's own (mask, beginning)
D  width of the network          H  attention heads
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

Tokens = Int[Tensor, "B L"]
Nats = Float[Tensor, "B L"]
State = Int[Tensor, "..."]
Time = Float[Tensor, "..."]
Probabilities = Float[Tensor, "... S"]
CleanProbabilities = Float[Tensor, "... V"]
Chosen = Bool[Tensor, "B L"]
