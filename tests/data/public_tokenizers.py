"""Tokenizers built as those of public models are, small: their normalizers, pre-tokenizers and decoders."""

from __future__ import annotations

import json
from functools import cache

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

TEXT = (
    "alpha beta gamma delta. The alpha, the beta; naïve café 12345 sits on the mat!\n"
    "def f(x):\n    return x  # two  spaces\tand a tab\n\nBeta alphabet, gamma-delta (alpha's) end.\n"
)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _byte_level(add_prefix_space: bool = False) -> Tokenizer:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    inner.decoder = decoders.ByteLevel()
    _train(inner, trainers.BpeTrainer, ["<s>", "</s>", "<mask>"])
    inner.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return inner


def _train(inner: Tokenizer, trainer, special: list[str], **options) -> None:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if trainer is trainers.BpeTrainer:
        options = {"initial_alphabet": alphabet, **options}
    size = 420 + 256 * (BYTES[0] in special)
    inner.train_from_iterator(
        [TEXT] * 4,
        trainer(vocab_size=size, special_tokens=special, show_progress=False, **options),
    )


def roberta() -> Tokenizer:
    """Byte-level BPE whose mask swallows the blank before it."""
    return _byte_level()


def prefixed() -> Tokenizer:
    """Byte-level BPE that begins a text with a blank (Blenderbot)."""
    return _byte_level(add_prefix_space=True)


def llama3() -> Tokenizer:
    """Byte-level BPE that looks up whole words first, with named control tokens."""
    inner = Tokenizer(models.BPE(ignore_merges=True))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_GPT4), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    _train(inner, trainers.BpeTrainer, [])
    inner.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    inner.add_tokens(["<tool_call>", AddedToken("<|user|>", rstrip=True, lstrip=True), "é", "  "])
    return inner


def llama2() -> Tokenizer:
    """SentencePiece BPE with bytes, written out: a blank in front by the normalizer."""
    inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    _train(inner, trainers.BpeTrainer, ["<unk>", "<s>", "</s>", *BYTES], initial_alphabet=["▁"])
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return inner


def metaspace(scheme: str, split: bool = True) -> Tokenizer:
    """SentencePiece BPE with bytes as transformers writes it now."""
    inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=split)  # type: ignore[arg-type]
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", int(scheme != "never"), 0),
        ]
    )
    _train(inner, trainers.BpeTrainer, ["<unk>", "<s>", "</s>", *BYTES], initial_alphabet=["▁"])
    return inner


def gemma() -> Tokenizer:
    """SentencePiece BPE with bytes and no blank in front."""
    inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    _train(
        inner,
        trainers.BpeTrainer,
        ["<pad>", "<eos>", "<bos>", "<unk>", *BYTES],
        initial_alphabet=["▁"],
    )
    inner.add_tokens(["\n\n", "<start_of_image>"])
    return inner


def _unigram(special: list[str], byte_fallback: bool, scheme: str = "always") -> Tokenizer:
    inner = Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme)  # type: ignore[arg-type]
    inner.decoder = decoders.Metaspace("▁", prepend_scheme=scheme)  # type: ignore[arg-type]
    _train(inner, trainers.UnigramTrainer, special, unk_token="<unk>")
    if byte_fallback:
        vocab = [(token, 0.0) for token in special] + [
            (token, -8.0 - index / 1000)
            for index, token in enumerate(sorted(set(inner.get_vocab()) - set(special)))
        ]
        inner.model = models.Unigram(vocab, special.index("<unk>"), byte_fallback=True)
        inner.decoder = decoders.Sequence([decoders.ByteFallback(), inner.decoder])
    return inner


def t5() -> Tokenizer:
    """Unigram without bytes: an unknown character is lost."""
    inner = _unigram(["<pad>", "</s>", "<unk>"], byte_fallback=False)
    inner.normalizer = normalizers.NFKC()
    return inner


def unigram_bytes() -> Tokenizer:
    """Unigram with bytes, whose names are words of its vocabulary."""
    return _unigram(["<pad>", "</s>", "<unk>", *BYTES], byte_fallback=True)


def bert() -> Tokenizer:
    """WordPiece: lower case, blanks are not kept."""
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    _train(inner, trainers.WordPieceTrainer, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return inner


def words() -> Tokenizer:
    """Whole words between blanks."""
    inner = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    _train(inner, trainers.WordLevelTrainer, ["[UNK]", "[SEP]"])
    return inner


EXACT = {
    "roberta": roberta,
    "blenderbot": prefixed,
    "llama3": llama3,
    "llama2": llama2,
    "metaspace first": lambda: metaspace("first"),
    "metaspace always": lambda: metaspace("always"),
    "metaspace never": lambda: metaspace("never"),
    "mistral": lambda: metaspace("first", split=False),
    "gemma": gemma,
    "unigram bytes": unigram_bytes,
}
"""Those that keep every text, but for a blank in front."""
LOSSY = {"t5": t5, "bert": bert, "words": words}


@cache
def source(name: str) -> str:
    """The tokenizer.json. The names of bytes are words of the vocabulary, no added tokens."""
    parsed = json.loads((EXACT | LOSSY)[name]().to_str())
    parsed["added_tokens"] = [t for t in parsed["added_tokens"] if t["content"] not in BYTES]
    return json.dumps(parsed)
