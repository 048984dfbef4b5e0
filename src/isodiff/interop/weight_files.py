"""Files of weights as tensors by name. Nothing that could run code is ever loaded.

safetensors, or torch's own format through `torch.load(weights_only=True)`, which takes tensors, numbers, text
and lists or dicts of those. Of several files, the one that an index or its usual name says is the model.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from isodiff.errors import InputError, reason
from isodiff.files import read_json, regular

_SUFFIXES = (".safetensors", ".bin", ".ckpt", ".pt", ".pth")
_USUAL = ("model.safetensors", "pytorch_model.bin")
_HUB = "hf:"
_FETCHED = ["*.json", "*.safetensors", "merges.txt", "pytorch_model*.bin"]


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files of a checkpoint, and the folder of what lies beside them."""

    name: str
    folder: Path
    files: tuple[Path, ...]

    @property
    def sha256(self) -> str:
        """Of all files, one after the other."""
        digest = hashlib.sha256()
        for path in self.files:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def content(self) -> dict[str, Any]:
        """What the files hold, together."""
        found: dict[str, Any] = {}
        for path in self.files:
            found |= _safe_tensors(path) if path.suffix == ".safetensors" else _torch_values(path)
        return found


def weight_files(source: str) -> WeightFiles:
    """Those of a folder, of a file, or of `hf:owner/name[@revision]` on the Hugging Face hub.

    Raises:
        InputError: there are none, or several that could be meant.
    """
    path = _fetched(source) if source.startswith(_HUB) else Path(source).expanduser()
    name = source if source.startswith(_HUB) else path.resolve().name
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            raise InputError(
                f"{path} is no file of weights; give {', '.join(_SUFFIXES)} or a folder"
            )
        return WeightFiles(name, path.parent, (path,))
    if not path.is_dir():
        raise InputError(
            f"{path} does not exist; give a folder, a file of weights or hf:OWNER/NAME"
        )
    for usual in _USUAL:
        if (index := path / f"{usual}.index.json").is_file():
            return WeightFiles(name, path, _indexed(index))
        if (path / usual).is_file():
            return WeightFiles(name, path, (path / usual,))
    found = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    if len(found) != 1:
        there = ", ".join(file.name for file in found) or "nothing with " + ", ".join(_SUFFIXES)
        raise InputError(f"which file of {path} holds the weights? it has {there}; give one")
    return WeightFiles(name, path, tuple(found))


def _fetched(source: str) -> Path:
    """The folder of a repository of the hub; its code is left there."""
    from huggingface_hub import snapshot_download  # comes with tokenizers

    name, _, revision = source.removeprefix(_HUB).partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=_FETCHED))
    except Exception as error:  # whatever the hub or the network raises
        raise InputError(
            f"{source} could not be fetched from the Hugging Face hub ({reason(error)}); give a folder"
        ) from None


def _indexed(index: Path) -> tuple[Path, ...]:
    value = read_json(index)
    parts = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(parts, dict) or not parts:
        raise InputError(f"{index} has no weight_map; download the checkpoint again")
    names = sorted({str(part) for part in parts.values()})
    for name in names:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise InputError(f"{index} names {name}, which is not there; download it again")
    return tuple(index.parent / name for name in names)


def _safe_tensors(path: Path) -> dict[str, Any]:
    try:
        return dict(load_file(regular(path)))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({reason(error)}); it is truncated or no safetensors file, "
            "download it again"
        ) from None


def _torch_values(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings(action="ignore"):  # what is wrong is said by the errors
            value = torch.load(regular(path), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than tensors ({_refused(error)}), which could run code and is not loaded; "
            "where you trust it, load it yourself and torch.save its state_dict (and ema) alone"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(
            f"{path} cannot be read ({reason(error)}); it is truncated or not a file of torch.save"
        ) from None
    if not isinstance(value, Mapping):
        raise InputError(f"{path} holds a {type(value).__name__}, not tensors by name")
    return {str(key): part for key, part in value.items()}


def _refused(error: BaseException) -> str:
    """The object that torch names, in short."""
    said = str(error)
    for start in ("Unsupported global: GLOBAL ", "Unsupported class ", "Unsupported operand "):
        if start in said:
            return said.partition(start)[2].split()[0]
    return "a pickle"


def tensors_among(content: Mapping[str, Any], path: str) -> dict[str, Tensor]:
    """The tensors of a mapping by name.

    Raises:
        InputError: it holds something else.
    """
    for key, value in content.items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"{path}: {key} is a {type(value).__name__} where a tensor is expected"
            )
    return dict(content)


def tensor_list(value: object, path: str, key: str) -> Sequence[Tensor]:
    """A list of tensors.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(one, Tensor) for one in value):
        raise InputError(f"{path}: {key} is no list of tensors")
    return value
