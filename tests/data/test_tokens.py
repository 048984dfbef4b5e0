"""Reading tokens: windows across shards, batches as a pure function of (seed, step)."""

import json
import subprocess
import sys

import numpy as np
import pytest

from isodiff.data import shards
from isodiff.data.corpora import prepare
from isodiff.data.tokens import Corpus, Tokens, batch, epochs
from isodiff.errors import InputError

STREAM = np.arange(1000)


def tokens(shard=1000, **options):
    shards = [STREAM[i : i + shard].astype("<u2") for i in range(0, len(STREAM), shard)]
    return Tokens(shards, num_bytes=4000, **options)


@pytest.fixture
def corpus(tmp_path):
    for i in range(60):
        (tmp_path / f"{i:02d}.txt").write_text(f"document {i}: é {'x' * (i % 7)}", encoding="utf-8")
    return prepare([tmp_path], tmp_path / "corpus", shard_tokens=64)


@pytest.mark.parametrize("shard", [1, 7, 64, 999, 1000])
def test_windows_across_shards(shard):
    some = tokens(shard)
    assert some.num_tokens == 1000 and some.num_windows(30) == 33
    windows = some.gather(np.array([0, 32, 2, 2]), 30)
    assert windows.dtype == np.int64 and windows.shape == (4, 30)
    assert np.array_equal(windows, STREAM[:990].reshape(33, 30)[[0, 32, 2, 2]])
    assert np.array_equal(some.window(1, 400), STREAM[400:800])
    assert np.array_equal(some.read(0, 1000), STREAM) and some.read(1000, 1000).size == 0


def test_window_over_unequal_shards():
    some = Tokens([STREAM[:400], STREAM[400:]], num_bytes=1)
    assert np.array_equal(some.read(0, 500), STREAM[:500])
    assert np.array_equal(some.read(400, 401), [400])


def test_windows_outside_are_refused():
    with pytest.raises(IndexError, match="window 33 "):
        tokens().gather([33], 30)
    with pytest.raises(IndexError, match="window -1 "):
        tokens().window(-1, 30)
    with pytest.raises(IndexError):
        tokens().read(999, 1001)


def test_too_short_for_a_window_gives_the_numbers():
    with pytest.raises(InputError, match="toy has 1000 tokens, less than one window of 1024"):
        batch(tokens(name="toy"), length=1024, batch_size=2, step=0, seed=0)
    with pytest.raises(InputError, match="window of 0"):
        tokens().num_windows(0)


def test_bytes_exact_or_mean():
    counts = np.arange(1000) % 5
    ids = np.array([[1, 2], [4, 998]])
    assert tokens(token_bytes=counts).bytes_in(ids) == 1 + 2 + 4 + 3
    assert tokens().bytes_in(ids) == 4 * 4000 / 1000


@pytest.mark.parametrize("batch_size", [1, 3, 10, 33, 100])
def test_every_window_once_per_epoch(batch_size):
    """Batches that straddle epochs included: the run is the epochs end to end."""
    some, length = tokens(64), 30
    steps = -(-33 * 4 // batch_size)
    rows = np.concatenate(
        [batch(some, length=length, batch_size=batch_size, step=s, seed=9) for s in range(steps)]
    )
    starts = rows[: 33 * 4, 0].reshape(4, 33) // length
    assert np.array_equal(rows, rows[:, :1] + np.arange(length))
    for epoch in starts:
        assert np.array_equal(np.sort(epoch), np.arange(33))
    assert len({tuple(epoch) for epoch in starts}) == 4


def test_batches_do_not_depend_on_batch_size_or_history():
    some = tokens()
    in_order = np.concatenate(
        [batch(some, length=8, batch_size=5, step=s, seed=1) for s in range(60)]
    )
    assert np.array_equal(batch(some, length=8, batch_size=300, step=0, seed=1), in_order)
    assert np.array_equal(batch(some, length=8, batch_size=5, step=37, seed=1), in_order[185:190])
    assert not np.array_equal(batch(some, length=8, batch_size=300, step=0, seed=2), in_order)


@pytest.mark.parametrize(
    "rows", [slice(0, 4), slice(4, 16), slice(3, None, 4), slice(0, 0), slice(None)]
)
def test_ranks_see_their_rows_of_the_full_batch(rows):
    options = {"length": 30, "batch_size": 16, "step": 5, "seed": 3}
    full = batch(tokens(), **options)
    assert np.array_equal(batch(tokens(64), rows=rows, **options), full[rows])


def test_late_steps_do_not_overflow():
    rows = batch(tokens(), length=30, batch_size=2**20, step=2**40, seed=3, rows=slice(0, 2))
    assert rows.shape == (2, 30)


def test_epochs():
    assert epochs(tokens(), length=30, batch_size=11, step=3) == 1.0
    assert epochs(tokens(), length=100, batch_size=4, step=5) == 2.0


def test_prepared_shards_read_back(corpus):
    train = corpus.split("train")
    assert len(corpus.manifest.splits["train"].shards) > 5
    ids = train.read(0, train.num_tokens)
    table = corpus.documents("train")
    assert (ids == corpus.eos).sum() == len(table)
    for (start, num_bytes), stop in zip(table, [*table[1:, 0], len(ids)], strict=True):
        text = corpus.tokenizer.decode(ids[start : stop - 1])
        assert text.startswith("document") and len(text.encode()) == num_bytes
        assert ids[stop - 1] == corpus.eos
        assert train.bytes_in(ids[start:stop]) == num_bytes
    assert table[:, 1].sum() == train.num_bytes == train.bytes_in(ids)


def test_unknown_split(corpus):
    with pytest.raises(InputError, match="no split 'valid'; did you mean 'validation'"):
        corpus.split("valid")


def test_truncated_or_missing_files(corpus):
    shard = corpus.folder / "train-00001.bin"
    data = shard.read_bytes()
    shard.write_bytes(data[:-1])
    with pytest.raises(InputError, match=r"train-00001.bin has 127 bytes where 128 were written"):
        Corpus.open(corpus.folder)
    shard.unlink()
    with pytest.raises(InputError, match=r"train-00001.bin is missing"):
        Corpus.open(corpus.folder)
    shard.write_bytes(data)
    index = corpus.folder / "test.index.npy"
    index.write_bytes(index.read_bytes()[:20])
    with pytest.raises(InputError, match=r"test.index.npy has 20 bytes"):
        Corpus.open(corpus.folder)


def edit(folder, **changes):
    """As in a folder of a version without checksums."""
    path = folder / "corpus.json"
    value = json.loads(path.read_text()) | changes
    del value["checksum"]
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "was not written by isodiff"),
        ({"version": 2}, "has format version 2; this isodiff reads 1"),
        ({"hash": "0"}, "its hash does not fit"),
        ({"content_sha256": "0"}, "its hash does not fit"),
        ({"cut": "lines"}, "its hash does not fit"),
        ({"test": 0.051}, "its hash does not fit"),
        ({"vocab_size": "many"}, ": vocab_size must be a whole number, got 'many'"),
        ({"splits": {}}, "does not have the splits train, validation, test"),
        ({"dtype": "O"}, ": dtype must be one of"),
    ],
)
def test_foreign_or_altered_manifest(corpus, changes, message):
    edit(corpus.folder, **changes)
    with pytest.raises(InputError, match=message):
        Corpus.open(corpus.folder)


def test_shard_names_stay_inside_the_folder(corpus):
    path = corpus.folder / "corpus.json"
    edit(corpus.folder)
    path.write_text(path.read_text().replace("train-00000.bin", "../../secret.bin"))
    with pytest.raises(InputError, match="json: splits"):
        Corpus.open(corpus.folder)


def test_blocks_are_checked_once_and_only_those_that_are_read(corpus, monkeypatch):
    monkeypatch.setattr(shards, "BLOCK_BYTES", 32)
    folder = corpus.folder.parent / "again"
    prepare([corpus.folder.parent / f"{i:02d}.txt" for i in range(60)], folder, shard_tokens=100)
    checked = []
    check = shards.ShardReader.check
    monkeypatch.setattr(
        shards.ShardReader,
        "check",
        lambda shard, number: (checked.append(number), check(shard, number)),
    )
    opened = Corpus.open(folder)
    assert [*map(len, opened.manifest.splits["train"].shards[0].blocks)] == [64] * 7
    for start, stop, new in ((17, 30, [1]), (16, 31, []), (31, 33, [2]), (0, 49, [0, 3])):
        opened.split("train").read(start, stop)
        assert sorted(checked) == new
        checked.clear()
    damaged = folder / "train-00000.bin"
    data = bytearray(damaged.read_bytes())
    data[33] ^= 1
    damaged.write_bytes(bytes(data))
    opened = Corpus.open(folder)
    assert len(opened.split("train").read(32, 50)) == 18
    with pytest.raises(InputError, match=r"train-00000.bin was altered in block 1; delete"):
        opened.split("train").read(30, 31)


def test_corpora_without_hashes_are_read_and_their_tokens_are_in_the_vocabulary(corpus):
    before = {name: corpus.split(name).read(0, 40).tolist() for name in ("train", "test")}
    path = corpus.folder / "corpus.json"
    value = json.loads(path.read_text())
    del value["checksum"]
    for split in value["splits"].values():
        del split["index_sha256"]
        for shard in split["shards"]:
            del shard["blocks"]
    path.write_text(json.dumps(value))
    opened = Corpus.open(corpus.folder)
    assert {name: opened.split(name).read(0, 40).tolist() for name in before} == before
    assert len(opened.documents("train")) == opened.manifest.splits["train"].num_documents
    shard = corpus.folder / "train-00000.bin"
    shard.write_bytes(b"\x01\x01" + shard.read_bytes()[2:])
    with pytest.raises(InputError, match=r"token 257 of a vocabulary of 257"):
        Corpus.open(corpus.folder).split("train").read(5, 6)
    index = corpus.folder / "train.index.npy"
    data = bytearray(index.read_bytes())
    data[-8] ^= 1
    index.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"train.index.npy was altered; delete"):
        Corpus.open(corpus.folder).documents("train")


@pytest.mark.parametrize("changes", [{"vocab_size": 300}, {"eos": 0}])
def test_the_vocabulary_is_that_of_the_tokenizer(corpus, changes):
    edit(corpus.folder, **changes)
    with pytest.raises(InputError, match="are not those of its tokenizer"):
        Corpus.open(corpus.folder).split("train")


def test_not_a_corpus(tmp_path):
    with pytest.raises(InputError, match="not a prepared corpus"):
        Corpus.open(tmp_path)
    (tmp_path / "corpus.json").write_text("[]")
    with pytest.raises(InputError, match="was not written by isodiff"):
        Corpus.open(tmp_path)


def test_data_needs_no_torch():
    code = (
        "import sys, isodiff.data.corpora, isodiff.data.tokens, isodiff.data.subword\n"
        "import isodiff.cli.corpus\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
