"""Text to tokens by a tokenizer.json, so that text stays text: a name in it is not the token of that name.

A tokenizer of the `tokenizers` library may put a blank before every part of a text, let named tokens swallow
the blanks around them, and find names like `</s>` or `<0x41>` among the words of its vocabulary. Here a text
gets one blank in front, if the file says so, and what is found by name is written out instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import chain, groupby, pairwise
from typing import Any

import numpy as np
import tokenizers

from isodiff.errors import InputError

# GPT-2's byte alphabet: printable characters of Latin-1 stand for themselves, the rest for 256, 257, ...
_PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTE_OF = {chr(byte): byte for byte in _PRINTED} | {
    chr(256 + i): byte for i, byte in enumerate(sorted({*range(256)} - {*_PRINTED}))
}
_BYTE_NAME = re.compile("<0x([0-9A-F]{2})>")


def bytes_of(token: str) -> bytes:
    """Bytes of a token of a byte-level vocabulary, where every character is one byte."""
    own = BYTE_OF.keys() >= set(token)
    return bytes(map(BYTE_OF.__getitem__, token)) if own else token.encode()


class LiteralEncoder:
    """A `tokenizers` tokenizer that reads names in a text as text.

    Attributes:
        inner: the library's, without a blank of its own in front.
        prefix: what it puts in front of a text instead: a blank or nothing.
        eos: the id of the token `end`.
        byte_level: whether its words are spelled in GPT-2's byte alphabet.
        bytes_by_id: the byte of each token that stands for one (byte fallback).
    """

    def __init__(self, source: str, ends: Sequence[str]) -> None:
        """From the text of a tokenizer.json; the first of `ends` that it has, or is added, ends a document.

        Any exception of the library passes through.
        """
        parsed = json.loads(source)
        self.byte_level = _has(parsed.get("pre_tokenizer"), "ByteLevel")
        own = {key: parsed.get(key) for key in ("normalizer", "pre_tokenizer")}
        bare = {key: _without_prefix(part) for key, part in own.items()}
        self.prefix = " " if bare != own else ""
        for added in parsed.get("added_tokens") or []:
            added.update(lstrip=False, rstrip=False, single_word=False)
            # As text its bytes are not those that the decoder gives back: never found in a text then.
            added["special"] = added["special"] or (
                self.byte_level and bytes_of(added["content"]) != added["content"].encode()
            )
        self.inner = tokenizers.Tokenizer.from_str(json.dumps(parsed | bare))
        self.inner.no_truncation()
        self.inner.no_padding()
        end = next((one for one in ends if self.inner.token_to_id(one) is not None), ends[0])
        self.inner.add_special_tokens([end])
        self.inner.encode_special_tokens = True
        vocabulary = self.inner.get_vocab()
        self.eos = int(vocabulary[end])
        # Some ids may be unused; the largest one counts.
        self.vocab_size = max(vocabulary.values()) + 1
        model = parsed["model"]
        named = ((_BYTE_NAME.fullmatch(name), index) for name, index in vocabulary.items())
        fallback = bool(model.get("byte_fallback"))
        self.bytes_by_id = {i: bytes.fromhex(name[1]) for name, i in named if name and fallback}
        unknown = {model.get("unk_id"), vocabulary.get(model.get("unk_token"))}
        added = self.inner.get_added_tokens_decoder().items()
        self._control = {index for index, token in added if token.special}
        self._control -= unknown | {*self.bytes_by_id}
        found = vocabulary.get("<0x41>") in self.inner.encode("<0x41>").ids
        self._byte_names = {*self.bytes_by_id} if found else set()
        self._suspect = np.zeros(self.vocab_size, bool)
        self._suspect[[*self._control, *self._byte_names]] = True

    def encode(self, text: str, *, within: bool = False) -> np.ndarray:
        """Token ids of a text; `within` a document, where nothing is put in front."""
        if not text:
            return np.zeros(0, np.int64)
        text = text if within else self.prefix + text
        encoding = self.inner.encode(text, add_special_tokens=False)
        ids = np.array(encoding.ids, np.int64)
        cuts = self._cuts(encoding) if self._suspect[ids].any() else []
        if cuts:
            parts = (text[a:b] for a, b in pairwise([0, *cuts, len(text)]))
            return np.concatenate([self.encode(part, within=True) for part in parts])
        if (ids == self.eos).any():
            raise InputError(
                f"{self.inner.id_to_token(self.eos)!r} ends a document for this tokenizer, and a text has it"
            )
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """`encode` for several texts, on all cores."""
        begun = [self.prefix + text if text else text for text in texts]
        encodings = self.inner.encode_batch_fast(begun, add_special_tokens=False)
        found = [encoding.ids for encoding in encodings]
        ends = np.cumsum([len(ids) for ids in found])
        flat = np.fromiter(chain.from_iterable(found), np.int64, ends[-1] if found else 0)
        parts = np.split(flat, ends[:-1])
        if not self._suspect[flat].any():
            return parts
        pairs = zip(texts, parts, strict=True)
        return [self.encode(text) if self._suspect[ids].any() else ids for text, ids in pairs]

    def _cuts(self, encoding: Any) -> list[int]:
        """Where to cut a text so that no word of it is the name of a token.

        The bytes of an unknown character share its place; a name of a byte that is written out has its own.
        """
        cuts = []
        places = zip(encoding.offsets, encoding.ids, strict=True)
        for (start, stop), same in groupby(places, lambda one: one[0]):
            ids = [index for _, index in same]
            named = ids[0] in self._control or (len(ids) == 1 and ids[0] in self._byte_names)
            if named and stop - start > 1:
                cuts.append((start + stop) // 2)
        return cuts


def _has(part: Any, kind: str) -> bool:
    """Whether a part of a tokenizer.json is of a kind, alone or in a sequence."""
    if not isinstance(part, dict):
        return False
    return part.get("type") == kind or any(
        _has(one, kind) for one in part.get("pretokenizers") or []
    )


def _without_prefix(part: Any) -> Any:
    """A normalizer or pre-tokenizer that puts no blank in front."""
    if isinstance(part, list):
        return [_without_prefix(one) for one in part]
    if not isinstance(part, dict):
        return part
    if part.get("type") == "Prepend" and part.get("prepend") in (" ", "▁"):
        return {"type": "Sequence", "normalizers": []}
    bare = {key: _without_prefix(value) for key, value in part.items()}
    if part.get("type") == "Metaspace" and part.get("prepend_scheme") != "never":
        bare["prepend_scheme"] = "never"
        bare.pop("add_prefix_space", None)  # in files of earlier versions
    if part.get("type") == "ByteLevel":
        bare["add_prefix_space"] = False
    return bare
