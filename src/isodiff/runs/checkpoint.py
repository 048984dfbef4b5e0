"""Checkpoints: weights, optimizer, step, and options adapted on the way. Nothing else is state.

`checkpoint/step_00001200/{model,optimizer}.safetensors` and `state.json`, written to a temporary folder and
renamed, the last `keep` kept. Data order and noise are functions of (seed, step), so they are not saved.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from isodiff.errors import InputError
from isodiff.files import read_json
from isodiff.record import SharedPrefix
from isodiff.runs.ema import AveragedWeights
from isodiff.serialization import from_json, write_result
from isodiff.upgrade import upgraded

_MOMENTS = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")  # of AdamW; of Muon
FILES = ("model.safetensors", "optimizer.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a run stands: steps done, of how many, at what FLOPs; and the family with its options by now.

    Attributes:
        metrics_bytes: length of metrics.jsonl.
        shared_prefix: the run that did the first steps, if any; `trunk` in JSON.
    """

    step: int
    steps: int
    flops: float
    metrics_bytes: int
    wall_seconds: float
    precision: str
    family: Annotated[dict[str, Any], BeforeValidator(upgraded)]
    shared_prefix: Annotated[SharedPrefix | None, Field(alias="trunk")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _StateFile(State):
    """`state.json`: whose checkpoint it is, and the SHA-256 of the other files."""

    spec: str
    sha256: dict[str, str]


def save(
    folder: Path,
    spec_id: str,
    state: State,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: AveragedWeights | None,
    *,
    keep: int = 2,
) -> None:
    """Write the checkpoint of `state.step` in one step and drop the oldest."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step_{state.step:08d}"
    draft = folder / f".{target.name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        save_file(dict(network.state_dict()), draft / FILES[0])
        save_file(_optimizer_tensors(network, optimizer, average), draft / FILES[1])
        digests = {name: _digest(draft / name) for name in FILES}
        known = {field.name: getattr(state, field.name) for field in fields(State)}
        write_result(draft / "state.json", _StateFile(**known, spec=spec_id, sha256=digests))
        shutil.rmtree(target, ignore_errors=True)
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for old in steps(folder)[:-keep]:
        shutil.rmtree(old)


def steps(folder: Path) -> list[Path]:
    """Checkpoints in `folder`, oldest first."""
    return sorted(folder.glob("step_*")) if folder.exists() else []


def restore(
    folder: Path,
    spec_id: str,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: AveragedWeights | None,
) -> State | None:
    """Load the newest checkpoint; None where there is none."""
    if not steps(folder):
        return None
    newest = steps(folder)[-1]
    state = verified(newest, spec_id)
    load_weights(newest, network)
    tensors = _read(newest / FILES[1])
    for name, parameter in network.named_parameters():
        moments = [key for key in _MOMENTS if f"{key}/{name}" in tensors]
        optimizer.state[parameter] = {
            key: tensors[f"{key}/{name}"].to(parameter.device) for key in moments
        }
        if average is not None:
            average.weights[name].copy_(tensors[f"average/{name}"])
    return state


def load_weights(checkpoint: Path, network: nn.Module) -> None:
    """Weights only."""
    try:
        network.load_state_dict(_read(checkpoint / FILES[0]))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{checkpoint} holds the weights of another network: {reason}") from None


def load_average(checkpoint: Path, average: AveragedWeights) -> None:
    """Averaged weights only."""
    tensors = _read(checkpoint / FILES[1])
    for name, weight in average.weights.items():
        weight.copy_(tensors[f"average/{name}"])


def _optimizer_tensors(
    network: nn.Module, optimizer: torch.optim.Optimizer, average: AveragedWeights | None
) -> dict[str, Tensor]:
    """Moments, step counts and averages under "kind/parameter"."""
    tensors = {}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"{key}/{name}"] = value.contiguous()
        if average is not None:
            tensors[f"average/{name}"] = average.weights[name]
    return tensors


def verified(checkpoint: Path, spec_id: str) -> State:
    """The state of a checkpoint that is whole and belongs to this run; `InputError` otherwise."""
    try:
        state = from_json(_StateFile, read_json(checkpoint / "state.json"), checkpoint)
    except InputError as error:
        raise InputError(
            f"{checkpoint}/state.json is not a state of isodiff ({error}); {_advice(checkpoint)}"
        ) from None
    if state.spec != spec_id:
        raise InputError(
            f"{checkpoint} belongs to run {state.spec}, not {spec_id}; {_advice(checkpoint)}"
        )
    for name in FILES:
        path = checkpoint / name
        if not path.exists() or _digest(path) != state.sha256.get(name):
            raise InputError(f"{path} is missing, truncated or altered; {_advice(checkpoint)}")
    return state


def _advice(checkpoint: Path) -> str:
    """How to go on without this checkpoint."""
    return f"delete {checkpoint} to resume from an earlier checkpoint"


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); {_advice(path.parent)}") from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
