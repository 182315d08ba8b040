"""A configuration and a model folder that do not fit are refused in one sentence, before any job."""

import ast
import importlib.util
import json
import os
import shutil
from pathlib import Path

import pytest
from tiny_models import TINY, make_model
from transformers import CONFIG_MAPPING, TOKENIZER_MAPPING, AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from arc_precision.config.base import lay_over
from arc_precision.config.data import DEFAULT_EVALUATION_SETS
from arc_precision.config.experiment import load_experiment
from arc_precision.config.training import DEFAULT_ARMS
from arc_precision.model import check
from arc_precision.model.check import check_model, context_tokens, window_tokens
from arc_precision.model.folder import TOKENIZER, read_config, tokenizer_files, weight_files
from arc_precision.model.loading import check_loading
from arc_precision.plan.outside_files import found
from arc_precision.prompt_files import prompt_file
from arc_precision.sampling.vllm_sampler import MAX_LORA_RANKS

ROOT = Path(__file__).parents[2]
PHI3 = {"lora": {"target_modules": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]}}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in ("phi3", "gemma", "gemma2", "gemma3_text", "qwen3", "mistral"):
        make_model(folder / name, name)
    return folder


@pytest.fixture
def tiny(tmp_path):
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def refusal(folder: Path, **config) -> str:
    """The sentence that refuses a plan; empty if the plan is accepted."""
    stack = "gpu" if config.get("device") == "cuda" else "cpu"
    try:
        weights = weight_files(folder)
        tokenizer_files(folder)
        experiment = load_experiment({"model": {"path": str(folder)}, **config})
        check_model(experiment, weights, ROOT / "envs" / f"requirements-{stack}.txt")
    except ValueError as error:
        assert "\n" not in str(error)
        return str(error)
    return ""


def test_texts_that_no_completion_has_are_refused():
    assert refusal(TINY, sampling={"stop": ["```\n"]}, model={"path": str(TINY), "thinking": {}}) == ""
    for config, key in (
        ({"sampling": {"stop": ["\n\n", "<eos>"]}}, "sampling.stop"),
        ({"arms": {"float16": {"sampling": {"stop": ["<eos>"]}}}}, "arms.float16.sampling.stop"),
        ({"model": {"path": str(TINY), "thinking": {"open": "<bos>"}}}, "model.thinking.open"),
        ({"model": {"path": str(TINY), "thinking": {"close": "<eos>"}}}, "model.thinking.close"),
    ):
        base = {} if "arms" not in config else {"arms": DEFAULT_ARMS | lay_over(DEFAULT_ARMS, config["arms"])}
        sentence = refusal(TINY, **config | base)
        assert sentence.startswith(f"{key}: '<") and "is a special token of" in sentence


def test_each_model_is_taken_with_settings_that_fit_it(models):
    assert refusal(TINY) == ""
    assert refusal(models / "phi3", training=PHI3) == ""
    for name in ("gemma", "qwen3", "mistral"):
        assert refusal(models / name) == ""
    in_bfloat16 = {"run_arms": ["bfloat16"], "report": {"baseline_arm": "bfloat16"}}
    assert refusal(models / "gemma3_text", **in_bfloat16) == ""
    assert refusal(models / "gemma2", **in_bfloat16, training={"shared_prompt": False}) == ""


@pytest.mark.parametrize("path", ["a" * 300, "a/" * 3000, "nowhere"])
def test_a_path_that_is_no_folder_is_refused_however_long(path):
    assert " is not a folder; write the folder of a" in refusal(found(path, ROOT))
    with pytest.raises(ValueError, match="^model.prompt: 'a|^model.prompt: 'nowhere'"):
        prompt_file(path)


@pytest.mark.parametrize("target", ["qqq", "proj", "q_pro", "self_attn", "model.q_proj", "*"])
def test_a_module_that_matches_nothing_is_refused_by_name(target):
    sentence = refusal(TINY, training={"lora": {"target_modules": ["q_proj", target]}})
    assert sentence.startswith(f"training.lora.target_modules: {target} of arm ")
    assert sentence.endswith("tiny-arc: down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj")


def test_modules_are_matched_as_peft_matches(models):
    for targets in (["layers.1.mlp.up_proj"], ["model.layers.0.self_attn.q_proj", "v_proj"], ["embed_tokens"]):
        assert refusal(TINY, training={"lora": {"target_modules": targets}}) == ""
    sentence = refusal(models / "phi3")
    assert "q_proj, k_proj, v_proj, gate_proj, up_proj of arm" in sentence and "qkv_proj" in sentence
    own = {"float16": {"training": {"lora": {"target_modules": ["wq"]}}}}
    assert refusal(TINY, arms=_arms(own)).startswith("arms.float16.training.lora.target_modules: wq of arm float16")
    assert refusal(TINY, arms=_arms(own), run_arms=["bfloat16"], report={"baseline_arm": "bfloat16"}) == ""


def _arms(changes: dict) -> dict:
    dtypes = ("float16", "bfloat16")
    return {d: {"trainer_dtype": d, "sampler_dtype": d, **changes.get(d, {})} for d in dtypes}


def test_settings_that_the_model_or_its_environment_cannot_do(models):
    held_out = DEFAULT_EVALUATION_SETS["generated-held-out"]
    wrong = {
        "training.lora.r: 1024 of arm float16": {"training": {"lora": {"r": 1024}}},
        "training.optim: adamw_8bit of arm float16 needs bitsandbytes": {"training": {"optim": "adamw_8bit"}},
        "sampling.max_completion_tokens: 100000": {"sampling": {"max_completion_tokens": 100_000}},
        "data.max_prompt_tokens: 1500": {"data": {"max_prompt_tokens": 1500}},
        "evaluation_sets.generated-held-out.max_prompt_tokens: 9999": {
            "evaluation_sets": {"generated-held-out": held_out | {"max_prompt_tokens": 9999}},
            "evaluate_on": ["generated-held-out"],
            "report": {"primary_set": "generated-held-out"},
        },
        "arms.float16.sampling.max_completion_tokens: 5000 are 5384 tokens, where": {
            "arms": _arms({"float16": {"sampling": {"max_completion_tokens": 5000}}})
        },
        "max_completion_tokens: 1024 are 1536 tokens, and the audit draws one more, where": {
            "sampling": {"max_completion_tokens": 1024}
        },
        "training.lora.target_modules: the list is empty": {"training": {"lora": {"target_modules": []}}},
    }
    on_a_gpu = {"device": "cuda", "evaluation": {"common_dtype": "float16"}}
    for words, config in wrong.items():
        sentence = refusal(TINY, **config)
        assert words in sentence and "; write " in sentence, sentence
    assert refusal(TINY, training={"lora": {"r": 1024}}, sampling={"engine": "transformers"}) == ""
    assert refusal(TINY, training={"optim": "adamw_8bit"}, **on_a_gpu) == ""


def test_dtypes_that_vllm_refuses(models):
    folder = models / "gemma3_text"
    assert refusal(folder).startswith(
        "arms.float16.sampler_dtype: float16 is not possible, as vLLM refuses gemma3_text"
    )
    mixed = {"mixed": {"trainer_dtype": "float16", "sampler_dtype": "bfloat16"}}
    alone = {"arms": mixed, "run_arms": ["mixed"], "report": {"baseline_arm": "mixed"}}
    assert refusal(folder, **alone).startswith("arms.mixed.trainer_dtype: float16")
    assert refusal(folder, **alone, audit={"every": 40}) == ""
    common = refusal(folder, **alone, audit={"every": 40}, evaluation={"common_dtype": "float16"})
    assert common.startswith("evaluation.common_dtype: float16")
    assert refusal(folder, sampling={"engine": "transformers"}, evaluation={"common_dtype": "float16"}) == ""


def test_a_head_that_vllm_would_not_read_is_refused(tmp_path):
    untied = make_model(tmp_path / "untied", "gemma2", tie_word_embeddings=False)
    settings = {"run_arms": ["bfloat16"], "report": {"baseline_arm": "bfloat16"}, "training": {"shared_prompt": False}}
    assert "has an LM head of its own, and vLLM's gemma2 takes the embedding" in refusal(untied, **settings)
    assert refusal(untied, **settings, sampling={"engine": "transformers"}) == ""


def test_windows_shorter_than_the_sequences_and_soft_caps_need_the_prompt_repeated(models, tmp_path):
    folder = Path(shutil.copytree(models / "mistral", tmp_path / "mistral"))
    _set(folder, sliding_window=256)
    sentence = refusal(folder)
    assert "shared_prompt: true of arm float16" in sentence and "slides over 256 tokens" in sentence
    assert refusal(folder, training={"shared_prompt": False}) == ""
    _set(folder, sliding_window=None)
    assert refusal(folder) == ""
    in_bfloat16 = {"run_arms": ["bfloat16"], "report": {"baseline_arm": "bfloat16"}}
    assert "soft-capped" in refusal(models / "gemma2", **in_bfloat16)


def _set(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", ["phi3", "gemma", "gemma2", "gemma3_text", "qwen3", "mistral", "qwen2"])
def test_window_and_context_are_those_of_transformers(models, tmp_path, name):
    """Also if config.json leaves them to the defaults."""
    stored = AutoConfig.for_model(name).to_dict() | {"max_position_embeddings": 777, "architectures": ["X"]}
    for left_out in ((), ("sliding_window",)):
        (tmp_path / "config.json").write_text(
            json.dumps({key: value for key, value in stored.items() if key not in left_out})
        )
        config = AutoConfig.from_pretrained(tmp_path)
        window = config.sliding_window if hasattr(config, "sliding_window") else None
        if "sliding_attention" not in getattr(config, "layer_types", ["sliding_attention"]):
            window = None
        assert window_tokens(read_config(tmp_path)) == window
        assert context_tokens(read_config(tmp_path)) == 777


def test_scaled_positions_lengthen_the_context_as_in_vllm():
    base = {"max_position_embeddings": 1000, "model_type": "llama"}
    assert context_tokens(base | {"rope_scaling": {"type": "linear", "factor": 4.0}}) == 4000
    assert context_tokens(base | {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}) == 1000
    assert context_tokens(base | {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}) == 2000
    assert context_tokens({"model_type": "bloom"}) is None


def test_what_is_copied_from_vllm_is_what_vllm_says():
    source = Path(importlib.util.find_spec("vllm").origin).parent / "config" / "model.py"
    tables = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_FLOAT16_NOT_SUPPORTED_MODELS"
    }
    assert set(tables["_FLOAT16_NOT_SUPPORTED_MODELS"]) == check.NOT_IN_FLOAT16
    assert MAX_LORA_RANKS[-1] == check.MAX_VLLM_LORA_RANK
    for model_type, window in check.DEFAULT_WINDOWS.items():
        assert CONFIG_MAPPING[model_type]().sliding_window == window


def test_the_files_of_every_tokenizer_of_a_causal_model_are_known():
    names = set()
    for config, tokenizer in TOKENIZER_MAPPING.items():
        if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and tokenizer is not None:
            names |= {name for name in (tokenizer.vocab_files_names or {}).values() if isinstance(name, str)}
    assert {"tokenizer.json", "vocab.json", "merges.txt"} <= names
    unusual = names - set(TOKENIZER)
    assert not unusual, unusual


def test_an_edited_vocabulary_is_seen(tiny):
    for name in ("vocab.json", "added_tokens.json", "special_tokens_map.json"):
        (tiny / name).write_text("{}")
    for name in ("merges.txt", "tokenizer.model", "chat_template.jinja"):
        (tiny / name).write_text("a b\n")
    listed = {path.name for path in tokenizer_files(tiny)}
    assert {"vocab.json", "merges.txt", "tokenizer.model", "added_tokens.json", "chat_template.jinja"} <= listed
    (tiny / "tokenizer.json").unlink()
    assert refusal(tiny) == ""
    for name in ("vocab.json", "tokenizer.model"):
        (tiny / name).unlink()
    assert "has no tokenizer" in refusal(tiny)


def test_broken_files_are_named(tiny):
    weights = tiny / "model.safetensors"
    whole = weights.read_bytes()
    for broken in (
        whole[: len(whole) // 2],
        whole[:4],
        b"",
        whole[:100],
        whole + b"\0",
        b"\xff" * 64,
        whole[:8] + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        _without_shapes(whole),
    ):
        weights.write_bytes(broken)
        assert str(weights) in refusal(tiny) and "copy it anew" in refusal(tiny)
    weights.write_bytes(whole)
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        text = (tiny / name).read_text()
        for broken in (text[: len(text) // 2], "", "[]", "\udcff", "[" * 100_000):
            (tiny / name).write_bytes(broken.encode(errors="surrogateescape"))
            assert str(tiny / name) in refusal(tiny) and "copy it anew" in refusal(tiny)
        (tiny / name).write_text(text)
    (tiny / "tokenizer.json").write_text("{}")
    assert "tokenizer.json holds no tokenizer" in refusal(tiny)


def _without_shapes(weights: bytes) -> bytes:
    changed = weights.replace(b'"shape":', b'"shapo":')
    assert changed != weights
    return changed


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"])
def test_what_is_no_file_is_refused_without_waiting_for_it(tiny, name, make):
    (tiny / name).unlink()
    make(tiny / name)
    assert str(tiny / name) in refusal(tiny) and "copy it anew" in refusal(tiny)


STRANGE = {
    "architectures": [["LlamaForCausalLM", 5], "LlamaForCausalLM"],
    "text_config": [[1], "x"],
    "max_position_embeddings": ["1536"],
    "sliding_window": ["all"],
    "layer_types": [[1, 2], "full_attention"],
    "rope_parameters": ["linear", [2]],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in STRANGE.items() for value in values])
def test_a_key_that_plans_read_has_its_type(tiny, key, value):
    _set(tiny, **{key: value})
    assert f"config.json has {json.dumps(value)} for {key}, where " in refusal(tiny)


def test_a_key_of_the_part_about_text_has_its_type(tiny):
    _set(tiny, text_config={"sliding_window": "all"})
    assert 'config.json has "all" for sliding_window, where a number belongs' in refusal(tiny)


@pytest.mark.parametrize("tokens", ["x", [1], [{"id": 1, "special": True}]])
def test_special_tokens_have_their_text(tiny, tokens):
    tokenizer = json.loads((tiny / "tokenizer.json").read_text())
    (tiny / "tokenizer.json").write_text(json.dumps(tokenizer | {"added_tokens": tokens}))
    assert "tokenizer.json holds no tokenizer" in refusal(tiny)


def test_a_model_of_another_kind_is_refused(tiny):
    for architectures in (["BertModel"], [], None):
        _set(tiny, architectures=architectures)
        assert "none of which is a causal LM" in refusal(tiny)


def test_only_the_weights_that_the_model_names_may_be_there(tiny, tmp_path):
    for stray in ("consolidated.safetensors", "adapter_model.safetensors", "old.safetensors", "adapter_config.json"):
        (tiny / stray).write_text("")
        assert f"holds {stray} beside" in refusal(tiny)
        (tiny / stray).unlink()


def test_shards_are_those_of_the_index(tiny):
    (tiny / "model.safetensors").rename(tiny / "model-00001-of-00002.safetensors")
    shutil.copy(TINY / "model.safetensors", tiny / "model-00002-of-00002.safetensors")
    index = tiny / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    assert "holds model-00002-of-00002.safetensors beside" in refusal(tiny)
    (tiny / "model-00002-of-00002.safetensors").unlink()
    assert refusal(tiny) == ""
    for names in ({"a": 1}, {"a": None}, ["a"], {}):
        index.write_text(json.dumps({"weight_map": names}))
        assert "has no weight_map; copy it anew" in refusal(tiny)
    index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    assert [path.name for path in weight_files(tiny)][-2:] == [index.name, "model-00001-of-00002.safetensors"]
    index.write_text(json.dumps({"weight_map": {"a": "model-00003-of-00002.safetensors"}}))
    assert "model-00003-of-00002.safetensors is missing" in refusal(tiny)
    index.write_text("{}")
    assert "has no weight_map" in refusal(tiny)


def test_what_transformers_cannot_load_is_one_sentence(tiny, models):
    check_loading(tiny)
    for name in ("phi3", "gemma", "qwen3", "mistral"):
        check_loading(models / name)
    faults = {
        "has shape": {"hidden_size": 512},
        "lack model.layers": {"num_hidden_layers": 99},
        "cannot load": {"model_type": "nothing-known"},
        "num_hidden_layers.*; write the folder of a model that it can load": {"num_hidden_layers": "two"},
    }
    for words, change in faults.items():
        text = (tiny / "config.json").read_text()
        _set(tiny, **change)
        with pytest.raises(ValueError, match=words) as caught:
            check_loading(tiny)
        assert str(tiny) in str(caught.value) and "\n" not in str(caught.value)
        (tiny / "config.json").write_text(text)
    tokenizer = json.loads((tiny / "tokenizer.json").read_text()) | {"model": {"type": "BPE"}}
    (tiny / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ValueError, match="cannot load the tokenizer"):
        check_loading(tiny)
