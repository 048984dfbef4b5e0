"""Duo (arXiv 2506.10892), base or distilled, and the uniform runs of the scaling study (arXiv 2602.15014).

Noise is uniform over all rows, those without a token too: the tokenizer gets ids for them, which no text has.
In the scaling study the last row, of the mask, is noise like any other and never predicted.
"""

from __future__ import annotations

import functools

import torch

from isodiff.data.tokenizer import Tokenizer
from isodiff.interop.checkpoint import ForeignCheckpoint
from isodiff.interop.dit import MARKS, read_dit, rows_of
from isodiff.interop.layout import Layout, ReadNetwork

_ALPHA_END = 1e-3  # what is still clean at t = 1


def _read(
    checkpoint: ForeignCheckpoint, tokenizer: Tokenizer, *, never_last: bool = False
) -> ReadNetwork:
    timed = checkpoint.only("time_conditioning", True, False)
    checkpoint.only("causal", False)
    found = read_dit(checkpoint, timed=timed)
    last = found.rows - 1
    noise = f"uniform over {found.rows} ids, until {_ALPHA_END:g} of the tokens are clean"
    every = torch.arange(found.rows)
    return found.network(
        {"name": "uniform", "alpha_end": _ALPHA_END, "show_time": timed},
        {
            "vocabulary": f"{tokenizer.vocab_size} ids, padding among them",
            "noise": f"{noise}; id {last} is never predicted" if never_last else noise,
        },
        states=every,
        tokens=every,
        never=last if never_last else None,
    )


DUO = Layout(name="duo", model_types=("duo",), marks=MARKS, read=_read, rows=rows_of)
SCALING_DUO = Layout(
    name="scaling-duo",
    model_types=(),
    marks=MARKS,
    read=functools.partial(_read, never_last=True),
    rows=rows_of,
)
