"""Which masks are filled first: one rule, for samplers and for their likelihoods (docs/estimators.md).

Positions whose sureness differs by no more than `NEAR` are equally sure. Many are: without any token known,
nothing tells positions apart, and only rounding, which depends on the batch, would. Of equally sure
positions those are taken that are spread evenly from the left: one alone is the leftmost, and several are not
neighbors, as tokens decided together are drawn apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isodiff.categorical import draw
from isodiff.families.base import UNDECIDED, Stepped
from isodiff.families.reveal_times import Event, dense_rank, draw_steps, even_steps
from isodiff.network.view import Prediction
from isodiff.rng import Noise
from isodiff.types import Chosen, Tokens

NEAR = 1e-4
_Order = Literal["random", "left_to_right", "confidence", "probability", "margin", "entropy"]


@dataclass(frozen=True, kw_only=True)
class Ordered(Stepped):
    """A sampler that fills masks.

    Attributes:
        order: "random" is the ancestral sampler, "left_to_right" takes the masks from the left; "confidence",
            "probability", "margin" and "entropy" those where the network is surest.
    """

    order: _Order = "random"

    @property
    def by_sureness(self) -> bool:
        """Whether the network has a say in the order."""
        return self.order not in ("random", "left_to_right")

    def events(self, block: Event, undecided: Chosen, steps: int | None, rng: Noise) -> Event:
        """When positions are due, block after block in `steps` steps each; None: one position at a time.

        If the network chooses, only how many are due at a time counts.
        """
        if self.order == "random":
            alphas = torch.linspace(0, 1, steps + 1, dtype=torch.float64) if steps else None
            step = draw_steps(undecided, alphas, rng)
        else:
            step = even_steps(block, undecided, steps)
        return dense_rank(block * ((steps or block.shape[1]) + 1) + step, undecided)


def sureness(
    p: Float[Tensor, "M V"], order: str, drawn: Int[Tensor, " M"] | None = None
) -> Float[Tensor, " M"]:
    """Larger where the network is surer; in probabilities, for `entropy` in nats.

    "confidence": p of the token drawn (arXiv 2202.04200). "probability": p of the likeliest one; "margin": by
    what it is ahead of the second (arXiv 2502.09992). "entropy": how little of it there is.
    """
    if order == "confidence":
        assert drawn is not None
        return p.gather(-1, drawn[:, None]).squeeze(-1)
    if order == "probability":
        return p.amax(-1)
    if order == "margin":
        first, second = p.topk(min(2, p.shape[-1]), -1).values[:, [0, -1]].unbind(-1)
        return first - second
    return torch.xlogy(p, p).sum(-1)


def surest(score: Float[Tensor, "B L"], count: Int[Tensor, " B"]) -> Chosen:
    """The `count` surest positions of each row; those out of the question have a score of -inf."""
    ordered = score.sort(-1, descending=True).values
    least = ordered.gather(-1, (count - 1).clamp_min(0)[:, None])
    above, equal = score > least + NEAR, (score - least).abs() <= NEAR
    wanted, rank = count[:, None] - above.sum(-1, keepdim=True), equal.cumsum(-1) - 1
    spread = rank * wanted % equal.sum(-1, keepdim=True).clamp_min(1) < wanted
    return above | (equal & spread)


def candidates(x: Tokens, due: Chosen, block: Int[Tensor, "B L"], sampler: Ordered) -> Chosen:
    """The positions `due`; or, if the network chooses, the undecided ones of their block."""
    if not sampler.by_sureness:
        return due
    current = block.masked_fill(~due, -1).amax(-1, keepdim=True)
    return (x == UNDECIDED) & (block == current)


def decide(
    prediction: Prediction,
    x: Tokens,
    waiting: Chosen,
    count: Int[Tensor, " B"],
    sampler: Ordered,
    u: Float[Tensor, "B L"],
) -> Tokens:
    """x with `count` of the candidates `waiting` drawn; `prediction` is that of all of them.

    Sureness is that of the prediction itself, whatever part of it is drawn from.
    """
    if not sampler.by_sureness:
        return x.masked_scatter(waiting, prediction.draw(u[waiting], sampler))
    drawn, sure = [], []
    for logits, v in prediction.in_pieces(u[waiting]):
        drawn.append(draw(sampler.weights(logits), v))
        sure.append(sureness(logits.softmax(-1), sampler.order, drawn[-1]))
    values = torch.cat(sure)
    score = values.new_full(x.shape, -torch.inf).masked_scatter(waiting, values)
    return x.masked_scatter(waiting, torch.cat(drawn)).where(surest(score, count), x)
