"""Reference models: a run's own likelihood, piece by piece; another tokenizer; a Hugging Face model."""

import math

import numpy as np
import pytest
import torch

from isodiff.data.tokenizer import Bytes, Text8
from isodiff.errors import InputError
from isodiff.evaluate.reference_model import HuggingFaceReference, RunReference
from isodiff.families.autoregressive import Autoregressive
from isodiff.families.masked import Masked
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.rng import Rows, stream


def network(states: int) -> Transformer:
    torch.manual_seed(0)
    shape = Shape.parse("1x16x2")
    made = Transformer(
        vocab_size=257, num_states=states, shape=shape, backbone=Backbone(), timed=False
    )
    torch.nn.init.normal_(made.head.weight, std=0.3)
    return made.eval()


def reference(**changes) -> RunReference:
    options = {
        "run": "abc",
        "family": Autoregressive(vocab_size=257),
        "denoiser": network(258),
        "tokenizer": Bytes(),
        "context": 8,
    }
    return RunReference(**{**options, **changes})


def nats(one: RunReference, ids: np.ndarray) -> float:
    x = torch.from_numpy(ids)[None]
    with torch.no_grad():
        return float(one.family.nelbo(one.denoiser, x, rng=Rows.of(stream(0), 1)).nats)


def test_texts_are_scored_piece_by_piece_whatever_their_company():
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 257, n) for n in (8, 3, 0, 20, 8)]
    one = reference()
    found = one.score(ids, ["" for _ in ids])
    wanted = [sum(nats(one, text[i : i + 8]) for i in range(0, len(text), 8)) for text in ids]
    np.testing.assert_allclose(found.nats, wanted, rtol=1e-5)
    assert found.num_tokens.tolist() == [8, 3, 0, 20, 8]
    assert found.num_bytes.tolist() == [float((text < 256).sum()) for text in ids]


def test_another_tokenizer_reads_the_text():
    texts = ["the state", "of the union"]
    strange = Text8()
    ids = [strange.encode(text) for text in texts]
    other = reference(own=False)
    found = other.score(ids, texts)
    again = reference().score([Bytes().encode(text) for text in texts], texts)
    np.testing.assert_allclose(found.nats, again.nats)
    assert found.num_bytes.tolist() == [9, 12]
    with pytest.raises(InputError, match="is not a space or a-z"):
        reference(own=False, tokenizer=strange).score(ids, ["The State!", "b"])


def test_a_bound_is_no_reference():
    with pytest.raises(InputError, match="its likelihood is a bound"):
        reference(family=Masked(vocab_size=257))


@pytest.fixture(scope="module")
def tiny_gpt2(tmp_path_factory):
    """A GPT-2 of two layers with random weights and a byte-level vocabulary, saved where hf: can read it."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("model")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<s>": 0} | {symbol: i + 1 for i, symbol in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=257, n_positions=9, n_embd=16, n_layer=2, n_head=2, initializer_range=0.5
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("default")
def test_a_hugging_face_model_scores(tiny_gpt2):
    found = HuggingFaceReference.open(str(tiny_gpt2))
    texts = ["the state of", "", "é"]
    scores = found.score([np.zeros(0, np.int64)] * 3, texts)
    assert scores.num_tokens.tolist() == [12, 0, 2]
    assert scores.num_bytes.tolist() == [12, 0, 2]
    total = 0.0
    ids = found.encode(texts[0])
    for piece in (ids[:8], ids[8:]):  # nine positions, one of them for the beginning
        x = torch.tensor([[0, *piece]])
        with torch.no_grad():
            log_p = found.model(input_ids=x).logits[0, :-1].log_softmax(-1)
        total -= float(log_p.gather(-1, x[0, 1:, None]).sum())
    assert scores.nats[0] == pytest.approx(total, rel=1e-4)
    assert total > 12 * math.log(2)


def test_a_missing_hugging_face_model_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        InputError, match=r"reference model hf:.*nothing cannot be loaded"
    ) as caught:
        HuggingFaceReference.open(str(tmp_path / "nothing"))
    assert "\n" not in str(caught.value)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "transformers":
            raise ImportError
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'isodiff\[hf\]'"):
        HuggingFaceReference.open("gpt2")
