"""Reference models: a run's own likelihood, piece by piece; another tokenizer; a Hugging Face model."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isodiff.data.tokenizer import Bytes, Text8, Tokenizer
from isodiff.errors import InputError
from isodiff.evaluate.reference_model import HuggingFaceReference, RunReference, TokenizedText
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


def text(tokenizer: Tokenizer, *documents: str) -> TokenizedText:
    """An end of document between two of them."""
    ids = [*tokenizer.encode(documents[0])]
    for one in documents[1:]:
        ids += [tokenizer.eos, *tokenizer.encode(one)]
    return TokenizedText(np.array(ids, np.int64), documents)


def nats(one: RunReference, ids: np.ndarray) -> float:
    x = torch.from_numpy(ids)[None]
    with torch.no_grad():
        return float(one.family.nelbo(one.denoiser, x, rng=Rows.of(stream(0), 1)).nats)


def test_texts_are_scored_piece_by_piece_whatever_their_company():
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 257, n) for n in (8, 3, 0, 20, 8)]
    one = reference()
    found = one.score([TokenizedText(text, ("",)) for text in ids])
    wanted = [sum(nats(one, text[i : i + 8]) for i in range(0, len(text), 8)) for text in ids]
    np.testing.assert_allclose(found.nats, wanted, rtol=1e-5)
    assert found.num_tokens.tolist() == [8, 3, 0, 20, 8]
    assert found.num_bytes.tolist() == [float((text < 256).sum()) for text in ids]


def test_another_tokenizer_reads_the_text():
    said = [("the state",), ("of the union",), ("", "one", "", "two"), ("end", "")]
    other = reference(own=False)
    found = other.score([text(Text8(), *documents) for documents in said])
    again = reference().score([text(Bytes(), *documents) for documents in said])
    np.testing.assert_allclose(found.nats, again.nats)
    assert found.num_tokens.tolist() == [9, 12, 9, 4]
    assert found.num_bytes.tolist() == again.num_bytes.tolist() == [9, 12, 6, 3]
    with pytest.raises(InputError, match="is not a space or a-z"):
        strange = reference(own=False, tokenizer=Text8())
        strange.score([TokenizedText(np.zeros(0, np.int64), ("The State!",))])


def test_bytes_of_tokens_without_a_fixed_number_of_them_are_those_of_the_text():
    class Loose(Bytes):
        token_bytes = None

    one = text(Bytes(), "é", "", "b")
    assert reference(tokenizer=Loose()).score([one]).num_bytes.tolist() == [3]
    assert reference().score([one]).num_bytes.tolist() == [3]


@given(st.lists(st.integers(-1, 300), max_size=40))
def test_documents_are_the_text_without_its_ends(ids: list[int]):
    tokenizer = Bytes()
    documents = tokenizer.decode_documents(ids)
    assert len(documents) == 1 + ids.count(tokenizer.eos)
    assert "<|endoftext|>".join(documents) == tokenizer.decode(ids)


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
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="<s>"
    )
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
    scores = found.score([text(Bytes(), one) for one in texts])
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


@pytest.mark.filterwarnings("default")
def test_an_end_of_document_is_the_hugging_face_model_s_own(tiny_gpt2):
    """One token and no bytes; the same characters in a text stay characters."""
    found = HuggingFaceReference.open(str(tiny_gpt2))
    said = [
        text(Bytes(), "ab", "c", ""),
        text(Bytes(), "ab"),
        text(Bytes(), "c"),
        text(Bytes(), ""),
    ]
    scores = found.score(said)
    assert scores.num_tokens.tolist() == [5, 2, 1, 0] and scores.num_bytes.tolist() == [3, 2, 1, 0]
    x = torch.tensor([[0, *found.encode("ab"), 0, *found.encode("c"), 0]])
    with torch.no_grad():
        log_p = found.model(input_ids=x).logits[0, :-1].log_softmax(-1)
    assert scores.nats[0] == pytest.approx(-float(log_p.gather(-1, x[0, 1:, None]).sum()), rel=1e-4)
    apart = replace(found, end=None).score(said)
    assert apart.nats[0] == pytest.approx(scores.nats[1] + scores.nats[2], rel=1e-5)
    assert apart.num_tokens.tolist() == [3, 2, 1, 0]
    assert found.score([text(Bytes(), "a<s>b")]).num_tokens.tolist() == [5]


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
