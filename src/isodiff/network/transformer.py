"""One transformer for every family.

tokens -> embedding -> depth x [norm, attention, norm, MLP] -> norm -> vocabulary head.

`Backbone(adaln=True, mlp="gelu_tanh")` is the DiT of arXiv 2602.15014 (LayerNorm without bias, biased
MLP, untied zero-initialized head, adaLN with a conditioning width of 128): its parameter counts are tested.
Departs from it in three points: the head has no row for the mask; without a noise level to show, the
conditioning input is one constant for the whole batch rather than one per sequence; keys and queries are
rotated in float32.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from isodiff.errors import InputError
from isodiff.network.attention import Attention, attend, attention_of
from isodiff.network.cache import KVCache, Layer
from isodiff.network.head import HeadPrediction
from isodiff.network.latent import LearnedLatent
from isodiff.network.modulation import Modulation, gated, modulate, zero
from isodiff.network.noise_level import NoiseLevel
from isodiff.network.rotary import rotary_table, rotate
from isodiff.network.shape import Backbone, Shape
from isodiff.network.view import Cache, Vectors, View


def _normalizer(backbone: Backbone, width: int) -> nn.Module:
    """The chosen normalization, with a weight and no bias."""
    if backbone.norm == "layer":
        return nn.LayerNorm(width, eps=1e-5, bias=False)
    return nn.RMSNorm(width, eps=1e-6)


class _Block(nn.Module):
    """Attention and MLP, pre-normalized, on a residual stream; optionally modulated (adaLN-zero)."""

    def __init__(
        self, shape: Shape, backbone: Backbone, condition: int | None, query_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.query_scale = query_scale
        width, hidden = shape.width, backbone.mlp_width(shape.width)
        self.heads, self.gated = shape.heads, backbone.mlp == "swiglu"
        self.approximate = "tanh" if backbone.mlp == "gelu_tanh" else "none"
        self.norm1 = _normalizer(backbone, width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.qk_norm = nn.RMSNorm(width // shape.heads, eps=1e-6) if backbone.qk_norm else None
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = _normalizer(backbone, width)
        self.up = nn.Linear(width, hidden * (2 if self.gated else 1), bias=not self.gated)
        self.down = nn.Linear(hidden, width, bias=not self.gated)
        self.modulation = None if condition is None else zero(nn.Linear(condition, 6 * width))

    def attention(
        self,
        qkv: Float[Tensor, "B N D3"],
        cos: Tensor,
        sin: Tensor,
        pattern: Attention,
        memory: Layer | None,
    ) -> Float[Tensor, "B N D"]:
        """Multi-head attention under `pattern` (to all of `memory`), with rotated queries and keys."""
        qkv = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        qk, v = qkv.split((2, 1))
        if self.qk_norm is not None:
            qk = self.qk_norm(qk)
        q, k = rotate(qk, cos, sin).to(v.dtype)
        q = q if self.query_scale == 1 else q * self.query_scale
        mixed = attend(q, k, v[0], pattern) if memory is None else memory.attend(q, k, v[0])
        return self.out(mixed.transpose(1, 2).flatten(2))

    def attention_at(
        self, columns: Tensor, h: Tensor, cos: Tensor, sin: Tensor, pattern: Attention
    ) -> Float[Tensor, "B M D"]:
        """The same at the positions `columns` (B, M) only: queries of those, keys of all.

        Values are linear in h, so what is averaged is h itself: one vector per head, not one per position.
        """
        batch, width = len(h), h.shape[-1]
        of_q, of_k, of_v = self.qkv.weight.split(width)
        q, k = (
            F.linear(rows, weight).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for rows, weight in ((_at(h, columns), of_q), (h, of_k))
        )
        if self.qk_norm is not None:
            q, k = self.qk_norm(q), self.qk_norm(k)
        row = torch.arange(batch, device=h.device)[:, None]
        tables = [t.expand(batch, 1, *t.shape[-2:])[row, 0, columns][:, None] for t in (cos, sin)]
        q, k = rotate(q, *tables).to(h.dtype), rotate(k, cos, sin).to(h.dtype)
        q = q if self.query_scale == 1 else q * self.query_scale
        averages = attention_of(columns, q, k, pattern).flatten(1, 2) @ h
        averages, of_v = (
            averages.unflatten(1, (self.heads, -1)),
            of_v.unflatten(0, (self.heads, -1)),
        )
        return self.out(torch.einsum("bhmd,hcd->bmhc", averages, of_v).flatten(2))

    def mlp(self, h: Tensor) -> Tensor:
        """down(gelu(up)), or down(silu(gate) * up)."""
        if not self.gated:
            return self.down(F.gelu(self.up(h), approximate=self.approximate))
        gate, up = self.up(h).chunk(2, -1)
        return self.down(F.silu(gate) * up)

    def forward(
        self,
        h: Tensor,
        cos: Tensor,
        sin: Tensor,
        pattern: Attention,
        condition: Tensor | None,
        memory: Layer | None = None,
        columns: Tensor | None = None,
        qkv: Tensor | None = None,
    ) -> Tensor:
        """h (B, N, D) after attention and MLP; `condition` (B or 1, C) modulates both.

        With `columns` (B, M), only those positions come out. `qkv` is `projected(h)`, if already known.
        """
        first, second = self.modulations(condition)
        if columns is not None:
            shown = modulate(self.norm1(h), first)
            h, mixed = _at(h, columns), self.attention_at(columns, shown, cos, sin, pattern)
        else:
            qkv = self.projected(h, first) if qkv is None else qkv
            mixed = self.attention(qkv, cos, sin, pattern, memory)
        h = h + gated(mixed, first)
        return h + gated(self.mlp(modulate(self.norm2(h), second)), second)

    def modulations(self, condition: Tensor | None) -> tuple[Modulation | None, Modulation | None]:
        """Of attention and MLP; None where nothing modulates."""
        if self.modulation is None or condition is None:
            return None, None
        parts = self.modulation(condition)[:, None].chunk(6, -1)
        return Modulation(*parts[:3]), Modulation(*parts[3:])

    def projected(self, h: Float[Tensor, "B N D"], by: Modulation | None) -> Tensor:
        """Queries, keys and values, not yet rotated: they know the state, not the position."""
        return self.qkv(modulate(self.norm1(h), by))


def _at(h: Float[Tensor, "B N D"], columns: Int[Tensor, "B M"]) -> Float[Tensor, "B M D"]:
    """h at the positions `columns` of each sequence."""
    return h.gather(1, columns[..., None].expand(-1, -1, h.shape[-1]))


def _by_sequence(read: Int[Tensor, " M"], batch: int, n: int) -> tuple[Tensor, Tensor]:
    """Positions read as columns of each sequence, padded with column 0, and where `read` lies among them."""
    row = read // n
    count = torch.bincount(row, minlength=batch)
    order = row.argsort(stable=True)
    first = count.cumsum(0) - count
    rank = torch.empty_like(read)
    rank[order] = torch.arange(len(read), device=read.device) - first[row[order]]
    columns = read.new_zeros(batch, int(count.max()))
    columns[row, rank] = read % n
    return columns, row * columns.shape[1] + rank


class Transformer(nn.Module):
    """A denoiser: reads a view of S states or of vectors, predicts V clean tokens."""

    def __init__(
        self,
        *,
        vocab_size: int,
        num_states: int,
        shape: Shape,
        backbone: Backbone,
        timed: bool,
        vectors: Vectors | None = None,
        query_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_states, self.vectors = num_states, vectors
        self.vocab_size, self.shape, self.backbone, self.timed = vocab_size, shape, backbone, timed
        width = shape.width
        conditioned = backbone.conditioned(timed)
        condition = min(backbone.condition_width, width) if conditioned else None
        self.latent = None if vectors is None else LearnedLatent(vocab_size, vectors)
        if vectors is None:
            self.embedding = nn.Embedding(num_states, width)
            nn.init.uniform_(self.embedding.weight, -(width**-0.5), width**-0.5)
        elif backbone.tied:
            raise InputError(
                "a view of vectors embeds no states to tie the head to; set tied to false"
            )
        else:
            self.embedding = nn.Linear(vectors.shown, width, bias=False)
            nn.init.zeros_(self.embedding.weight[:, vectors.width :])
        level = None if condition is None else NoiseLevel(condition, vectors=vectors is not None)
        self.noise_level = level
        self.blocks = nn.ModuleList(
            _Block(shape, backbone, condition, query_scale) for _ in range(shape.depth)
        )
        self.norm = _normalizer(backbone, width)
        self.modulation = None if condition is None else zero(nn.Linear(condition, 2 * width))
        self.head = None if backbone.tied else zero(nn.Linear(width, vocab_size))

    def reshaped(self, shape: Shape) -> Transformer:
        """A fresh one that differs in its shape alone."""
        return Transformer(
            vocab_size=self.vocab_size,
            num_states=self.num_states,
            shape=shape,
            backbone=self.backbone,
            timed=self.timed,
            vectors=self.vectors,
        )

    def cache(self, batch: int, capacity: int) -> KVCache:
        """Room for `capacity` positions of each of `batch` sequences."""
        heads, weight = self.shape.heads, self.embedding.weight
        room = (2, self.shape.depth, batch, heads, capacity, self.shape.width // heads)
        keys, values = torch.zeros(room, dtype=weight.dtype, device=weight.device)
        return KVCache(keys, values)

    @torch.no_grad()
    def cached(self, view: View, cache: Cache) -> HeadPrediction:
        """p(x_i | all that the cache holds, and view) at every position read."""
        assert isinstance(cache, KVCache)
        return self.forward(view, cache)

    def forward(self, view: View, cache: KVCache | None = None) -> HeadPrediction:
        """p(x_i | view) at every position read."""
        h = self.embedding(view.inputs)
        cos, sin = rotary_table(
            view.positions, self.shape.width // self.shape.heads, self.backbone.rotary_base
        )
        condition = None
        if self.noise_level is not None:
            m = view.time if view.time is not None else h.new_zeros(1)
            condition = self.noise_level(m)
        memory = [None] * len(self.blocks) if cache is None else cache.opened(view)
        read, columns = view.read, None
        if cache is None and read is not None and len(read) and not torch.is_grad_enabled():
            # Nobody looks at the other positions of the last block: a sixth of the work at depth 6. Not in
            # training, where FLOPs are matched by the whole block.
            columns, read = _by_sequence(read, *view.inputs.shape[:2])
            n, d = h.shape[1:]
            if columns.shape[1] * (self.shape.heads + 10 * d / n) > 11 * d + 2 * n:
                read, columns = view.read, None  # as many multiply-adds as the whole block
        qkv = self.first_projection(view.inputs, condition) if cache is None else None
        for number, (block, layer) in enumerate(zip(self.blocks, memory, strict=True), 1):
            wanted = columns if number == len(self.blocks) else None
            h = block(h, cos, sin, view.attention, condition, layer, wanted, qkv)
            qkv = None
        h = self.norm(h)
        if self.modulation is not None and condition is not None:
            shift, scale = self.modulation(condition)[:, None].chunk(2, -1)
            h = h * (1 + scale) + shift
        rows = h.flatten(0, 1)
        evidence = None if view.evidence is None else view.evidence.flatten(0, 1)
        if read is not None:
            rows = rows.index_select(0, read)
        if evidence is not None and view.read is not None:
            evidence = evidence.index_select(0, view.read)
        if self.head is None:
            return HeadPrediction(rows, self.embedding.weight[: self.vocab_size], None)
        return HeadPrediction(rows, self.head.weight, self.head.bias, evidence, view.table)

    def first_projection(self, inputs: Tensor, condition: Tensor | None) -> Tensor | None:
        """The first block's queries, keys and values, made once per state that occurs, where that is less.

        Not in training, where FLOPs are matched by the whole block.
        """
        if torch.is_grad_enabled() or inputs.is_floating_point():
            return None
        if condition is not None and len(condition) > 1:
            return None
        states, where = inputs.unique(return_inverse=True)
        if 2 * len(states) > inputs.numel():
            return None
        first = self.blocks[0]
        assert isinstance(first, _Block)
        h = self.embedding(states)[None]
        return first.projected(h, first.modulations(condition)[0])[0][where]

    @property
    def num_parameters(self) -> int:
        """All of them."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def num_non_embedding(self) -> int:
        """All but the embedding and the head's matrix (the head's bias counts)."""
        table = self.embedding.weight if self.latent is None else self.latent.raw
        tables = table.numel() if isinstance(table, nn.Parameter) else 0
        tables += 0 if self.head is None else self.head.weight.numel()
        return self.num_parameters - tables
