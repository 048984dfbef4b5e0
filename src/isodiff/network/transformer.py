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

from isodiff.errors import InputError
from isodiff.network.cache import KVCache
from isodiff.network.head import HeadPrediction
from isodiff.network.latent import LearnedLatent
from isodiff.network.modulation import zero
from isodiff.network.noise_level import NoiseLevel
from isodiff.network.relative_bias import RelativeBias
from isodiff.network.rotary import rotary_table
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer_block import TransformerBlock, normalizer
from isodiff.network.view import Cache, Vectors, View


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
        self.positions = None
        if backbone.learned_positions:
            self.positions = nn.Embedding(backbone.learned_positions, width)
            nn.init.normal_(self.positions.weight, std=0.02)
        level = None if condition is None else NoiseLevel(condition, vectors=vectors is not None)
        self.noise_level = level
        self.blocks = nn.ModuleList(
            TransformerBlock(shape, backbone, condition, query_scale) for _ in range(shape.depth)
        )
        self.norm = normalizer(backbone, width)
        self.modulation = None if condition is None else zero(nn.Linear(condition, 2 * width))
        self.head = None if backbone.tied else zero(nn.Linear(width, vocab_size))
        reach = backbone.relative_bias
        self.relative = RelativeBias(shape.depth, shape.heads, reach) if reach else None

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
        positions = torch.zeros(batch, capacity, dtype=torch.long, device=weight.device)
        return KVCache(keys, values, positions)

    @torch.no_grad()
    def cached(self, view: View, cache: Cache) -> HeadPrediction:
        """p(x_i | all that the cache holds, and view) at every position read."""
        assert isinstance(cache, KVCache)
        return self.forward(view, cache)

    def forward(self, view: View, cache: KVCache | None = None) -> HeadPrediction:
        """p(x_i | view) at every position read."""
        h, turned = self.embedding(view.inputs), view.positions
        if self.positions is not None:
            h, turned = h + self.learned(view.positions), torch.zeros_like(view.positions)
        cos, sin = rotary_table(
            turned, self.shape.width // self.shape.heads, self.backbone.rotary_base
        )
        condition = None
        if self.noise_level is not None:
            m = view.time if view.time is not None else h.new_zeros(1)
            condition = self.noise_level(m)
        memory, seen = [None] * len(self.blocks), view.positions
        if cache is not None:
            memory, seen = cache.opened(view)
        read, columns = view.read, None
        if cache is None and read is not None and len(read) and not torch.is_grad_enabled():
            # Nobody looks at the other positions of the last block: a sixth of the work at depth 6. Not in
            # training, where FLOPs are matched by the whole block.
            columns, read = _by_sequence(read, *view.inputs.shape[:2])
            n, d = h.shape[1:]
            if columns.shape[1] * (self.shape.heads + 10 * d / n) > 11 * d + 2 * n:
                read, columns = view.read, None  # as many multiply-adds as the whole block
        qkv = self.first_projection(view.inputs, condition) if cache is None else None
        apart = None if self.relative is None else self.relative.entries(view.positions, seen)
        for number, (block, layer) in enumerate(zip(self.blocks, memory, strict=True)):
            wanted = columns if number == len(self.blocks) - 1 else None
            bias = None
            if self.relative is not None and apart is not None:
                bias = self.relative(number, apart, wanted)
            h = block(h, cos, sin, view.attention, condition, bias, layer, wanted, qkv)
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
        if torch.is_grad_enabled() or inputs.is_floating_point() or self.positions is not None:
            return None
        if condition is not None and len(condition) > 1:
            return None
        states, where = inputs.unique(return_inverse=True)
        if 2 * len(states) > inputs.numel():
            return None
        first = self.blocks[0]
        assert isinstance(first, TransformerBlock)
        h = self.embedding(states)[None]
        return first.projected(h, first.modulations(condition)[0])[0][where]

    def learned(self, positions: Int[Tensor, "*B N"]) -> Float[Tensor, "*B N D"]:
        """The vectors of positions.

        Raises:
            InputError: one of them has none.
        """
        assert self.positions is not None
        known = self.positions.num_embeddings
        if positions.device.type != "meta" and int(positions.max()) >= known:
            raise InputError(
                f"a text of {int(positions.max()) + 1} tokens is longer than the {known} positions that this "
                f"network has learned; give a length of at most {known}"
            )
        return self.positions(positions)

    @property
    def num_parameters(self) -> int:
        """All of them."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def num_non_embedding(self) -> int:
        """All but embeddings (of positions too) and the head's matrix (the head's bias counts)."""
        table = self.embedding.weight if self.latent is None else self.latent.raw
        tables = table.numel() if isinstance(table, nn.Parameter) else 0
        tables += 0 if self.head is None else self.head.weight.numel()
        tables += 0 if self.positions is None else self.positions.weight.numel()
        return self.num_parameters - tables
