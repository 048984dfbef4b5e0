"""Denoisers that know the truth, and the quadrature that needs no epsilon.

An oracle is handed a `View` and nothing else: which tokens it may use follows from the attention
pattern (closed under composition, as in a deep network) and the rotary positions. A wrong pattern, or
positions that do not travel with their tokens, make it answer another question.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from isodiff.data.toy import Toy
from isodiff.network.attention import Attention
from isodiff.network.view import Latent, LogProbTable, View
from isodiff.process.hybrid import HybridNoise


@functools.lru_cache(maxsize=256)
def visible(pattern: Attention, n: int) -> Tensor:
    """(query, key), by sequence where they differ: whether the key reaches the query through any layers."""
    index = torch.arange(n)
    reach = pattern.allowed(index[:, None], index[None, :], n) | torch.eye(n, dtype=torch.bool)
    while True:
        further = reach.double() @ reach.double() > 0
        if torch.equal(further, reach):
            return reach
        reach = further


@functools.lru_cache(maxsize=16)
def conditionals(toy: Toy) -> Tensor:
    """log p(x_i | known) of every position i for all (V + 1)^L sets of known tokens, where V is none."""
    known = torch.cartesian_prod(*[torch.arange(toy.vocab_size + 1)] * toy.length)
    known = known.view(-1, toy.length)
    each = [toy.conditional(known, torch.full((len(known),), i)) for i in range(toy.length)]
    return torch.stack(each, 1).log()


@dataclass(frozen=True)
class Optimal:
    """p(x_i | the clean tokens that position i can see), at every position read.

    `shift` = 1 says that the entry at rotary position p shows token p - 1 (autoregressive input).
    """

    toy: Toy
    shift: int = 0

    @property
    def vocab_size(self) -> int:
        return self.toy.vocab_size

    def known(self, view: View) -> Tensor:
        """B, N, L: the tokens each entry knows, V where it knows none."""
        (batch, n), length = view.inputs.shape, self.toy.length
        reach = visible(view.attention, n)
        places = view.positions.expand(batch, n) - self.shift
        known = torch.full((batch, n, length), self.vocab_size)
        for key in range(n):
            token, place = view.inputs[:, key], places[:, key]
            told = reach[..., key] & ((token < self.vocab_size) & (place >= 0))[:, None]
            here = told[..., None] & one_hot(place.clamp_min(0), length).bool()[:, None]
            token = token[:, None, None]
            assert not (here & (known != self.vocab_size) & (known != token)).any()
            known = torch.where(here, token, known)
        return known

    def __call__(self, view: View) -> LogProbTable:
        known = self.known(view).flatten(0, 1)
        position = view.positions.expand(view.inputs.shape).flatten()
        if view.read is not None:
            known, position = known[view.read], position[view.read]
        index = known @ (self.vocab_size + 1) ** torch.arange(self.toy.length - 1, -1, -1)
        return LogProbTable(conditionals(self.toy)[index, position])


@dataclass(frozen=True)
class LeaveOneOut:
    """p(x_i | z without z_i) for noise of level `view.time`; with `own`, p(x_i | z).

    `process` says how much of the noise is random tokens, all of it by default; a mask tells nothing.
    Positions `observed` have no noise.
    """

    toy: Toy
    own: bool = False
    process: HybridNoise | None = None
    observed: tuple[int, ...] = ()

    @property
    def vocab_size(self) -> int:
        return self.toy.vocab_size

    def __call__(self, view: View) -> LogProbTable:
        assert view.time is not None and view.positions.ndim == 1
        n, m, v = view.inputs.shape[1], view.time[:, None], self.vocab_size
        random = m if self.process is None else m * random_share(self.process, m)
        reach, x = visible(view.attention, n), self.toy.sequences
        told, rows = [], []
        for key in range(n):
            token, place = view.inputs[:, key, None], int(view.positions[key])
            same = token == x[:, place]
            each = (1 - m) * same + random / v if place not in self.observed else same.double()
            told.append(each.where(token < v, 1.0))
        for query in range(n):
            weight = self.toy.p.flatten().expand(len(m), -1)
            for key in range(n):
                if reach[query, key] and (self.own or key != query):
                    weight = weight * told[key]
            w = weight @ one_hot(x[:, view.positions[query]], v).to(weight)
            rows.append(w / w.sum(-1, keepdim=True))
        table = torch.stack(rows, 1).flatten(0, 1).log()
        return LogProbTable(table if view.read is None else table[view.read])


def random_share(process: HybridNoise, m: Tensor) -> Tensor:
    """Share of random tokens in the noise at alpha_t = 1 - m, by bisection in log(t / (1 - t))."""
    m, place = m.unique(return_inverse=True)
    middle, width = torch.zeros_like(m), 40.0
    for _ in range(60):
        _, random, mask = process.parts(middle.sigmoid())
        middle, width = middle + torch.where(random + mask < m, width, -width), width / 2
    _, random, mask = process.parts(middle.sigmoid())
    return (random / (random + mask))[place]


@dataclass(frozen=True)
class Known:
    """Vectors and a schedule that are given: V unit vectors, gamma from `low` to `high` as t^power."""

    vectors: Tensor
    low: float = -3.0
    high: float = 20.0
    power: float = 1.0

    @classmethod
    def circle(cls, vocab_size: int, **ends: float) -> Known:
        """Evenly spaced on a circle; for two tokens, -1 and 1 on a line."""
        angle = torch.arange(vocab_size, dtype=torch.float64) * (2 * math.pi / vocab_size)
        vectors = torch.stack([angle.cos(), angle.sin()], -1)
        return cls(vectors[:, :1].sign() if vocab_size == 2 else vectors, **ends)

    def table(self) -> Tensor:
        return self.vectors

    def ends(self) -> tuple[Tensor, Tensor]:
        low, high = torch.tensor([self.low, self.high], dtype=torch.float64)
        return low, high

    def progress(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return t**self.power, self.power * t ** (self.power - 1)


@dataclass(frozen=True)
class Bayes:
    """p(x_i | z) for Gaussian noise: or, where evidence is shown, p(x_i | z without z_i) and that.

    Positions `observed` have no noise.
    """

    toy: Toy
    latent: Latent
    observed: tuple[int, ...] = ()

    @property
    def vocab_size(self) -> int:
        return self.toy.vocab_size

    def __call__(self, view: View) -> LogProbTable:
        assert view.time is not None and view.table is not None and view.read is None
        vectors, m, x = view.table, view.time[:, None, None], self.toy.sequences
        width = vectors.shape[1]
        z = view.inputs[..., :width] * ((1 - m) / width + m).sqrt()
        far = (z[:, :, None] - (1 - m)[..., None].sqrt() * vectors).square().sum(-1)
        each = (-far / (2 * m))[:, torch.arange(x.shape[1]), x]
        for i in self.observed:  # without noise, one vector is at hand and the others are not
            each[..., i] = torch.where(
                far[:, i].gather(1, x[:, i].expand(len(far), -1)) < 1e-12, 0, -1e4
            )
        whole = each.sum(-1) + self.toy.p.flatten().log()
        rows = []
        for i in range(x.shape[1]):
            known = whole if view.evidence is None else whole - each[..., i]
            rows.append(
                torch.stack([known[:, x[:, i] == v].logsumexp(-1) for v in range(len(vectors))], -1)
            )
        log_p = torch.stack(rows, 1)
        if view.evidence is not None:
            log_p = log_p + view.evidence @ view.table.T
        return LogProbTable(log_p.log_softmax(-1).flatten(0, 1))


def tanh_sinh(nodes: int = 61, reach: float = 3.0) -> tuple[Tensor, Tensor]:
    """Nodes in (0, 1) and weights; end-point singularities do not matter."""
    u = torch.linspace(-reach, reach, nodes, dtype=torch.float64)
    t = torch.sigmoid(math.pi * u.sinh())
    other = torch.sigmoid(-math.pi * u.sinh())
    return t, (u[1] - u[0]) * math.pi * u.cosh() * t * other
