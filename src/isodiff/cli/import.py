"""Make a run of somebody else's checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from isodiff.bounds import TrainedTokens, Utf8
from isodiff.cli.evaluation_text import bits_text, nats_text
from isodiff.cli.options import Device, Folder, Name, NumTokens, Threads
from isodiff.cli.verb import Answer
from isodiff.interop.importing import import_checkpoint
from isodiff.runs.spec import Validation
from isodiff.serialization import to_json

_Source = Annotated[Utf8, Positional, arg(metavar="SOURCE")]
_TrainingTokens = Annotated[TrainedTokens, arg(metavar="TOKENS")]


def run(
    source: _Source,
    *,
    out: Folder,
    layout: Name | None = None,
    tokenizer: Name | None = None,
    corpus: Annotated[Path, arg(metavar="FOLDER")] | None = None,
    length: NumTokens | None = None,
    tokens: _TrainingTokens | None = None,
    device: Device = "cpu",
    threads: Threads = 0,
    validation: Validation,
) -> Answer:
    """Read a checkpoint of another program as a run, to evaluate, sample and fine-tune like any other.

    Nothing in it is executed. What is not understood is an error. See docs/import.md.

    Args:
        source: A folder with weights (and config.json, tokenizer.json), a file of weights, or hf:OWNER/NAME.
        out: The run's folder.
        layout: How the checkpoint is laid out, where neither its config.json nor its keys say it.
        tokenizer: As of isodiff corpus prepare; by default the one beside the weights.
        corpus: A corpus prepared with the checkpoint's tokenizer: its validation split is scored. Without
            one, the run has a tokenizer alone; any corpus of that can be given to it later.
        length: Tokens of a window; by default the context of the checkpoint, 4096 at most.
        tokens: How many tokens the checkpoint was trained on, for its FLOPs; without, they are not known.
    """
    if threads:
        import torch

        torch.set_num_threads(threads)
    record = import_checkpoint(
        source,
        out,
        layout=layout,
        tokenizer=tokenizer,
        corpus=corpus,
        length=length,
        tokens=tokens,
        validation=validation,
        device=device,
    )
    imported = record.spec.imported
    assert imported is not None
    found = record.validation
    said = "no text to score"
    if found is not None:
        said = f"held out: {nats_text(found)}, {bits_text(found)} ({found.protocol})"
    what = f"{out}: run {record.id}, {record.spec.family['name']} of layout {imported.layout}"
    statements = [f"{about}: {one}" for about, one in imported.statements.items()]
    return Answer(to_json(record), "\n".join((what, *statements, said)))
