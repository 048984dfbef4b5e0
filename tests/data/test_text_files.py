"""Files as people have them: read as what they are, or refused by name; never taken for text in silence."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from isodiff.cli import main
from isodiff.data.documents import documents
from isodiff.data.qa_format import read_questions
from isodiff.errors import InputError
from isodiff.evaluate.items import read_items

WANTED = ['one, "quoted"\nand two lines', "\ttabs and é 日本", "plain"]


def texts(*sources, **options):
    return [document.text for document in documents(list(map(str, sources)), **options)]


def table(delimiter):
    out = io.StringIO()
    rows = csv.writer(out, delimiter=delimiter)
    rows.writerows([["id", "text"], *enumerate(WANTED)])
    return out.getvalue().encode()


def parquet_bytes():
    out = io.BytesIO()
    parquet.write_table(pa.table({"text": WANTED}), out)
    return out.getvalue()


JSON_LINES = "".join(json.dumps({"text": text}) + "\n" for text in WANTED).encode()
CONTENTS = {
    **dict.fromkeys([".jsonl", ".ndjson", ".jsonlines", ".JSONL", ".jl", ".json"], JSON_LINES),
    **{".csv": table(","), ".tsv": table("\t"), ".CSV": table(",")},
    **{".parquet": parquet_bytes(), ".pq": parquet_bytes(), "": parquet_bytes()},
}
PACK = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("suffix", CONTENTS)
def test_every_format_however_it_is_packed(tmp_path, suffix, packed):
    for mark in (b"", b"\xef\xbb\xbf"):
        data = CONTENTS[suffix]
        file = tmp_path / f"a{suffix}{packed}"
        file.write_bytes(PACK[packed](data if data.startswith(b"PAR1") else mark + data))
        assert texts(file) == WANTED
    # packed, but not called so
    (tmp_path / f"b{suffix}").write_bytes(PACK[packed](data))
    assert texts(tmp_path / f"b{suffix}") == WANTED


@pytest.mark.parametrize("packed", PACK)
def test_text_however_it_is_packed(tmp_path, packed):
    (tmp_path / f"a.txt{packed}").write_bytes(PACK[packed]("\ufeffone é|two\ufeff|three".encode()))
    assert texts(tmp_path / f"a.txt{packed}", separator="|") == ["one é", "two\ufeff", "three"]
    assert texts(tmp_path / f"a.txt{packed}") == ["one é|two\ufeff|three"]


@pytest.mark.parametrize("packed", [name for name in PACK if name])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_named_with_its_place(tmp_path_factory, packed, data):
    whole = PACK[packed](np.random.default_rng(0).bytes(300) * 3 + JSON_LINES)
    cut = data.draw(st.integers(1, len(whole) - 1))
    file = tmp_path_factory.mktemp("cut") / f"a.txt{packed}"
    file.write_bytes(whole[:cut])
    with pytest.raises(
        InputError, match=r"a.txt\.\w+ is damaged (at byte \d+|or has a wrong name)"
    ):
        texts(file)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_of_parquet_is_one_error_or_none(tmp_path_factory, place, bit):
    whole = bytearray(parquet_bytes())
    whole[place % len(whole)] ^= 1 << bit
    file = tmp_path_factory.mktemp("bit") / "a.parquet"
    file.write_bytes(whole)
    try:
        texts(file)
    except InputError as error:
        assert "a.parquet" in str(error) and "\n" not in str(error)


FOREIGN = {
    "a ZIP archive": None,
    "a PDF": b"%PDF-1.7\n1 0 obj\n",
    "an Arrow file": b"ARROW1\0\0",
    "in UTF-16": "plain".encode("utf-16"),
    "in UTF-32": "plain".encode("utf-32"),
    "an RTF document": rb"{\rtf1\ansi plain}",
    "a picture": b"\x89PNG\r\n\x1a\n",
    "compressed twice, with gzip inside": gzip.compress(b"plain"),
    "not UTF-8: byte 0x81 at offset 4": b"abcd\x81\xff",
    "no text: byte 0x00 at offset 0": np.arange(9, dtype="<u2").tobytes()[1:],
    "no text: byte 0x00 at offset 4": b"abcd\0efg",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_text_is_refused_by_name(tmp_path, kind):
    data = FOREIGN[kind]
    if data is None:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a.txt", "plain")
        data = out.getvalue()
    for name in ("a.txt", "a", "a.md"):
        (tmp_path / name).write_bytes(gzip.compress(data))
        with pytest.raises(InputError, match=f"{name} is {kind}"):
            texts(tmp_path / name)
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(data))
    for reader in (lambda path: texts(path), read_items, read_questions):
        with pytest.raises(InputError, match=r"a\.jsonl.*(is|has no) "):
            reader(tmp_path / "a.jsonl")


def test_json_lines_without_their_name_are_not_taken_for_text(tmp_path):
    for data in (JSON_LINES, b"\xef\xbb\xbf\n" + JSON_LINES, b'{"text": "only one"}'):
        (tmp_path / "a.txt").write_bytes(data)
        with pytest.raises(InputError, match=r"looks like JSON lines; name it \.jsonl"):
            texts(tmp_path / "a.txt")
        assert texts(tmp_path / "a.txt", separator="\f")
    for text in ("{not JSON}\n", '{"a": 1}\nand then prose\n', "{\n"):
        (tmp_path / "a.txt").write_text(text)
        assert texts(tmp_path / "a.txt") == [text]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,body\n1,x\n", r"a.csv has no column 'text' \(columns: id, body\)"),
        (b"text,text\n1,x\n", "a.csv has more than one column 'text'"),
        (b"id,text\n1,x\n2\n", "a.csv, line 3 has 1 columns, the first line 2"),
        (b"id,text\n1,x\n2,y,z\n", "a.csv, line 3 has 3 columns, the first line 2"),
        (b'id,text\n1,"two\nlines"\n2,"a"b\n', "a.csv, line 4 is malformed"),
        (b'id,text\n1,"never closed\n2,x\n', "a.csv, line 2 is malformed"),
        (b"id,text\n1,caf\xe9\n", "a.csv is not UTF-8: byte 0xe9 at offset 13"),
        (b"id,text\n1,x\r2,y\n", "a.csv, line 2 is malformed"),
    ],
)
def test_a_malformed_table_is_named_with_its_place(tmp_path, data, message):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(InputError, match=message):
        texts(tmp_path / "a.csv")


def test_a_cell_may_be_long(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text\n" + b"long " * 10**5 + b"\n")
    assert [len(text) for text in texts(tmp_path / "a.csv")] == [5 * 10**5]


def test_a_folder_says_what_it_leaves_out(tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.txt").write_text("c")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b.ndjson.zst", "a.csv.gz", "readme.md", "notes.md", "a.json", "Makefile"):
        data = {"b.ndjson.zst": PACK[".zst"](JSON_LINES), "a.csv.gz": gzip.compress(table(","))}
        (folder / name).write_bytes(data.get(name, b"x"))
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "linked.txt").symlink_to(tmp_path / "elsewhere" / "c.txt")
    (folder / "broken.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe.txt")
    assert texts(folder) == [*WANTED, *WANTED, "c"] == texts(folder)
    links, others = capsys.readouterr().err.splitlines()
    assert f"{folder / 'linked'} is a link to a folder and is not followed" in links
    assert "files of other kinds are not read (2 .md, 2 .txt, 1 .json, 1 Makefile)" in others
    assert texts(folder / "linked") == ["c"]
    with pytest.raises(InputError, match=r"pipe.txt is no regular file"):
        texts(folder / "pipe.txt")


@pytest.mark.parametrize("words", [["", "--out", "o"], ["a.txt", "", "--out", "o"]])
def test_an_empty_name_is_not_the_folder_one_stands_in(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("text " * 1000)
    assert main(["corpus", "prepare", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a source has an empty name" in line
    assert not (tmp_path / "o").exists()


def test_a_hub_is_asked_only_by_its_prefix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"owner/name does not exist; give .* hf:owner/name for a"):
        texts("owner/name")
    with pytest.raises(InputError, match=r"hf:a/b/c names no dataset; give hf:owner/name"):
        texts("hf:a/b/c")


# What may be wrong with a line of JSON, and what is said of it.
MALFORMED = {
    b"{": "not JSON",
    b"[" * 20000: "not JSON",
    b"\xff\xfe": "not UTF-8",
    b'{"a": \xe9}': "not UTF-8",
    b"[1]": "not a JSON object",
    b"null": "not a JSON object",
    b'{"question": "a", "question": "b", "answer": "#### 1"}': "the key 'question' stands there twice",
    b'{"question": "a\\ud800", "answer": "#### 1"}': "half of a surrogate pair",
    b'{"question": "a", "answer": ' + b"9" * 5000 + b"}": "not JSON",
    b'{"question": NaN, "answer": "#### 1"}': "question must be text",
    b'{"question": "a", "answer": "#### "}': "the answer does not end with",
    b"a,b,c": "not JSON",
    b"\0\0\0": "not JSON",
}
GOOD = b'{"question": "a", "answer": "#### 1"}'


@pytest.mark.parametrize("packed", PACK)
def test_malformed_lines_are_left_out_by_number(tmp_path, packed):
    lines = [GOOD, *(part for line in MALFORMED for part in (line, GOOD))]
    file = tmp_path / f"q.jsonl{packed}"
    file.write_bytes(PACK[packed](b"\xef\xbb\xbf" + b"\r\n".join(lines)))
    found, malformed = read_questions(file)
    assert len(found) == len(MALFORMED) + 1
    assert [one.line for one in malformed] == [2 * i + 2 for i in range(len(MALFORMED))]
    for one, reason in zip(malformed, MALFORMED.values(), strict=True):
        assert one.reason.startswith(reason) and "\n" not in one.reason


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = ["query", "choices", "gold", "context_options", "continuation", "context"]


@settings(max_examples=150, deadline=None)
@given(
    line=st.binary(max_size=40)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(KEYS), JSON_VALUES).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_any_line_is_an_item_or_left_out_by_its_number(tmp_path_factory, line):
    good = b'{"query": "a", "choices": ["b", "c"], "gold": 1}'
    file = tmp_path_factory.mktemp("any") / "items.jsonl"
    file.write_bytes(good + b"\n" + line.replace(b"\n", b" ") + b"\n" + good)
    items, malformed = read_items(file)
    assert {1, 3} <= {item.line for item in items}
    assert {item.line for item in items} | {one.line for one in malformed} >= (
        {2} if line.strip() else set()
    )
