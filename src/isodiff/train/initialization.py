"""Fine-tuning: the weights of another run as the initialization of a new one.

The two may differ in anything but what their networks are made of: a masked run initializes a block run, say.
Only weights are taken over (averaged ones where that run averages); optimizer, schedule and step begin anew.
A spec names the weights by run, step and content, so that other weights make another run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn

from isodiff.data.tokens import Corpus
from isodiff.errors import InputError
from isodiff.record import WeightsSource
from isodiff.runs.build import load
from isodiff.runs.spec import RunSpec


@dataclass(frozen=True, slots=True)
class Initialization:
    """Weights by parameter, and what a spec writes of them."""

    source: WeightsSource
    weights: dict[str, Tensor]

    def apply(self, network: nn.Module, spec: RunSpec) -> None:
        """Put the weights into a network.

        Raises:
            InputError: the spec names other weights, or the network has others to fill.
        """
        if spec.init != self.source:
            raise InputError(f"run {spec.id} starts from {spec.init}, not from {self.source}")
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise InputError(
                f"run {self.source.run} cannot start a {spec.family['name']} run of shape {spec.shape}: "
                f"its network is another ({reason})"
            ) from None


def initialization_from(folder: Path, corpus: Corpus) -> Initialization:
    """The newest weights of the run in `folder`.

    Raises:
        InputError: no run there, or one whose tokens are not those of `corpus`.
    """
    run = load(folder)
    theirs, ours = run.corpus.manifest.tokenizer, corpus.manifest.tokenizer
    if theirs != ours:
        raise InputError(
            f"{folder} was trained on {theirs.name} tokens, {corpus.folder} has {ours.name} ones of another "
            "vocabulary; start from a run with the same tokenizer"
        )
    weights = {name: tensor.cpu() for name, tensor in run.network.state_dict().items()}
    sha256 = hashlib.sha256(save(weights)).hexdigest()
    return Initialization(WeightsSource(run=run.spec.id, step=run.step, sha256=sha256), weights)
