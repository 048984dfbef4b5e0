"""Likelihoods one can trust: nats with a bound type, a cost, an error bar and a protocol.

    likelihood(run, x, observed=None, method="auto", target_se=None, budget=None)

What is found for a text depends on the text, the method and the seed alone: not on the other texts of the
call, nor on how many go through the network at a time. A larger budget adds draws to those of a smaller one.
Which estimator, and why: docs/estimators.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isodiff.errors import InputError, nearest
from isodiff.evaluate.estimators.any_order import any_order
from isodiff.evaluate.estimators.chain import GROUPS, STATE_DEPENDENT, block_chain, left_to_right
from isodiff.evaluate.estimators.enumeration import all_orders, enumeration, most_confident
from isodiff.evaluate.estimators.mask_counts import mask_counts
from isodiff.evaluate.estimators.noise_level import noise_level, one_pass
from isodiff.evaluate.estimators.queries import CountingDenoiser, Estimate, Limits, Queries
from isodiff.families.base import AnyOrder, Family
from isodiff.network.view import Denoiser
from isodiff.record import Kind
from isodiff.rng import Key
from isodiff.types import Chosen, Tokens

_Estimator = Callable[[Queries, Limits], Estimate]
ANY_ORDER: dict[str, _Estimator] = {
    "mask_counts": mask_counts,
    "enumeration": enumeration,
    "orders": all_orders,
    "block_chain": block_chain,
    "left_to_right": left_to_right,
    "confidence": most_confident,
    **STATE_DEPENDENT,
}
_AFFORD = 127  # subsets that "auto" asks for rather than draw: those of 7 tokens
_METHODS = ("auto", "exact", "noise_level", "any_order", *ANY_ORDER)
_NUMBERED = ("any_order", "block_chain")


class LikelihoodEstimate(NamedTuple):
    """The likelihood of each text, as far as it is known.

    Attributes:
        nats: -log p, or an estimate of a bound on it.
        se: standard error of the estimate; 0 where nothing was drawn.
        num_forwards: network evaluations that each text took.
        kind: "exact" or "bound".
        protocol: how it was found, in words.
    """

    nats: Float[Tensor, " B"]
    se: Float[Tensor, " B"]
    num_forwards: Int[Tensor, " B"]
    kind: Kind
    protocol: str


class _Run(Protocol):
    @property
    def family(self) -> Family: ...
    @property
    def network(self) -> Denoiser: ...


def likelihood(
    run: _Run,
    x: Tokens,
    observed: Chosen | None = None,
    method: str = "auto",
    target_se: float | None = None,
    budget: int | None = None,
    *,
    seed: int = 0,
    keys: Sequence[Key] | None = None,
    batch_size: int = 64,
) -> LikelihoodEstimate:
    """Nats of the tokens of each row of `x` that are not `observed`, as the run sees them.

    Args:
        run: from `isodiff.load`, or anything with a family and a network.
        x: token ids, a text per row.
        observed: tokens known beforehand: shown, not scored.
        method: see docs/estimators.md; "auto" takes what is exact or cheapest at equal error.
        target_se: go on until the standard error of every text, in nats, is no larger.
        budget: network evaluations per text, at most; without either limit, 4 rounds of 16 draws.
        seed: of all draws.
        keys: what each row's draws depend on besides; the row itself by default.
        batch_size: texts shown to the network at a time.

    Raises:
        InputError: nothing to score, tokens that the run does not know, a text longer than its context,
            given tokens that its samplers refuse too, or a method that does not suit the family.
    """
    x = torch.as_tensor(x)
    length = getattr(getattr(run, "spec", None), "length", None)
    target = torch.ones_like(x, dtype=torch.bool) if observed is None else ~observed.to(x.device)
    _check(run.family, x, target, length)
    if target_se is not None and target_se <= 0:
        raise InputError(f"target_se must be positive, got {target_se:g}")
    if budget is not None and budget < 1:
        raise InputError(f"a budget must be at least 1 network evaluation, got {budget}")
    limits = Limits(target_se, budget)
    estimator = _estimator(run.family, method, target, limits)
    if keys is None:
        keys = [_content(row, known) for row, known in zip(x, target, strict=True)]
    parts: list[Estimate] = []
    costs = []
    for rows in torch.arange(len(x)).split(max(1, batch_size)):
        own = [keys[r] for r in rows.tolist()]
        queries = Queries(
            run.family, CountingDenoiser(run.network), x[rows], target[rows], own, seed, batch_size
        )
        parts.append(estimator(queries, limits))
        costs.append(queries.cost)
    nats, se = torch.cat([part.nats for part in parts]), torch.cat([part.se for part in parts])
    shown = "" if observed is None or not bool(observed.any()) else ", given tokens shown"
    cost = torch.cat(costs).round().long()
    protocol = f"{parts[0].protocol}{shown}, seed {seed}"
    kind: Kind = "exact" if all(part.kind == "exact" for part in parts) else "bound"
    return LikelihoodEstimate(nats, se, cost, kind, protocol)


def _check(family: Family, x: Tokens, target: Chosen, length: int | None) -> None:
    """`InputError` unless x can be scored."""
    if x.ndim != 2 or target.shape != x.shape:
        raise InputError(
            f"x is texts by tokens and given the same; got {tuple(x.shape)} and {tuple(target.shape)}"
        )
    if x.numel() == 0 or not bool(target.any(-1).all()):
        raise InputError("nothing to score: a text has no token that is not given")
    if length is not None and x.shape[1] > length:
        raise InputError(
            f"a text of {x.shape[1]} tokens is longer than the context of {length} that the run was trained "
            "on; isodiff evaluate text RUN FILE scores it window by window"
        )
    if int(x.min()) < 0 or int(x.max()) >= family.vocab_size:
        raise InputError(
            f"tokens must lie in 0..{family.vocab_size - 1}, got {int(x.min())} to {int(x.max())}"
        )
    family.check_given(target)


def _estimator(family: Family, method: str, target: Chosen, limits: Limits) -> _Estimator:
    """Called `method`; `block_chain:N` has N groups, `any_order:K` K orders."""
    name, colon, number = method.partition(":")
    if name not in _METHODS or (
        colon and not (name in _NUMBERED and number.isdecimal() and len(number) < 9)
    ):
        raise InputError(
            f"no method {method!r}{nearest(name, _METHODS)}; methods: {', '.join(_METHODS)}"
        )
    if name == "auto":
        name = _automatic(family, target, limits)
    if name == "exact":
        if family.kind != "exact":
            raise InputError(
                f"{family.name} has a bound, no exact likelihood of a whole text in one pass; "
                "the orders left_to_right, probability, margin and entropy have one where masks are filled"
            )
        return one_pass
    if name == "noise_level":
        return noise_level
    if name == "any_order":
        return partial(any_order, orders=int(number or 1))
    if not isinstance(family, AnyOrder):
        raise InputError(
            f"method {name} needs a family that fills masks in any order; for {family.name} use auto"
        )
    if name == "block_chain":
        return partial(block_chain, groups=int(number) if number else GROUPS)
    return ANY_ORDER[name]


def _automatic(family: Family, target: Chosen, limits: Limits) -> str:
    """What is exact, or else enumerated for less than drawing costs, or else drawn."""
    if family.kind == "exact":
        return "exact"
    if not isinstance(family, AnyOrder):
        return "noise_level"
    block = family.block(target.shape[1], target.device)
    size = target.new_zeros(len(target), int(block[-1]) + 1, dtype=torch.long)
    most = int(size.index_add(1, block, target.long()).max())
    return "enumeration" if 2**most - 1 <= min(limits.budget or _AFFORD, _AFFORD) else "mask_counts"


def _content(row: Tensor, target: Tensor) -> Key:
    """A key that is the text itself, and what of it is scored."""
    both = row.cpu().numpy().tobytes() + target.cpu().numpy().tobytes()
    return (hashlib.blake2b(both, digest_size=8).hexdigest(),)


def each_protocol(protocols: Iterable[str], what: str) -> str:
    """How often each protocol was followed, the most frequent first."""
    counts = Counter(protocols).most_common()
    return "; ".join(f"{count} {what}: {name}" for name, count in counts)
