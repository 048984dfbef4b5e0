r"""Preparing a corpus with bpe:SIZE, against the `tokenizers` library alone on the same texts.

    python benchmarks/bpe_corpus.py TEXT... [--separator '\f'] --out benchmarks/results/bpe_corpus_cpu.json

*Library*: the documents lie in memory; a byte-level BPE is trained on those of the training split, with all
cores, then all are encoded in batches of 4 MiB. *isodiff*: `prepare`, all of it: reading, hashing, splitting,
training on the same documents, encoding, writing. Both take turns in one process, and what is compared is
processor time, of all threads: other work on the machine then matters little.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from isodiff.data.corpora import prepare
from isodiff.data.split import TRAIN, DocumentSource, split_documents
from isodiff.data.subword import UntrainedBPE
from isodiff.provenance import provenance
from isodiff.serialization import to_json

_BATCH = 2**22


def processor_seconds(work: Callable[[], object]) -> float:
    """Of all threads of this process."""

    def now() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    begun = now()
    work()
    return now() - begun


def library(texts: Sequence[str], split: Sequence[int], size: int) -> None:
    """Train on the training split, encode everything."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    training = (text for text, where in zip(texts, split, strict=True) if where == TRAIN)
    inner.train_from_iterator(training, trainer)
    group: list[str] = []
    size = 0
    for text in [*texts, ""]:
        group.append(text)
        size += len(text)
        if size >= _BATCH or not text:
            inner.encode_batch_fast(group, add_special_tokens=False)
            group, size = [], 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "text", nargs="+", help="files or folders, as `isodiff corpus prepare` takes them"
    )
    parser.add_argument(
        "--separator", type=lambda text: text.replace(r"\f", "\f").replace(r"\n", "\n")
    )
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    whole = DocumentSource(
        tuple(options.text), options.separator, "text", UntrainedBPE(options.size)
    )
    source, hashes, split = split_documents(whole, 0.05, 0.05)
    texts = [document.text for document in source]
    megabytes = float(hashes.num_bytes.sum()) / 1e6
    seconds: dict[str, list[float]] = {"isodiff": [], "library": []}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            out, name = Path(folder) / "corpus", f"bpe:{options.size}"
            seconds["isodiff"].append(
                processor_seconds(
                    lambda out=out, name=name: prepare(
                        options.text, out, tokenizer=name, separator=options.separator
                    )
                )
            )
        seconds["library"].append(
            processor_seconds(lambda: library(texts, split.tolist(), options.size))
        )
        print({name: round(taken[-1], 1) for name, taken in seconds.items()}, flush=True)
    ratios = [b / a for a, b in zip(seconds["isodiff"], seconds["library"], strict=True)]
    result = {
        "megabytes": megabytes,
        "documents": len(texts),
        "cut": source.cut,
        "size": options.size,
        "processor_seconds": seconds,
        "megabytes_per_processor_second": {
            name: megabytes / statistics.median(taken) for name, taken in seconds.items()
        },
        "isodiff_over_library": {
            "median": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        },
        **to_json(provenance()),
    }
    print(json.dumps({k: v for k, v in result.items() if k != "packages"}, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
