"""What a text contains stays text, under tokenizers built as those of public models are."""

import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from public_tokenizers import EXACT, LOSSY, TEXT, source
from tokenizers import Tokenizer as Library
from tokenizers import models, pre_tokenizers

from isodiff.cli import main
from isodiff.data.literal import LiteralEncoder
from isodiff.data.qa_format import QuestionAnswer, tokenize_questions
from isodiff.data.subword import SubwordTokenizer, from_file, tokenizer_for
from isodiff.errors import InputError

TOKENIZERS = {name: SubwordTokenizer(source(name), name) for name in EXACT | LOSSY}
NAMES = [
    *("</s>", "<s>", "<unk>", "<mask>", "<eos>", "<pad>", "[SEP]", "[MASK]", "<|endoftext|>"),
    *("<|end_of_text|>", "<|eot_id|>", "<tool_call>", "<|user|>", "<start_of_image>"),
    *("<0x41>", "<0x0A>", "<0xFF>", "▁"),
]
PIECES = st.sampled_from(
    [
        *NAMES,
        *" \n\t",
        "  ",
        "alpha",
        " beta",
        "naïve",
        "café",
        "é",
        "日本",
        "🎉",
        "##a",
        "Ġ",
        "\n\n",
    ]
)
TEXTS = st.lists(PIECES | st.text(st.characters(codec="utf-8"), max_size=4), max_size=8).map(
    "".join
)


def comes_back(name, text):
    """Vocabularies that write blanks as `▁` cannot tell them apart."""
    return text if TOKENIZERS[name].token_bytes is not None else text.replace("▁", " ")


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=120, deadline=None)
@example("alpha </s> beta <0x41>")
@example("  <mask>  <|user|>  é")
@example("</s></s><0x41><0x41></s>")
@example("\n\n alpha")
@given(text=TEXTS)
def test_a_text_comes_back_whatever_names_are_in_it(name, text):
    tokenizer = TOKENIZERS[name]
    ids = tokenizer.encode(text)
    assert tokenizer.eos not in ids
    assert tokenizer.decode(ids) == comes_back(name, text)
    assert next(iter(tokenizer.encode_batch([text, "x"]))).tolist() == ids.tolist()
    if name in ("roberta", "llama3"):
        assert tokenizer.token_bytes is not None
        assert tokenizer.token_bytes[ids].sum() == len(text.encode())


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=60, deadline=None)
@example(["alpha ", " beta"])
@example(["", "beta", " ", ""])
@given(parts=st.lists(TEXTS, min_size=2, max_size=4))
def test_given_pieces_around_holes_survive(name, parts):
    """Whatever is written into the holes: read after what stands before it, a piece is what was given."""
    tokenizer = TOKENIZERS[name]
    first, *others = parts
    encoded = [tokenizer.encode(first), *map(tokenizer.encode_within, others)]
    holes = [np.append(ids, -1) for ids in encoded[:-1]]
    shown = tokenizer.decode(np.concatenate([*holes, encoded[-1]]))
    assert shown == "\N{REPLACEMENT CHARACTER}".join(comes_back(name, part) for part in parts)
    for part, ids in zip(others, encoded[1:], strict=True):
        assert b"".join(map(tokenizer.spelling, ids.tolist())).decode() == comes_back(name, part)
    if first:  # and without a hole
        joined = tokenizer.decode(np.concatenate(encoded[:2]))
        assert joined == comes_back(name, first + others[0])


@pytest.mark.parametrize("name", LOSSY)
@settings(max_examples=60, deadline=None)
@example("alpha [SEP] beta")
@example("</s>")
@example("\N{FULLWIDTH LESS-THAN SIGN}/s>")
@given(text=TEXTS)
def test_no_text_holds_the_end_of_a_document(name, text):
    tokenizer = TOKENIZERS[name]
    ids = tokenizer.encode(text)
    assert tokenizer.eos not in ids
    assert next(iter(tokenizer.encode_batch([text]))).tolist() == ids.tolist()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_plain_text_has_the_tokens_of_the_library(name):
    library = Library.from_str(source(name))
    for text in (TEXT.replace("é", "e"), "alpha", "Beta gamma.\n", "12345, the mat"):
        wanted = library.encode(text, add_special_tokens=False).ids
        assert TOKENIZERS[name].encode(text).tolist() == wanted
    assert TOKENIZERS[name].encode("").tolist() == []


@pytest.mark.parametrize("name", TOKENIZERS)
def test_words_around_a_hole_are_those_of_the_text(name):
    tokenizer = TOKENIZERS[name]
    shown = tokenizer.decode(
        np.concatenate([tokenizer.encode("alpha"), tokenizer.encode_within(" beta")])
    )
    assert shown == "alpha beta"


def test_a_name_of_one_character_that_ends_documents_is_refused_in_a_text():
    inner = Library(models.WordLevel({"[UNK]": 0, "§": 1, "alpha": 2}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    encoder = LiteralEncoder(inner.to_str(), ["§"])
    assert encoder.encode("alpha alpha§").tolist() == [2, 0]
    for encode in (encoder.encode, lambda text: encoder.encode_batch([text])[0]):
        with pytest.raises(InputError, match="'§' ends a document"):
            encode("alpha § alpha")


@pytest.mark.parametrize("name", EXACT)
def test_prompt_and_answer_are_divided_where_the_tokens_of_the_whole_are(name):
    tokenizer = TOKENIZERS[name]
    for question, answer in itertools.product(["alpha?", "</s> 5"], ["#### 5", "beta\n#### 1,004"]):
        one = QuestionAnswer(question, answer)
        (found,) = tokenize_questions([one], tokenizer)
        whole = tokenizer.encode(one.prompt + one.response)
        assert [*found.prompt, *found.answer] == [*whole, tokenizer.eos]
        assert tokenizer.decode(found.prompt) == one.prompt
        assert found.prompt.tolist() == tokenizer.encode(one.prompt).tolist()


def test_a_merge_across_prompt_and_answer_belongs_to_the_answer():
    """As where a vocabulary has `:▁` for one."""
    parsed = json.loads(source("mistral"))
    vocab, merges = parsed["model"]["vocab"], parsed["model"]["merges"]
    vocab[":▁"] = len(vocab)
    merges.insert(0, [":", "▁"])
    tokenizer = SubwordTokenizer(json.dumps(parsed), "t")
    one = QuestionAnswer("alpha?", "#### 5")
    (found,) = tokenize_questions([one], tokenizer)
    assert [*found.prompt, *found.answer[:-1]] == tokenizer.encode(
        one.prompt + one.response
    ).tolist()
    assert tokenizer.decode(found.prompt) == "Question: alpha?\nAnswer"


FILES = {
    "tokenizer.model": (b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02", "is a SentencePiece model"),
    "spiece.bin": (b"\n\x0c\n\x03<s>\x15\0\0\0\0\x18\x03", "is a SentencePiece model"),
    "any.model": (b"anything", "is a SentencePiece model"),
    "o200k.tiktoken": (b"IQ== 0\nIg== 1\nIw== 2\n", "is a tiktoken vocabulary"),
    "vocab.txt": (b"[PAD]\n[UNK]\n", "is not a tokenizer of the tokenizers library"),
    "other.json": (b'{"a": 1}', "is not a tokenizer of the tokenizers library"),
    "damaged.json": (b'{"model": ', "is not a tokenizer of the tokenizers library"),
    "latin.json": (b'{"\xe9": 1}', "is not a tokenizer of the tokenizers library"),
}


@pytest.mark.parametrize("name", FILES)
def test_other_vocabularies_are_refused_by_name(tmp_path, name):
    data, message = FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=f"{name} {message}") as error:
        tokenizer_for(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_a_folder_and_a_byte_order_mark(tmp_path):
    with pytest.raises(InputError, match=r"holds no tokenizer\.json"):
        tokenizer_for(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text(source("llama2"), encoding="utf-8-sig")
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        tokenizer = tokenizer_for(str(path))
        assert isinstance(tokenizer, SubwordTokenizer)
        assert tokenizer.vocab_size == TOKENIZERS["llama2"].vocab_size


PATHS = ["model", "normalizer", "pre_tokenizer", "decoder", "added_tokens", "post_processor"]


@pytest.mark.parametrize("name", ["llama2", "unigram bytes", "llama3", "bert"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_damaged_tokenizer_is_one_line_or_works(tmp_path_factory, name, data):
    parsed = json.loads(source(name))
    part = parsed
    key = data.draw(st.sampled_from(PATHS))
    while isinstance(part[key], dict | list) and part[key] and data.draw(st.booleans()):
        part = part[key]
        keys = list(part) if isinstance(part, dict) else range(len(part))
        key = data.draw(st.sampled_from(keys))
    part[key] = data.draw(st.sampled_from([None, 0, -1, 10**9, "", "x", [], {}, [[]], 1.5]))
    file = tmp_path_factory.mktemp("t") / "tokenizer.json"
    file.write_text(json.dumps(parsed))
    try:
        tokenizer = from_file(file, "tokenizer.json")
        tokenizer.decode(tokenizer.encode("alpha </s> 日"))
    except InputError as error:
        assert "\n" not in str(error)


def test_sampled_texts_hold_the_given_pieces_exactly(tmp_path, capsys):
    """Through the command line, with a tokenizer that begins a text with a blank."""
    file, folder = tmp_path / "tokenizer.json", str(tmp_path / "corpus")
    file.write_text(source("metaspace first"), encoding="utf-8")
    text = "\n\n".join(f"alpha {i} beta {i * i} gamma." for i in range(400))
    (tmp_path / "a.txt").write_text(text)
    words = ["--tokenizer", str(file), "--out", folder]
    assert main(["corpus", "prepare", str(tmp_path / "a.txt"), *words]) == 0
    words = ["--corpus", folder, "--budget", "8.5e7", "--shape", "1x8x1", "--length", "24"]
    words += ["--validation.windows", "1", "--validation.draws", "1", "--recipe.batch-size", "2"]
    capsys.readouterr()
    assert main(["train", "masked", *words, "--out", str(tmp_path / "runs"), "--json"]) == 0
    run = json.loads(capsys.readouterr().out)["id"]
    words = ["--prompt", "alpha _ beta", "--suffix", ", gamma_", "--blank", "_", "--num", "3"]
    assert main(["sample", str(tmp_path / "runs" / run), *words, "--length", "16", "--json"]) == 0
    shown = capsys.readouterr()
    for one in json.loads(shown.out)["samples"]:
        assert re.fullmatch("(?s)alpha .* beta.*, gamma.*", one["text"])
    assert "takes" not in shown.err
