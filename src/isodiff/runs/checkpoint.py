"""Checkpoints: weights, optimizer, step, and what a run found out on the way. Nothing else is state.

`checkpoint/step_00001200/{model,optimizer}.safetensors` and `state.json`, written to a temporary folder and
renamed, the last `keep` kept. Data order and noise are functions of (seed, step), so they are not saved.
Everything is checked when it is read; where the newest checkpoint is damaged, the one before serves.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import torch
from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from isodiff.errors import InputError
from isodiff.record import SharedPrefix
from isodiff.runs.ema import AveragedWeights
from isodiff.runs.metrics import Written
from isodiff.runs.spec import Precision
from isodiff.serialization import IfAny, read_result, write_result
from isodiff.upgrade import upgraded

_ADAMW, _MUON = ("step", "exp_avg", "exp_avg_sq"), ("momentum_buffer",)
FILES = ("model.safetensors", "optimizer.safetensors")
_Used = TypeVar("_Used")
Put = Callable[[Tensor | None, Tensor], Tensor]
"""Puts a tensor read from a file where and as the second one is."""


class Parts(NamedTuple):
    """The tensors of a checkpoint: weights by parameter; moments and averages under "kind/parameter"."""

    weights: dict[str, Tensor]
    moments: dict[str, Tensor]


class Damaged(InputError):
    """A checkpoint that is not what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a run stands: steps done, of how many, at what FLOPs; and the family with its options by now.

    Attributes:
        metrics_bytes, metrics_sha256: of metrics.jsonl.
        smoothed_loss: of the training batches, nats per token; decides divergence.
        shared_prefix: the run that did the first steps, if any; `trunk` in JSON.
    """

    step: NonNegativeInt
    steps: PositiveInt
    flops: NonNegativeFloat
    metrics_bytes: NonNegativeInt
    wall_seconds: NonNegativeFloat
    precision: Precision
    family: Annotated[dict[str, Any], BeforeValidator(upgraded)]
    metrics_sha256: IfAny[str] = None
    smoothed_loss: IfAny[float] = None
    shared_prefix: Annotated[SharedPrefix | None, Field(alias="trunk")] = None

    @property
    def metrics(self) -> Written:
        """What stood in metrics.jsonl."""
        return Written(self.metrics_bytes, self.metrics_sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StateFile(State):
    """`state.json`: whose checkpoint it is, and the SHA-256 of the other files."""

    spec: str
    sha256: dict[str, str]


def save(folder: Path, spec_id: str, state: State, parts: Parts, *, keep: int = 2) -> None:
    """Write the checkpoint of `state.step` in one step and drop the oldest."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step_{state.step:08d}"
    draft = folder / f".{target.name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        for name, tensors in zip(FILES, parts, strict=True):
            save_file(tensors, draft / name)
        digests = {name: _digest(draft / name) for name in FILES}
        known = {field.name: getattr(state, field.name) for field in fields(State)}
        write_result(draft / "state.json", _StateFile(**known, spec=spec_id, sha256=digests))
        shutil.rmtree(target, ignore_errors=True)
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for old in steps(folder)[:-keep]:
        shutil.rmtree(old)


def gathered(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: AveragedWeights | None,
    whole: Callable[[Tensor], Tensor] = Tensor.contiguous,
) -> Parts:
    """What a checkpoint keeps, each tensor made `whole`."""
    places = _places(network, optimizer, average)
    return Parts(*({key: whole(tensor) for key, tensor in part.items()} for part in places))


def read(
    place: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: AveragedWeights | None,
) -> Parts:
    """The tensors of a checkpoint, which are those that such a network needs.

    Raises:
        Damaged: they are not.
    """
    wanted = _places(network, optimizer, average)
    found = []
    for name, places in zip(FILES, wanted, strict=True):
        tensors = _read(place / name)
        found.append(
            {key: _tensor(tensors, key, like.shape, place / name) for key, like in places.items()}
        )
    return Parts(*found)


@torch.no_grad()
def restore(
    parts: Parts | None,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: AveragedWeights | None,
    put: Put,
) -> None:
    """Go on from the tensors of a checkpoint; from None on a rank that did not read it (train/ranks.py)."""
    wanted = _places(network, optimizer, average)
    for number, places in enumerate(wanted):
        for key, like in places.items():
            like.copy_(put(None if parts is None else parts[number][key], like))


def steps(folder: Path) -> list[Path]:
    """Checkpoints in `folder`, oldest first."""
    return sorted(folder.glob("step_*")) if folder.exists() else []


def newest(
    folder: Path, spec_id: str, use: Callable[[Path, State], _Used], *, finished: bool = False
) -> _Used | None:
    """What `use` makes of the newest whole checkpoint; None where there is none at all.

    A damaged one is named on standard error. Those before it are of no use where the run is `finished`: its
    results are those of the last.

    Raises:
        InputError: a checkpoint is another run's, or none is whole.
    """
    damage: list[str] = []
    for place in reversed(steps(folder)):
        try:
            used = use(place, _verified(place, spec_id))
        except Damaged as error:
            damage.append(str(error))
            continue
        if damage and finished:
            raise InputError(
                f"{damage[0]}; delete {folder.parent / 'record.json'} and train the run again: it goes on "
                f"from {place.name}"
            )
        if damage:
            print(f"{'; '.join(damage)}; going on from {place.name}", file=sys.stderr)
        return used
    if damage:
        raise InputError(
            f"{damage[0]}; no checkpoint is whole: delete {folder.parent} and train the run again"
        )
    return None


def set_aside_after(folder: Path, step: int) -> None:
    """Rename the damaged checkpoints after the one that a run goes on from: they are not to be counted."""
    for place in steps(folder):
        if place.name > f"step_{step:08d}":
            aside = place.with_name(f"damaged_{place.name}")
            shutil.rmtree(aside, ignore_errors=True)
            place.rename(aside)


def load_weights(place: Path, network: nn.Module) -> None:
    """Weights only; `Damaged` where they are those of another network."""
    try:
        network.load_state_dict(_read(place / FILES[0]))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise Damaged(f"{place} holds the weights of another network: {reason}") from None


def load_average(place: Path, average: AveragedWeights) -> None:
    """Averaged weights only."""
    tensors = _read(place / FILES[1])
    for name, weight in average.weights.items():
        weight.copy_(_tensor(tensors, f"average/{name}", weight.shape, place / FILES[1]))


def _places(
    network: nn.Module, optimizer: torch.optim.Optimizer, average: AveragedWeights | None
) -> Parts:
    """The tensors that a checkpoint fills or keeps; moments that no step has made yet are made here."""
    weights = dict(network.named_parameters())
    stepped_by_muon = {
        id(parameter)
        for group in optimizer.param_groups
        if "momentum" in group
        for parameter in group["params"]
    }
    moments: dict[str, Tensor] = {}
    for name, parameter in weights.items():
        state = optimizer.state[parameter]
        for key in _MUON if id(parameter) in stepped_by_muon else _ADAMW:
            if key not in state:
                state[key] = (
                    torch.zeros((), dtype=torch.float32, device=parameter.device)
                    if key == "step"
                    else torch.zeros_like(parameter.detach())
                )
            moments[f"{key}/{name}"] = state[key]
        if average is not None:
            moments[f"average/{name}"] = average.weights[name]
    return Parts({name: weight.detach() for name, weight in weights.items()}, moments)


def _verified(place: Path, spec_id: str) -> State:
    """The state of a checkpoint whose files are those that were written for this run.

    Raises:
        Damaged: they are not.
        InputError: it belongs to another run.
    """
    try:
        state = read_result(_StateFile, place / "state.json", mend="")
    except InputError as error:
        raise Damaged(str(error)) from None
    if state.spec != spec_id:
        raise InputError(
            f"{place} belongs to run {state.spec}, not {spec_id}; move it to that run or delete it"
        )
    if place.name != f"step_{state.step:08d}" or state.step > state.steps:
        raise Damaged(f"{place} says that it is step {state.step} of {state.steps}")
    for name in FILES:
        path = place / name
        if not path.is_file() or _digest(path) != state.sha256.get(name):
            raise Damaged(f"{path} is missing, truncated or altered")
    return state


def _tensor(tensors: dict[str, Tensor], key: str, shape: torch.Size, file: Path) -> Tensor:
    found = tensors.get(key)
    if found is None or found.shape != shape:
        raise Damaged(f"{file} does not hold {key} of shape {tuple(shape)}")
    return found


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise Damaged(f"{path} cannot be read ({error})") from None
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise Damaged(f"{path}: {name} is not finite")
    return tensors


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
