"""Whether a run fits into this machine, asked before anything of it is made."""

from __future__ import annotations

import os

from isodiff.cost.memory import activation_bytes, state_bytes
from isodiff.errors import InputError
from isodiff.runs.build import Size
from isodiff.runs.spec import RunSpec
from isodiff.train.ranks import ALONE, Ranks


def check_memory(spec: RunSpec, size: Size, device: str, ranks: Ranks = ALONE) -> None:
    """That weights, moments and a step's activations could fit, those of all ranks that are here.

    Raises:
        InputError: they would take more than the machine has; says how much.
    """
    if device != "cpu" or (memory := _machine_bytes()) is None:
        return
    batch = spec.recipe.batch_size
    share = min(spec.recipe.micro_batch_size or batch, batch / ranks.count) / batch
    weights = ranks.here * state_bytes(size.total) / (ranks.count if ranks.divides else 1)
    needed = weights + ranks.here * activation_bytes(
        depth=spec.shape.depth,
        width=spec.shape.width,
        positions=share * size.step_positions,
        scores=0,
        logits=spec.corpus.vocab_size * size.step_tokens / size.step_positions,
        number_bytes=4,
    )
    if needed > memory:
        raise InputError(
            f"training needs about {needed / 2**30:,.0f} GiB ({weights / 2**30:,.0f} of them for weights and "
            f"moments), and this machine has {memory / 2**30:,.0f}; give a smaller shape, length or "
            "recipe.micro_batch_size"
        )


def _machine_bytes() -> float | None:
    """Memory of the machine; None where it does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
