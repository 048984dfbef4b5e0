"""A checkpoint of another program, read key by key: what nobody asked for is an error in the end."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from isodiff.errors import InputError, shown
from isodiff.files import read_json
from isodiff.interop.weight_files import tensor_list, tensors_among, weight_files

_NO_DEFAULT = object()
_BUFFERS = r".*\brotary_emb\.inv_freq|.*\.(attn\.bias|attn\.masked_bias)"
"""Tables that are made anew: they hold nothing that was learned."""
_SAID_OF_TRAINING = re.compile(
    r"_.*|transformers_version|transformers\.js_config|architectures|auto_map|torch_dtype|dtype|return_dict|use_cache|id2label|label2id|"
    r"problem_type|output_.*|chunk_size_feed_forward|is_encoder_decoder|.*dropout|.*pdrop|initializer_range|"
    r"task_specific_params|summary_.*|pad_token_id|gradient_checkpointing|pretraining_tp|model_type|"
    r"num_labels|n_ctx|name_or_path|unk_token_id|sep_token_id"
)
"""Settings that change nothing of what the network computes when it is evaluated."""


@dataclass
class ForeignCheckpoint:
    """Tensors and settings that are still to be understood.

    Attributes:
        name: of its files, for messages.
        sha256: of their content.
        averaged: whether `tensors` are the averaged weights; None where there is one kind only.
        parameters: numbers taken so far.
    """

    name: str
    sha256: str
    tensors: dict[str, Tensor]
    config: dict[str, Any]
    averaged: bool | None = None
    parameters: int = 0
    buffers: dict[str, Tensor] = field(default_factory=dict)
    _read: set[str] = field(default_factory=set)

    def __contains__(self, key: str) -> bool:
        return key in self.tensors

    def take(self, key: str, *shape: int) -> Tensor:
        """The tensor of this name in float32, once.

        Raises:
            InputError: it is missing, of another shape, not finite, or no floating-point number.
        """
        found = self.tensors.pop(key, None)
        if found is None:
            raise InputError(f"{self.name} lacks {key}; it is not whole, or of another layout")
        if tuple(found.shape) != shape:
            raise InputError(f"{self.name}: {key} has shape {[*found.shape]}, expected {[*shape]}")
        if not found.is_floating_point() or not bool(torch.isfinite(found).all()):
            raise InputError(f"{self.name}: {key} holds what is no finite floating-point number")
        self.parameters += found.numel()
        return found.float()

    def shape(self, key: str) -> tuple[int, ...]:
        """Of the tensor of this name, which stays to be taken.

        Raises:
            InputError: it is missing.
        """
        if key not in self.tensors:
            raise InputError(f"{self.name} lacks {key}; it is not whole, or of another layout")
        return tuple(self.tensors[key].shape)

    def same(self, key: str, as_this: Tensor) -> bool:
        """Take what only repeats another tensor; False (and leave it) where it does not."""
        found = self.tensors.get(key)
        if found is None or found.shape != as_this.shape or not found.float().equal(as_this):
            return False
        del self.tensors[key]
        return True

    def setting(self, key: str, default: Any = _NO_DEFAULT) -> Any:
        """The value of a setting of config.json.

        Raises:
            InputError: it is not there and has no default.
        """
        self._read.add(key)
        if key not in self.config and default is _NO_DEFAULT:
            raise InputError(f"{self.name}: config.json lacks {key}")
        found = self.config.get(key, default)
        return default if found is None and default is not _NO_DEFAULT else found

    def whole(self, key: str, default: Any = _NO_DEFAULT) -> int:
        """A setting that is a positive whole number."""
        found = self.setting(key, default)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 < found < 10**9:
            raise InputError(f"{self.name}: config.json has {key} {shown(found)}, no count")
        return found

    def only(self, key: str, *known: Any, default: Any = None) -> Any:
        """A setting that has to be one of these; absent, it is `default`, or else the first."""
        found = self.setting(key, known[0] if default is None else default)
        if not any(
            found == one and isinstance(found, bool) == isinstance(one, bool) for one in known
        ):
            raise InputError(
                f"{self.name}: config.json has {key} {shown(found)}, which is not understood; known: "
                f"{', '.join(map(shown, known))}"
            )
        return found

    def ignore(self, *keys: str) -> None:
        """Settings that are of no importance here."""
        self._read.update(keys)

    def finish(self) -> None:
        """That everything was understood.

        Raises:
            InputError: a tensor or a setting is left over; names it.
        """
        if self.tensors:
            keys = [f"{key} {[*tensor.shape]}" for key, tensor in self.tensors.items()]
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise InputError(f"{self.name} has {', '.join(keys[:3])}{more}: not understood")
        for key, value in self.config.items():
            if key not in self._read and not _SAID_OF_TRAINING.fullmatch(key):
                raise InputError(
                    f"{self.name}: config.json has {key} {shown(value)}: not understood"
                )


def open_checkpoint(source: str) -> ForeignCheckpoint:
    """The tensors of a source, averaged ones where it has them, and its config.json.

    Raises:
        InputError: it cannot be read, or holds what is neither.
    """
    files = weight_files(source)
    content = files.content()
    ema = None
    if isinstance(content.get("state_dict"), Mapping):
        ema, content = content.get("ema"), dict(content["state_dict"])
    elif isinstance(content.get("model"), Mapping):
        content = dict(content["model"])
    if not content:
        raise InputError(f"{files.name} holds no tensors")
    tensors = _plain_names(tensors_among(content, files.name))
    buffers = {key: tensors.pop(key) for key in [*tensors] if re.fullmatch(_BUFFERS, key)}
    averaged = None
    if ema is not None:
        tensors, averaged = _averaged(tensors, ema, files.name), True
    config = files.folder / "config.json"
    value = read_json(config) if config.is_file() else {}
    if not isinstance(value, dict):
        raise InputError(f"{config} is not an object; download the checkpoint again")
    return ForeignCheckpoint(files.name, files.sha256, tensors, value, averaged, buffers=buffers)


def _plain_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what torch.compile and data parallelism put before names."""
    return {
        key.removeprefix("module.").replace("_orig_mod.", ""): one for key, one in tensors.items()
    }


def _averaged(tensors: Mapping[str, Tensor], ema: Any, name: str) -> dict[str, Tensor]:
    """The averages, which come as a list in the order of the parameters, without names.

    Raises:
        InputError: they do not fit the parameters one by one.
    """
    shadows = ema.get("shadow_params") if isinstance(ema, Mapping) else None
    averages = tensor_list(shadows, name, "ema.shadow_params")
    pairs = [*zip(tensors.items(), averages, strict=False)]
    wrong = [key for (key, tensor), average in pairs if tensor.shape != average.shape]
    if wrong or len(averages) != len(tensors):
        where = f"; they first differ at {wrong[0]}" if wrong else ""
        raise InputError(
            f"{name}: ema.shadow_params has {len(averages)} tensors, state_dict {len(tensors)}{where}"
        )
    return {key: average for (key, _), average in pairs}


def unread(keys: Collection[str]) -> str:
    """Some of the keys, for a message."""
    names = sorted(keys)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
