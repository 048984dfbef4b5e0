"""Tokenizers: round trips, exact byte counts, any ids decode."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, pre_tokenizers

from isodiff.data.literal import BYTE_OF
from isodiff.data.subword import (
    SubwordTokenizer,
    UntrainedBPE,
    from_file,
    gpt2,
    tokenizer_for,
)
from isodiff.data.tokenizer import Alphabet, Bytes, Text8
from isodiff.errors import InputError

SAMPLE = (
    "The quick brown fox jumps over the lazy dog. Ünïcödé naïveté 日本語 emoji 🎉🎉\n\n"
    "The dog sleeps, the fox thinks; the naïveté of dogs is the fox's delight.\r\n\t 12345 "
)
BPE = UntrainedBPE(300).train(iter([SAMPLE] * 3))
DNA = Alphabet.parse("alphabet:ACGTæ日")
PLAIN = [Bytes(), Text8(), BPE, DNA]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


def write_gpt2_files(folder, tokenizer, names):
    model = json.loads(tokenizer.source)["model"]
    vocab = dict(model["vocab"]) | {"<|endoftext|>": tokenizer.eos}
    (folder / names[0]).write_text(json.dumps(vocab))
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (folder / names[1]).write_text(f"#version: 0.2\n{merges}\n")


@pytest.mark.parametrize("tokenizer", [Bytes(), BPE], ids=["bytes", "bpe"])
@settings(max_examples=100, deadline=None)
@example("<|endoftext|> spelled out")
@example("\ufeff\x00\r\n")
@given(text=TEXTS)
def test_round_trip_and_exact_bytes(tokenizer, text):
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int64
    assert ((ids >= 0) & (ids < tokenizer.vocab_size) & (ids != tokenizer.eos)).all()
    assert tokenizer.decode(ids) == text
    assert tokenizer.token_bytes[ids].sum() == len(text.encode())
    assert next(iter(tokenizer.encode_batch([text, "x"]))).tolist() == ids.tolist()


@pytest.mark.parametrize("tokenizer", PLAIN, ids=lambda one: one.name)
@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 310), max_size=30))
def test_decode_takes_any_ids(tokenizer, ids):
    assert isinstance(tokenizer.decode(ids), str)


@pytest.mark.parametrize("tokenizer", PLAIN, ids=lambda one: one.name)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_spellings_put_together_are_the_text(tokenizer, data):
    """For any tokens, so for those of a character in part too."""
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=20))
    spelled = b"".join(map(tokenizer.spelling, ids))
    assert spelled.decode(errors="replace") == tokenizer.decode(ids)
    if tokenizer.eos not in ids:
        assert len(spelled) == tokenizer.token_bytes[ids].sum()


def test_the_byte_alphabet_is_that_of_the_library():
    assert set(BYTE_OF) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(BYTE_OF.values()) == list(range(256))
    text = "".join(map(chr, range(0x250))) + "日🎉"
    assert b"".join(map(BPE.spelling, BPE.encode(text).tolist())).decode() == text


@pytest.mark.parametrize(
    ("vocab", "decoder", "ids", "text"),
    [
        ({"▁the": 0, "▁a": 1, "b": 2}, decoders.Metaspace(), [0, 1, 2], " the ab"),
        ({"the": 0, "##n": 1, "go": 2}, decoders.WordPiece(), [0, 1, 2], " then go"),
        (
            {"<0xE6>": 0, "<0x97>": 1, "<0xA5>": 2, "▁": 3},
            decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]),
            [3, 0, 1, 2],
            " 日",
        ),
    ],
    ids=["metaspace", "wordpiece", "byte fallback"],
)
def test_spellings_of_vocabularies_that_are_not_of_bytes(vocab, decoder, ids, text):
    """As within a text: with the blank before a word."""
    inner = Library(models.BPE(vocab, [], byte_fallback="<0xE6>" in vocab))
    inner.decoder = decoder
    tokenizer = SubwordTokenizer(inner.to_str(), "tokenizer.json")
    assert tokenizer.token_bytes is None
    assert b"".join(map(tokenizer.spelling, ids)).decode() == text
    assert tokenizer.decode(ids) == text.lstrip()
    assert tokenizer.spelling(tokenizer.eos) == b"<|endoftext|>"


def test_end_of_document_is_the_last_id_has_no_bytes_and_is_shown():
    for tokenizer, size in ((Bytes(), 257), (Text8(), 28), (BPE, 300)):
        assert (tokenizer.vocab_size, tokenizer.eos) == (size, size - 1)
        assert len(tokenizer.token_bytes) == size and tokenizer.token_bytes[-1] == 0
        ids = [*tokenizer.encode("ab"), tokenizer.eos, *tokenizer.encode("c"), size]
        assert tokenizer.decode(ids) == "ab<|endoftext|>c�"
    assert Bytes().decode([]) == ""


def test_text8_ids_and_refusal():
    assert Text8().encode(" az").tolist() == [0, 1, 26]
    with pytest.raises(InputError, match="character 'B' at offset 2 "):
        Text8().encode("a B")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("In 1999, the COST was $20!", "in one nine nine nine the cost was two zero "),
        ("naïve\u212a", "na ve "),  # the Kelvin sign lowers to k in Unicode, not in a-z
        ("  a\n\nb ", " a b "),
        ("…", " "),
    ],
)
def test_text8_normalize(text, wanted):
    tokenizer = Text8(normalized=True)
    assert tokenizer.normalize(text) == wanted
    assert tokenizer.normalize(wanted) == wanted
    assert tokenizer.decode(tokenizer.encode(text)) == wanted


def test_training_is_deterministic_and_sized():
    assert BPE.fingerprint == UntrainedBPE(300).train(iter([SAMPLE] * 3)).fingerprint
    assert BPE.fingerprint != UntrainedBPE(301).train(iter([SAMPLE] * 3)).fingerprint
    with pytest.raises(InputError, match=r"merges for bpe:(\d+) only, not bpe:9000"):
        UntrainedBPE(9000).train(iter(["ab ab"]))
    assert UntrainedBPE(257).train(iter(["x"])).encode("xé").tolist() != []


@pytest.mark.parametrize("name", ["bpe", "bpe:", "bpe:256", "bpe:x", "bpe:-1", "bpe:99999999"])
def test_bad_bpe_sizes(name):
    with pytest.raises(InputError, match="give bpe:SIZE"):
        tokenizer_for(name)


@pytest.mark.parametrize("names", [("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")])
def test_gpt2_files(tmp_path, names):
    write_gpt2_files(tmp_path, BPE, names)
    tokenizer = tokenizer_for(f"gpt2:{tmp_path}")
    assert isinstance(tokenizer, SubwordTokenizer) and tokenizer.name == "gpt2"
    assert (tokenizer.vocab_size, tokenizer.eos) == (300, 299)
    assert np.array_equal(tokenizer.token_bytes, BPE.token_bytes)
    assert tokenizer.encode(SAMPLE).tolist() == BPE.encode(SAMPLE).tolist()


def test_gpt2_files_missing_or_damaged(tmp_path):
    with pytest.raises(InputError, match=r"neither encoder.json \+ vocab.bpe"):
        gpt2(tmp_path)
    (tmp_path / "vocab.json").write_text("{")
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(InputError, match="not a BPE vocabulary"):
        gpt2(tmp_path)


def test_gpt2_without_network_names_the_way_out(tmp_path):
    code = (
        "from isodiff.data.subword import tokenizer_for; from isodiff.errors import InputError\n"
        "try: tokenizer_for('gpt2')\nexcept InputError as error: print(error)"
    )
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=offline, capture_output=True, text=True, timeout=60
    )
    assert "gpt2 could not be fetched" in answer.stdout and "gpt2:DIR" in answer.stdout
    assert len(answer.stdout.splitlines()) == 1


def word_tokenizer(vocab):
    inner = Library(models.WordLevel(vocab, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return inner


def test_tokenizer_file_with_its_own_end_token(tmp_path):
    inner = word_tokenizer({"[UNK]": 0, "</s>": 1, "hello": 2, "world": 7})
    inner.enable_truncation(1)
    inner.enable_padding(length=9)
    inner.save(str(tmp_path / "words.json"))
    tokenizer = tokenizer_for(str(tmp_path / "words.json"))
    assert isinstance(tokenizer, SubwordTokenizer)
    assert (tokenizer.vocab_size, tokenizer.eos, tokenizer.token_bytes) == (8, 1, None)
    assert tokenizer.encode("hello world").tolist() == [2, 7]
    assert tokenizer.decode([2, 1, 7]) == "hello<|endoftext|>world"


def test_tokenizer_file_without_end_token_gets_one(tmp_path):
    word_tokenizer({"[UNK]": 0, "a": 1}).save(str(tmp_path / "t.json"))
    tokenizer = from_file(tmp_path / "t.json", "tokenizer.json")
    assert (tokenizer.vocab_size, tokenizer.eos) == (3, 2)


def test_not_a_tokenizer_file(tmp_path):
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(InputError, match=r"t.json is not a tokenizer"):
        tokenizer_for(str(tmp_path / "t.json"))
    (tmp_path / "t.json").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"t.json is not a tokenizer"):
        tokenizer_for(str(tmp_path / "t.json"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("byte", "did you mean 'bytes'"), ("text8:x", "text8:normalize"), ("nowhere.json", "path")],
)
def test_unknown_tokenizers(name, hint):
    with pytest.raises(InputError, match=hint):
        tokenizer_for(name)


def test_an_alphabet_is_its_characters_in_order():
    digits = tokenizer_for("alphabet:0-9a-q-")
    assert (digits.vocab_size, digits.eos, digits.name) == (29, 28, "alphabet:0-9a-q-")
    assert digits.encode("90aq-").tolist() == [9, 0, 10, 26, 27]
    assert digits.decode([9, 28, 27]) == "9<|endoftext|>-"
    assert DNA.token_bytes is not None and DNA.token_bytes.tolist() == [1, 1, 1, 1, 2, 3, 0]
    assert DNA.encode("日ACæ").tolist() == [5, 0, 1, 4]
    assert Text8().encode(" az").tolist() == [0, 1, 26] and Text8().vocab_size == 28


@pytest.mark.parametrize("name", ["alphabet:", "alphabet:aba", "alphabet:z-a", "alphabet:a-cb"])
def test_what_is_no_alphabet(name):
    with pytest.raises(InputError, match="is no alphabet; give alphabet: and its characters"):
        tokenizer_for(name)


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (DNA, "character 'U' at offset 2 is not in alphabet:ACGTæ日, the tokenizer"),
        (
            Text8(),
            "character 'U' at offset 2 is not a space or a-z; --tokenizer text8:normalize brings",
        ),
    ],
)
def test_other_characters_are_refused(tokenizer, message):
    with pytest.raises(InputError, match=message):
        tokenizer.encode("ACUC" if tokenizer is DNA else "acUc")
