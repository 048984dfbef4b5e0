r"""Time integrals as sums over the number of corrupted tokens: exact, without an epsilon.

Let m = 1 - alpha_t be the probability that a token is corrupted, and let f be a sum over the tokens
of the rate of a bound in m. With k of L tokens corrupted, chosen uniformly,

    int_0^1 E[f(m)] dm = sum_{k=0}^{L} 1/(L+1) E[f(m)],   m | k ~ Beta(k+1, L-k+1).           (1)

*Masks.* f = (1/m) sum of the masked tokens' nats =: C_k / m, and 1/m integrates in closed form:

    int = sum_{k=1}^{L} C_k / k = E_{k ~ U{1..L}} [(L/k) C_k].                                (2)

If the process stops at a mask probability m_0 > 0 (interpolating families),

    int_{m_0}^1 = sum_k P(k_0 < k) C_k / k,   k_0 ~ Binomial(L, m_0):                         (3)

the diffusion passes through k masks exactly if it has more than k_0 of them left to remove.

*Any other noise.* The rate of a corrupted token grows as 1/m for m -> 0. Absorbing that factor,

    1/(L+1) Beta(m; k+1, L-k+1) = [m/k] Beta(m; k, L-k+1),   k >= 1,                          (4)

so drawing m from Beta(k, L-k+1) with weight m (L+1)/k keeps the variance finite. That m is the k-th
smallest of L uniform numbers: the moment at which the k-th token is corrupted.

*T steps.* In D3PM's bound (arXiv 2107.03006) time takes the values i/T, of weight 1/T each. Only the law of
k changes, and with it what stands in the place of 1/k in Eq. (2):

    w_k = sum_{i=1}^{T} (1/i) P(Binomial(L, i/T) = k),   which tends to 1/k.                       (5)

*Masks within a range* of mask probabilities (training only): (3) from m_1 taken off (3) from m_0,

    int_{m_0}^{m_1} = sum_k P(m_0 < M_k <= m_1) C_k / k,                                      (6)

M_k being the moment at which the k-th token is masked: M_k > m exactly if Binomial(L, m) < k.

*Known tokens* (prompts, padding) are never corrupted: the n that are free take the place of L in all of the
above, row by row, and what is bounded is -log p(free | known).

Eq. (2) is the any-order form of arXiv 2406.07524, Eq. (10) (compare 2406.03736, Section 3.2);
Eqs. (3), (4) and (6) are ours; (5) is D3PM's sum over its steps, taken first over k.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from isodiff.categorical import draw
from isodiff.rng import Rows
from isodiff.types import Chosen


def num_free(rng: Rows, length: int, observed: Chosen | None) -> Int[Tensor, " B"]:
    """n: tokens of each row that are not given."""
    if observed is None:
        return torch.full((len(rng),), length, device=rng.device)
    return (~observed).sum(-1)


def known_first(order: Int[Tensor, "B L"], observed: Chosen | None) -> Int[Tensor, "B L"]:
    """Each row's order with the given positions in front, from left to right."""
    if observed is None:
        return order
    place = torch.arange(order.shape[-1], device=order.device)
    return torch.where(observed, place, len(place) + order.argsort(-1)).argsort(-1)


def tail_left_to_right(order: Int[Tensor, "B L"], k: Int[Tensor, " B"]) -> Int[Tensor, "B L"]:
    """`order` with its last k items sorted by position."""
    length = order.shape[1]
    tail = torch.arange(length, device=order.device) >= (length - k)[:, None]
    rank = torch.arange(length, device=order.device).expand_as(order)
    key = torch.where(tail, length + order, rank)
    return order.gather(1, key.argsort(-1))


def by_count(
    n: Int[Tensor, "*R"], width: int, table: Callable[[int], Float[Tensor, " K"]]
) -> Float[Tensor, "*R {width}"]:
    """`table(n)` for every n, zeros behind it; made once for each that occurs."""
    found, which = n.unique(return_inverse=True)
    rows = [table(size).to(n.device) for size in found.tolist()]
    return torch.stack([pad(row, (0, width - len(row))) for row in rows])[which]


def last(order: Int[Tensor, "B L"], k: Int[Tensor, " B"]) -> Bool[Tensor, "B L"]:
    """The last k items of each row's order, as a selection of positions."""
    return order.argsort(-1) >= (order.shape[-1] - k)[:, None]


def last_of_blocks(
    order: Int[Tensor, "B L"], k: Int[Tensor, "B N"], size: int
) -> Bool[Tensor, "B L"]:
    """The same in every block of `size` positions (the last may be smaller): its last k items."""
    length = order.shape[-1]
    place = torch.arange(length, device=order.device)
    block = place // size
    # Sorted by block, then by rank in the order: what is left is the rank within the block.
    rank = (block * length + order.argsort(-1)).argsort(-1).argsort(-1) - block * size
    return rank >= (length - block * size).clamp_max(size) - k[:, block]


def binomial(length: int, p: float, device: torch.device | str = "cpu") -> Float[Tensor, " K"]:
    """P(k) for k = 0..length, in float64."""
    k = torch.arange(length + 1, dtype=torch.float64, device=device)
    n = torch.tensor(float(length), dtype=torch.float64, device=device)
    choose = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    q = torch.tensor(p, dtype=torch.float64, device=device)
    return (choose + torch.xlogy(k, q) + torch.xlogy(n - k, 1 - q)).exp()


def visited(length: int, kept: float, device: torch.device | str = "cpu") -> Float[Tensor, " L"]:
    """P(k_0 < k) for k = 1..length, k_0 ~ Binomial(length, kept): Eq. (3)."""
    return binomial(length, kept, device).cumsum(0)[:-1].clamp_max(1)


def between(
    length: int, low: float, high: float, device: torch.device | str = "cpu"
) -> Float[Tensor, " L"]:
    """P(low < M_k <= high) for k = 1..length: Eq. (6). Their sum is length (high - low)."""
    return (visited(length, low, device) - visited(length, high, device)).clamp_min(0)


@cache
def step_weights(length: int, steps: int) -> Float[Tensor, " L"]:
    """w_k for k = 1..length: Eq. (5)."""
    return sum(
        (binomial(length, i / steps)[1:] / i for i in range(1, steps + 1)),
        torch.zeros(length, dtype=torch.float64),
    )


def draw_mask_counts(
    rng: Rows, length: int, kept: float = 0.0, observed: Chosen | None = None
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """k masks per row, and the weight of the masked tokens' nats: Eq. (2), or (3) for kept > 0.

    Both are 0 in a row without a free token.
    """
    n = num_free(rng, length, observed)
    if kept == 0:
        k = rng.antithetic(n).minimum(n)
        return k, n / k.clamp_min(1).double()
    chance = by_count(n, length, lambda size: visited(size, kept, rng.device))
    k = (1 + draw(chance, rng.strata())).minimum(n)
    return k, chance.sum(-1) / k.clamp_min(1).double()


def leftover_counts(
    rng: Rows, length: int, kept: float, observed: Chosen | None = None
) -> Int[Tensor, " B"]:
    """k_0 masks per row, left where the process stops at mask probability `kept`: Eq. (3)."""
    law = partial(binomial, p=kept, device=rng.device)
    return draw(by_count(num_free(rng, length, observed), length + 1, law), rng.strata())


def expected_masks(length: int, kept: float = 0.0) -> float:
    """Mean of the k that `draw_mask_counts` draws."""
    chance = visited(length, kept)
    k = torch.arange(1, length + 1)
    return float((chance * k).sum() / chance.sum())


def typical_clean(chance: Float[Tensor, " K"]) -> Int[Tensor, ""]:
    """c clean tokens such that c (c - 1) is its mean; `chance` is that of 1 .. L masks, or of 0 .. L."""
    clean = torch.arange(len(chance) - 1, -1, -1)
    mean = (chance * clean * (clean - 1)).sum() / chance.sum()
    return ((1 + (1 + 4 * mean).sqrt()) / 2).round().long()


def jump_times(
    rng: Rows, length: int, observed: Chosen | None = None
) -> tuple[Bool[Tensor, "B L"], Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Corrupted tokens, corruption probability m, and weight of the total rate in m: Eqs. (1), (4)."""
    n = num_free(rng, length, observed)
    k = (rng.strata() * (n + 1)).long()
    u = rng.uniform(length)
    u = u if observed is None else u.masked_fill(observed, torch.inf)  # never
    v = rng.uniform()
    ordered = u.sort(-1).values
    at_jump = ordered.gather(-1, (k - 1).clamp_min(0)[:, None]).squeeze(-1)
    untouched = 1 - (1 - v) ** (1 / (n + 1).double())  # the smallest of n + 1 uniform numbers
    m = torch.where(k > 0, at_jump, untouched)
    weight = torch.where(k > 0, m * (n + 1) / k.clamp_min(1), torch.ones_like(m))
    moved = (u <= m[:, None]) & (k > 0)[:, None]
    return moved, m, weight
