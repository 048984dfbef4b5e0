"""Where a text ends before its full length: at a stop token, or where it repeats itself."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isodiff.families.base import UNDECIDED
from isodiff.types import Chosen, Tokens


def end_at_stop(
    x: Tokens, undecided: Chosen, running: Bool[Tensor, " B"], stop: int | None
) -> tuple[Tokens, Bool[Tensor, " B"]]:
    """x, filled with `stop` after the first one that the prompt left `undecided`, and the rows that go on.

    A stop token counts once everything before it is decided.
    """
    if stop is None:
        return x, running
    stopped = running & (_decided_so_far(x) & undecided & (x == stop)).any(-1)
    return x.masked_fill(stopped[:, None] & (x == UNDECIDED), stop), running & ~stopped


def repeating(
    x: Tokens, vocab_size: int, below: float, span: int, every: int
) -> Bool[Tensor, " B"]:
    """Rows whose last `span` tokens have less than `below` nats of entropy, asked every so many tokens."""
    count = _decided_so_far(x).sum(-1)
    asked = (count % every == 0) & (count >= span)
    last = (count - span).clamp_min(0)[:, None]
    tokens = x.gather(1, last + torch.arange(min(span, x.shape[1])).to(last))
    return asked & (histogram_entropy(tokens, vocab_size) < below)


def histogram_entropy(tokens: Int[Tensor, "B S"], vocab_size: int) -> Float[Tensor, " B"]:
    """Of each row's tokens, in nats; undecided positions do not count."""
    share = torch.zeros(len(tokens), vocab_size + 1, dtype=torch.float64, device=tokens.device)
    one = share.new_full((1, 1), 1 / tokens.shape[1]).expand(tokens.shape)
    share = share.scatter_add(1, tokens.where(tokens != UNDECIDED, vocab_size), one)[:, :-1]
    return -torch.xlogy(share, share).sum(-1)


def _decided_so_far(x: Tokens) -> Chosen:
    return (x != UNDECIDED).long().cumprod(-1).bool()
