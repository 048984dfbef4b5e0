"""A run's record: everything about it that a fit or a report needs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from isodiff.record import provenance
from isodiff.runs.metrics import read_metrics

if TYPE_CHECKING:
    from isodiff.train.loop import Run


def record_of(run: Run, message: str | None) -> dict[str, Any]:
    """What a run that ended came to; `message` says why it had to stop.

    FLOPs, tokens and time are those of all its steps, whoever did them; `flops.trained` is what this run did.
    """
    spec, size = run.spec, run.size
    result: dict[str, Any] = {}
    if message is None:
        found = run.validate(spec.validation.windows, spec.validation.draws)
        result = {"validation": dataclasses.asdict(found)}
    trunk = run.start.trunk
    return {
        "id": spec.id,
        "status": "done" if message is None else "diverged",
        "message": message,
        "spec": spec.to_json(),
        "parameters": {
            "total": size.total,
            "non_embedding": size.non_embedding,
            "core": size.core,
        },
        "flops": {
            "planned": spec.budget,
            **size.flops(spec, run.step),
            "exact": run.flops,
            "trained": run.flops - (0.0 if trunk is None else trunk["flops"]),
        },
        "trunk": trunk,
        "tokens": run.step * size.step_tokens,
        "epochs": run.source.epochs(run.step),
        "steps": run.step,
        "results": result,
        "curve": [
            {
                "step": row["step"],
                "flops": row["flops"],
                "nats_per_token": row["validation"]["value"],
                "standard_error": row["validation"]["standard_error"],
            }
            for row in read_metrics(run.folder / "metrics.jsonl")
            if "validation" in row and run.marks.validation(row["step"])
        ],
        "wall_seconds": run.wall_seconds,
        "tokens_per_second": run.step * size.step_tokens / max(run.wall_seconds, 1e-9),
        "precision": run.precision,
        "device": device_name(run.device),
        "threads": torch.get_num_threads(),
        "provenance": provenance(),
    }


def device_name(device: torch.device) -> str:
    """The device, in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
