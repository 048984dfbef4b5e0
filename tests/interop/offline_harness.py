"""The harness in a process of its own: `python offline_harness.py FOLDER_OF_TASKS AUTOREGRESSIVE MASKED`.

It prints what the command line says of every task, then, as the last line, what the harness makes of one
network as a Hugging Face model and as ours.
"""

import json
import sys
from typing import Any
from unittest import mock

import lm_eval
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers.modeling_outputs import CausalLMOutput

from isodiff.cli import main
from isodiff.interop.lm_eval import IsodiffModel

# Which distributes models over processes, and has no part in what is done here.
with mock.patch.dict(sys.modules, {"accelerate": mock.Mock(), "accelerate.utils": mock.Mock()}):
    from lm_eval.models.huggingface import HFLM

TASKS = ("choice", "word", "rolling", "writing", "repeats")
SETTINGS: list[dict[str, Any]] = [
    {"max_gen_toks": 5},
    {"max_new_tokens": 6},
    {"max_tokens": 7},
    {"max_completion_tokens": 8},
    {"max_tokens": 9, "max_new_tokens": 10},
    {"max_gen_toks": 4, "max_new_tokens": 11},
    {"max_length": 30, "max_gen_toks": 4},
    {"max_gen_toks": 8, "until": "e"},
    {"max_gen_toks": 8, "until": ["zz", "e", " "]},
    {"max_gen_toks": 8, "until": []},
    {"max_gen_toks": 25},
    {"max_gen_toks": 8, "temperature": 0.5},
    {"max_gen_toks": 8, "temperature": 0.0},
    {"max_gen_toks": 8, "temperature": 0.5, "do_sample": False},
    {"max_gen_toks": 8, "temperature": 0.5, "do_sample": True},
    {"max_gen_toks": 8, "temperature": 0.5, "do_sample": True, "top_k": 1},
]
CONTEXTS = ("What is wet? It is the sea, the great sea.", "Fellow")


class AsHuggingFace(transformers.PreTrainedModel, transformers.GenerationMixin):
    """An autoregressive run of ours: logits of what follows each token."""

    config_class = transformers.GPT2Config

    def __init__(self, ours: IsodiffModel) -> None:
        family, length = ours.trained.family, ours.length
        super().__init__(transformers.GPT2Config(vocab_size=family.vocab_size, n_positions=length))
        self.ours, self.asked = ours, {}
        self.some = torch.nn.Parameter(torch.zeros(1))
        self.post_init()

    def forward(self, input_ids: torch.Tensor, **_: Any) -> CausalLMOutput:
        shown = torch.nn.functional.pad(input_ids, (0, 1))
        prediction = self.ours.trained.network(self.ours.trained.family.view(shown))
        log_p = prediction.log_probs().unflatten(0, shown.shape)
        return CausalLMOutput(logits=log_p[:, 1:])

    def prepare_inputs_for_generation(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any
    ) -> dict[str, Any]:
        return {"input_ids": input_ids}

    def generate(self, input_ids: torch.Tensor, **asked: Any) -> torch.Tensor:
        self.asked = asked | {"given": input_ids[0].tolist()}
        return super().generate(input_ids=input_ids, **asked)


def hugging_face(ours: IsodiffModel) -> HFLM:
    """The same network and the same tokens, to the harness a model like any."""
    vocab = {symbol: byte for byte, symbol in enumerate(gpt2_symbols())} | {"<|endoftext|>": 256}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    return HFLM(pretrained=AsHuggingFace(ours), tokenizer=fast, max_length=ours.length)


def gpt2_symbols() -> list[str]:
    """The character of each byte, as byte-level tokenizers have it since GPT-2."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def settings_compared(ours: IsodiffModel, theirs: HFLM) -> list[Any]:
    """Of each context and settings: theirs and ours, each the given tokens, the room, and what is written."""
    pairs = []
    for settings in SETTINGS:
        for number, context in enumerate(CONTEXTS):
            asked = Instance(
                "generate_until", {}, (context, dict(settings)), 0, ("task", number, 1)
            )
            (text,) = theirs.generate_until([asked], disable_tqdm=True)
            own = theirs.model.asked
            sampled = bool(own["do_sample"]) and own.get("top_k") != 1
            room = own["max_length"] - len(own["given"])
            reference = [own["given"], room, own["temperature"] if sampled else 0.0]
            writing = ours._writing(context, dict(settings))
            sampler = writing.sampler
            found = [writing.start[: writing.given].tolist(), len(writing.start) - writing.given]
            found.append(sampler.temperature if sampler.top_k != 1 else 0.0)
            (written,) = ours.generate_until([asked])
            if not sampled:
                reference, found = [*reference, text], [*found, written]
            pairs.append((settings, reference, found))
    return pairs


def results(**asked: Any) -> dict[str, Any]:
    """Of the harness's own function, without what is no number."""
    evaluate: Any = lm_eval.simple_evaluate
    found = evaluate(**asked, log_samples=False, bootstrap_iters=0)["results"]
    return {
        task: {name: float(value) for name, value in own.items() if isinstance(value, int | float)}
        for task, own in found.items()
    }


def evaluated(tasks: str, autoregressive: str, masked: str) -> None:
    for run in (autoregressive, masked):
        others = ("group", "tag", "filters") if run == autoregressive else ()
        for task in (*others, *TASKS):
            words = ["evaluate", "harness", run, f"local_{task}", "--include-path", tasks]
            assert main([*words, "--draws", "4", "--steps", "8", "--json"]) == 0
    for task in ("chioce", "broken"):
        words = ["evaluate", "harness", run, f"local_{task}", "--include-path", tasks]
        assert main(words) == 2
    ours = IsodiffModel(autoregressive)
    theirs = hugging_face(ours)
    manager = TaskManager(include_path=tasks, include_defaults=False)
    names = ["local_group", "local_filters"]
    named = {"model": "isodiff", "model_args": f"run={masked},draws=4"}
    by_name = results(**named, tasks=["local_choice"], task_manager=manager)
    both = [results(model=one, tasks=names, task_manager=manager) for one in (theirs, ours)]
    compared = {
        "by_name": by_name["local_choice"]["acc,none"],
        "settings": settings_compared(ours, theirs),
        "results": both,
    }
    print(json.dumps(compared))


if __name__ == "__main__":
    evaluated(*sys.argv[1:])
