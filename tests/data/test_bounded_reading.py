"""What is read has bounds: bombs, endless lines and files that are none are refused, in little memory."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from isodiff import files
from isodiff.data.documents import documents
from isodiff.data.qa_format import read_questions
from isodiff.errors import InputError
from isodiff.files import parts_of


def bomb(path: Path, unit: bytes) -> Path:
    """512 MiB in half a MiB: whole members of 1 MiB, one after the other."""
    path.write_bytes(gzip.compress(unit * (2**20 // len(unit))) * 512)
    return path


@pytest.mark.parametrize("name", ["a.txt.gz", "a.jsonl.gz", "a.parquet.gz"])
@pytest.mark.parametrize("unit", [b"\0", b"\n", b"{}  "])
def test_a_bomb_is_refused_early(
    name: str, unit: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read = bomb(tmp_path / name, unit), [0]

    def counted(stream: gzip.GzipFile, size: int = -1) -> bytes:
        read[0] += len(data := unpack(stream, size))
        return data

    unpack = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    with pytest.raises(InputError) as refused:
        list(documents([path]))
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    assert read[0] < 90 * 2**20


def test_text_that_packs_well_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"the same line again\n" * 2**20))
    (found,) = documents([tmp_path / "a.txt.gz"])
    assert len(found.text) == 20 * 2**20


def test_a_line_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 100)
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x"}\n{"text": "' + "y" * 200)
    with pytest.raises(InputError, match=r"a\.jsonl, line 2 has more than 100 bytes"):
        list(documents([path]))
    with pytest.raises(InputError, match=r"a\.jsonl, line 2 has more than 100 bytes"):
        read_questions(path)


@pytest.mark.parametrize("separator", [None, "--"])
def test_a_document_that_does_not_end(
    separator: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LARGEST_DOCUMENT", 100)
    monkeypatch.setattr(files, "CHUNK", 10)
    (tmp_path / "a.txt").write_text("x" * 200 if separator is None else "a--b--" + "x" * 200)
    with pytest.raises(InputError, match="a document of more than 100 bytes"):
        list(documents([tmp_path / "a.txt"], separator=separator))


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("text", [b"", b"--", b"a", b"a--", b"---", b"a-b--c----d", b"x" * 30])
def test_parts_are_those_of_split(
    text: bytes, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK", chunk)
    (tmp_path / "a").write_bytes(text)
    for mark, wanted in ((b"--", text.split(b"--")), (None, [text])):
        with (tmp_path / "a").open("rb") as file:
            assert list(parts_of(file, tmp_path / "a", mark)) == wanted


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(InputError, match="is no regular file"):
        list(documents([tmp_path / "a.txt"]))
