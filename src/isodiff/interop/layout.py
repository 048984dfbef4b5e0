"""What a layout of checkpoints is, and what is read of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from isodiff.data.tokenizer import Tokenizer
from isodiff.interop.checkpoint import ForeignCheckpoint
from isodiff.network.shape import Backbone, Shape


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadNetwork:
    """A checkpoint as a run of this library.

    Attributes:
        family: as a spec writes it: its name and options.
        context: tokens that it reads at most; None where any number will do.
        weights: by the names of `network.transformer`.
        statements: what was read, and how, by what it is about; for the record.
    """

    family: Mapping[str, Any]
    shape: Shape
    backbone: Backbone
    context: int | None
    weights: Mapping[str, Tensor]
    statements: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """One way in which checkpoints are laid out.

    Attributes:
        model_types: what config.json calls it.
        marks: patterns of keys that all of its checkpoints have.
        rows: how many ids its tokenizer has to have; None where fewer than its rows will do.
        read: takes the settings and tensors of a checkpoint, and makes a network for a tokenizer's ids.
    """

    name: str
    model_types: tuple[str, ...]
    marks: tuple[str, ...]
    read: Callable[[ForeignCheckpoint, Tokenizer], ReadNetwork]
    rows: Callable[[ForeignCheckpoint], int | None] = lambda checkpoint: None

    def missing(self, checkpoint: ForeignCheckpoint) -> list[str]:
        """The marks that a checkpoint lacks."""
        keys = "\n".join(checkpoint.tensors)
        return [mark for mark in self.marks if not re.search(f"^{mark}$", keys, re.M)]
