"""A checkpoint of another program as a run of this library: `isodiff import`.

The run has a spec, a record, a checkpoint after 0 steps and a tokenizer like any other. What was not known
here stays open: a run without a corpus has no validation, one whose training tokens nobody said has no FLOPs.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from isodiff.data.subword import SubwordTokenizer
from isodiff.data.tokenizer import Tokenizer
from isodiff.data.tokens import Corpus
from isodiff.data.unigram import unigram_nats
from isodiff.errors import InputError, shown
from isodiff.interop.checkpoint import ForeignCheckpoint, open_checkpoint
from isodiff.interop.layout import Layout, ReadNetwork
from isodiff.interop.layouts import layout_of
from isodiff.interop.vocabulary import named_tokenizer, own_tokenizer, padded, write_tokenizer
from isodiff.interop.weight_files import weight_files
from isodiff.network.transformer import Transformer
from isodiff.provenance import provenance
from isodiff.record import (
    Imported,
    ParameterCounts,
    Record,
    RecordedSpec,
    RunFlops,
    RunResults,
)
from isodiff.runs import checkpoint as checkpoints
from isodiff.runs.build import corpus_identity, describe, make_family, make_network, measure
from isodiff.runs.device import check_device
from isodiff.runs.location import write_location
from isodiff.runs.spec import RunSpec, Validation
from isodiff.runs.validation import evaluate
from isodiff.serialization import from_json, write_result

_USUAL_LENGTH = 4096
"""Tokens of a window at most, unless a length is asked for."""
_CORPUS = "corpus"


def import_checkpoint(
    source: str,
    out: Path,
    *,
    layout: str | None = None,
    tokenizer: str | None = None,
    corpus: Path | None = None,
    length: int | None = None,
    tokens: int | None = None,
    validation: Validation,
    device: str = "cpu",
) -> Record:
    """Make the run `out` of a checkpoint, whole or not at all, and return its record.

    Args:
        source: a folder, a file of weights, or hf:OWNER/NAME.
        layout: its name; by default what its config.json or its keys say.
        tokenizer: as `isodiff corpus prepare` takes it; by default the one beside the weights.
        corpus: prepared with that tokenizer: its validation split is scored.
        length: tokens of a window; by default the checkpoint's context, 4096 at most.
        tokens: how many it was trained on.

    Raises:
        InputError: the checkpoint or its vocabulary is not understood, or `out` is there.
    """
    check_device(device)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists; choose another --out, or delete it first")
    checkpoint = open_checkpoint(source)
    kind = layout_of(checkpoint, layout)
    text, words = _vocabulary(source, checkpoint, kind, tokenizer, corpus)
    read = kind.read(checkpoint, words)
    checkpoint.finish()
    window = length or min(read.context or _USUAL_LENGTH, _USUAL_LENGTH)
    if read.context is not None and window > read.context:
        raise InputError(
            f"{checkpoint.name} reads {read.context} tokens, not {window}; give a shorter --length"
        )
    with _draft_of(out) as draft:
        if text is None:
            write_tokenizer(words, draft / _CORPUS)
            text = Corpus.open(draft / _CORPUS)
        spec = _spec(checkpoint, kind, read, text, window, tokens, validation)
        network = _network(spec, read, text).to(device).eval()
        record = _record(spec, network, text, tokens, device)
        write_result(draft / "spec.json", spec.to_json())
        write_location(draft, text.folder)
        state = checkpoints.State(
            step=0,
            steps=1,
            flops=0.0,
            metrics_bytes=0,
            wall_seconds=0.0,
            precision="float32",
            family=spec.family,
        )
        parts = checkpoints.Parts(weights=dict(network.state_dict()), moments={})
        checkpoints.save(draft / "checkpoint", spec.id, state, parts)
        write_result(draft / "record.json", record)
        draft.rename(out)
    return record


@contextmanager
def _draft_of(out: Path) -> Iterator[Path]:
    """A folder beside `out`, gone afterwards unless it was renamed."""
    parent = out.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=parent))
    draft.chmod(0o755)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _vocabulary(
    source: str,
    checkpoint: ForeignCheckpoint,
    layout: Layout,
    name: str | None,
    folder: Path | None,
) -> tuple[Corpus | None, Tokenizer]:
    """The corpus, if there is one, and the tokenizer, with as many ids as the layout needs.

    Raises:
        InputError: there is no tokenizer, or the corpus has another.
    """
    rows = layout.rows(checkpoint)
    own = named_tokenizer(name) if name else own_tokenizer(weight_files(source).folder)
    own = own if own is None or rows is None else padded(own, rows)
    if folder is None:
        if own is None:
            raise InputError(
                f"{checkpoint.name} has no tokenizer.json beside its weights; give --tokenizer, gpt2 say, or "
                "--corpus with one that was prepared with its tokenizer"
            )
        return None, own
    text = Corpus.open(folder)
    if own is not None:
        _check_same(own, text)
    elif rows is not None:
        padded(text.tokenizer, rows)
    return text, text.tokenizer


def _check_same(own: Tokenizer, text: Corpus) -> None:
    """That the ids of a corpus are the checkpoint's.

    Raises:
        InputError: they are not; names the first that differs.
    """
    ours, theirs = _tokens(own), _tokens(text.tokenizer)
    if ours != theirs:
        wrong = min(set(ours.items()) ^ set(theirs.items()))[0]
        raise InputError(
            f"{text.folder} is of a wrong vocabulary: its id {wrong} is {shown(theirs.get(wrong))}, the "
            f"checkpoint's {shown(ours.get(wrong))}; prepare it with the checkpoint's tokenizer"
        )


def _tokens(tokenizer: Tokenizer) -> dict[int, str]:
    if isinstance(tokenizer, SubwordTokenizer):
        return {index: token for token, index in tokenizer.inner.get_vocab().items()}
    return {i: f"{tokenizer.name} {i}" for i in range(tokenizer.vocab_size)}


def _spec(
    checkpoint: ForeignCheckpoint,
    layout: Layout,
    read: ReadNetwork,
    text: Corpus,
    length: int,
    tokens: int | None,
    validation: Validation,
) -> RunSpec:
    """Its budget is what its training tokens take; where nobody said how many, that of one step."""
    family = make_family(dict(read.family), text.vocab_size)
    context = "any number of" if read.context is None else read.context
    statements = {
        "tokenizer": f"{text.manifest.tokenizer.name}; documents end with token {text.eos}",
        **read.statements,
        "context": f"{context} tokens, in windows of {length}",
    }
    spec = RunSpec(
        family=describe(family),
        shape=read.shape,
        budget=1.0,
        length=length,
        corpus=corpus_identity(text),
        backbone=read.backbone,
        validation=validation,
        imported=Imported(
            source=checkpoint.name,
            sha256=checkpoint.sha256,
            layout=layout.name,
            averaged=checkpoint.averaged,
            parameters=checkpoint.parameters,
            context=read.context,
            statements=statements,
            training_tokens=tokens,
        ),
    )
    size = measure(spec, text.vocab_size)
    return replace(spec, budget=size.step_flops * (tokens or size.step_tokens) / size.step_tokens)


def _network(spec: RunSpec, read: ReadNetwork, text: Corpus) -> Transformer:
    with torch.device("meta"):
        network = make_network(spec, make_family(spec.family, text.vocab_size))
    network.load_state_dict(dict(read.weights), assign=True)
    return network.requires_grad_()


def _record(
    spec: RunSpec, network: Transformer, text: Corpus, tokens: int | None, device: str
) -> Record:
    size = measure(spec, text.vocab_size)
    counted = {} if tokens is None else size.flops(spec, 1)
    times = (tokens or 0) / size.step_tokens
    return Record(
        id=spec.id,
        status="done",
        spec=from_json(RecordedSpec, spec.to_json(), "spec"),
        parameters=ParameterCounts(
            total=size.total, non_embedding=size.non_embedding, core=size.core
        ),
        flops=RunFlops(
            planned=None if tokens is None else spec.budget,
            trained=0.0,
            **{name.replace("6ND", "six_nd"): times * value for name, value in counted.items()},
        ),
        tokens=tokens,
        steps=0,
        results=_measured(spec, network, text, device),
        precision="float32",
        device=device,
        provenance=provenance(),
    )


def _measured(spec: RunSpec, network: Transformer, text: Corpus, device: str) -> RunResults:
    """The likelihood of held-out text, where there is text."""
    if not text.manifest.splits:
        return RunResults()
    found = evaluate(
        make_family(spec.family, text.vocab_size),
        network,
        text.split("validation"),
        length=spec.length,
        windows=spec.validation.windows,
        draws=spec.validation.draws,
        noise_error=spec.validation.noise_error,
        device=device,
    )
    return RunResults(validation=found, unigram_nats=unigram_nats(text))
