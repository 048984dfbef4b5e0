"""Checkpoints: weights, optimizer, step, and options tuned on the way. Nothing else is state.

`checkpoint/step_00001200/{model,optimizer}.safetensors` and `state.json`, written to a temporary folder and
renamed, the last `keep` kept. Data order and noise are functions of (seed, step), so they are not saved.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from isodiff.errors import InputError
from isodiff.files import read_json, write_json
from isodiff.train.optimizer import Average

FILES = ("model.safetensors", "optimizer.safetensors")


@dataclass(frozen=True, slots=True)
class State:
    """Where a run stands: steps done, of how many, at what FLOPs; and the family with its options by now.

    `trunk` says which run did the first steps, how many, and at what FLOPs; None for the run itself.
    """

    step: int
    steps: int
    flops: float
    metrics_bytes: int
    wall_seconds: float
    precision: str
    family: dict[str, Any]
    trunk: dict[str, Any] | None = None


REQUIRED = {field.name for field in fields(State) if field.default is MISSING}


def save(
    folder: Path,
    spec_id: str,
    state: State,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average | None,
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
        save_file(optimizer_tensors(network, optimizer, average), draft / FILES[1])
        digests = {name: digest(draft / name) for name in FILES}
        write_json(draft / "state.json", {"spec": spec_id, **asdict(state), "sha256": digests})
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
    average: Average | None,
) -> State | None:
    """Load the newest checkpoint; None where there is none."""
    if not steps(folder):
        return None
    newest = steps(folder)[-1]
    state = verified(newest, spec_id)
    load(newest, network)
    tensors = read(newest / FILES[1])
    for name, parameter in network.named_parameters():
        optimizer.state[parameter] = {
            key: tensors[f"{key}/{name}"].to(parameter.device)
            for key in ("step", "exp_avg", "exp_avg_sq")
        }
        if average is not None:
            average.weights[name].copy_(tensors[f"average/{name}"])
    return State(**{name: state[name] for name in State.__slots__ if name in state})


def load(checkpoint: Path, network: nn.Module) -> None:
    """Weights only."""
    try:
        network.load_state_dict(read(checkpoint / FILES[0]))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{checkpoint} holds the weights of another network: {reason}") from None


def load_average(checkpoint: Path, average: Average) -> None:
    """Averaged weights only."""
    tensors = read(checkpoint / FILES[1])
    for name, weight in average.weights.items():
        weight.copy_(tensors[f"average/{name}"])


def optimizer_tensors(
    network: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None
) -> dict[str, Tensor]:
    """Moments, step counts and averages under "kind/parameter"."""
    tensors = {}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"{key}/{name}"] = value.contiguous()
        if average is not None:
            tensors[f"average/{name}"] = average.weights[name]
    return tensors


def verified(checkpoint: Path, spec_id: str | None) -> dict[str, Any]:
    """state.json of a checkpoint that is whole and belongs to this run."""
    state = read_json(checkpoint / "state.json")
    if not isinstance(state, dict) or not {"spec", "sha256", *REQUIRED} <= set(state):
        raise InputError(f"{checkpoint}/state.json is not a state of isodiff; {advice(checkpoint)}")
    if spec_id is not None and state["spec"] != spec_id:
        raise InputError(
            f"{checkpoint} belongs to run {state['spec']}, not {spec_id}; {advice(checkpoint)}"
        )
    for name in FILES:
        path = checkpoint / name
        if not path.exists() or digest(path) != state["sha256"].get(name):
            raise InputError(f"{path} is missing, truncated or altered; {advice(checkpoint)}")
    return state


def advice(checkpoint: Path) -> str:
    """How to go on without this checkpoint."""
    return f"delete {checkpoint} to resume from an earlier checkpoint"


def read(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); {advice(path.parent)}") from None


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
