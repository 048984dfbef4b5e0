"""Sizes from one dial: depth, width and heads, by name.

The paper's ladder is that of arXiv 2602.15014 (its names are neither of the two usual parameter
counts: "113M" has 84.9M in its blocks). The laptop ladder continues it downwards.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from isodiff.bounds import Checked, Count, Positive, RotaryBase, ShapeCount, Whole
from isodiff.errors import InputError, nearest

LAPTOP = {
    "2k": (2, 8, 1),
    "4k": (2, 12, 1),
    "5k": (2, 14, 1),
    "6k": (2, 16, 1),
    "10k": (2, 20, 1),
    "14k": (2, 24, 2),
    "25k": (2, 32, 2),
    "38k": (2, 40, 2),
    "55k": (2, 48, 3),
    "98k": (2, 64, 4),
    "147k": (3, 64, 4),
    "332k": (3, 96, 4),
    "786k": (4, 128, 4),
    "1.8M": (4, 192, 6),
    "4.7M": (6, 256, 4),
}
PAPER = {
    "6M": (6, 256, 4),
    "19M": (8, 384, 6),
    "34M": (8, 512, 8),
    "48M": (9, 576, 9),
    "66M": (10, 640, 10),
    "75M": (16, 640, 8),
    "85M": (13, 640, 10),
    "113M": (12, 768, 12),
    "142M": (15, 768, 12),
    "170M": (18, 768, 12),
    "180M": (14, 896, 14),
    "206M": (16, 896, 14),
    "231M": (18, 896, 14),
    "268M": (16, 1024, 16),
    "302M": (18, 1024, 16),
    "336M": (20, 1024, 16),
    "472M": (18, 1280, 10),
    "551M": (21, 1280, 10),
    "571M": (18, 1408, 11),
    "629M": (24, 1280, 10),
    "666M": (21, 1408, 11),
    "717M": (19, 1536, 12),
    "761M": (24, 1408, 11),
    "831M": (22, 1536, 12),
    "944M": (25, 1536, 12),
    "1028M": (20, 1792, 14),
    "1233M": (24, 1792, 14),
    "1476M": (22, 2048, 16),
    "1678M": (25, 2048, 16),
    "2121M": (28, 2176, 17),
}
LADDER = {**LAPTOP, **PAPER}
_ASPECT = 64.0
"""Width over depth that larger networks keep near."""
_NEAR = 1.5
"""Factor within which the shape's parameters must lie."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape(Checked):
    """Depth, width and number of attention heads. All else follows from them."""

    called: ClassVar = "shape"
    depth: ShapeCount
    width: ShapeCount
    heads: ShapeCount

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        if self.width % self.heads or self.width // self.heads % 2:
            raise InputError(
                f"shape {self}: width {self.width} must be an even multiple of heads {self.heads}"
            )

    @classmethod
    def parse(cls, text: str) -> Shape:
        """A name of the ladder ("25k", "113M") or "depth x width x heads" ("2x32x2")."""
        if text in LADDER:
            depth, width, heads = LADDER[text]
            return cls(depth=depth, width=width, heads=heads)
        match = re.fullmatch(r"(\d{1,9})x(\d{1,9})x(\d{1,9})", text, re.ASCII)
        if match is None:
            raise InputError(
                f"no shape {text!r}{nearest(text, LADDER)}; "
                f"give DEPTHxWIDTHxHEADS (2x32x2) or one of {', '.join(LADDER)}"
            )
        depth, width, heads = map(int, match.groups())
        return cls(depth=depth, width=width, heads=heads)

    @property
    def core_parameters(self) -> int:
        """12 n d^2: the matrices of the blocks with a four-fold MLP, nothing else."""
        return 12 * self.depth * self.width**2

    def __str__(self) -> str:
        return f"{self.depth}x{self.width}x{self.heads}"


def typical_shape(core: float) -> Shape | None:
    """The shape with the nearest number of parameters in its blocks; None where none is near.

    Between rungs that are far apart, and beyond the ladder, depths are those of a width over depth near 64.
    """
    shapes = {*map(Shape.parse, LADDER), *_between(core)}
    best = min(shapes, key=lambda shape: (_miss(shape, core), shape.depth))
    return best if _miss(best, core) <= math.log(_NEAR) else None


def _miss(shape: Shape, core: float) -> float:
    return abs(math.log(shape.core_parameters / core))


def _between(core: float) -> Iterator[Shape]:
    """Of widths near that of the aspect: 12 d^3 / 64 = N."""
    width = (core * _ASPECT / 12) ** (1 / 3)
    if not 16 <= width <= 1e6:
        return
    head = 16 if width < 512 else 64 if width < 1280 else 128
    middle = max(1, round(width / head))
    for heads in range(max(1, middle - 1), middle + 2):
        depth = round(core / (12 * (heads * head) ** 2))
        if depth >= 2:
            yield Shape(depth=depth, width=heads * head, heads=heads)


def _is_zero(value: object) -> bool:
    return value == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone(Checked):
    """Everything about the network that is not its size.

    Attributes:
        norm: LayerNorm without bias, or RMSNorm.
        mlp: GELU with four-fold width; its tanh approximation, as in the paper (differs by less than 5e-4,
            costs three times as much on a CPU); or SwiGLU of about the same number of parameters.
        qk_norm: normalize queries and keys per head.
        tied: share the head's matrix with the embedding.
        adaln: condition every block even where the family shows no noise level (as the paper does).
        rotary_base: slowest rotation, in positions per radian; 10,000 in the literature. Short windows and
            narrow heads learn faster with less.
        condition_width: width of the conditioning vector, at most the network's width.
        relative_bias: largest distance that a learned bias on attention scores tells apart; 0 for no bias,
            as in the paper. With 8, small networks leave the unigram plateau at once (docs/study.md).
        biased: biases on LayerNorms and on the projections of attention too, as in GPT-2.
        learned_positions: how many positions have a learned vector, in place of rotations; 0 for rotations.
        mlp_hidden: hidden width of the MLP; 0 for the usual one.
        norm_epsilon: added to variances; None for 1e-5 of LayerNorm and 1e-6 of RMSNorm.
    """

    called: ClassVar = "backbone"
    norm: Literal["layer", "rms"] = "layer"
    mlp: Literal["gelu", "gelu_tanh", "swiglu"] = "gelu"
    qk_norm: bool = False
    tied: bool = False
    adaln: bool = False
    rotary_base: RotaryBase = 10_000.0
    condition_width: Count = 128
    # These came after specs had been hashed, so their JSON mentions them only where they are set.
    relative_bias: Annotated[Whole, Field(le=1024, exclude_if=_is_zero)] = 0
    biased: Annotated[bool, Field(exclude_if=_is_zero)] = False
    learned_positions: Annotated[Whole, Field(le=10**6, exclude_if=_is_zero)] = 0
    mlp_hidden: Annotated[Whole, Field(le=10**6, exclude_if=_is_zero)] = 0
    norm_epsilon: Annotated[Positive | None, Field(exclude_if=lambda value: value is None)] = None

    def mlp_width(self, width: int) -> int:
        """Hidden width of the MLP: 4 d, or the multiple of 8 nearest 8 d / 3 for SwiGLU, unless given."""
        if self.mlp_hidden:
            return self.mlp_hidden
        return max(8, 8 * round(width / 3)) if self.mlp == "swiglu" else 4 * width

    def conditioned(self, timed: bool) -> bool:
        """Whether the blocks are modulated."""
        return self.adaln or timed
