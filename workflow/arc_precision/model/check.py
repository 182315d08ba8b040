"""Whether a configuration and a model folder fit each other: the checks before any job, without loading a model.

Only planning uses this module, so it changes no result. The first job makes the checks that need transformers
(`loading.py`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arc_precision.model.folder import CONTEXT_KEYS, read_config, read_json, tensor_shapes

if TYPE_CHECKING:
    from arc_precision.config.experiment import ExperimentConfig

# vLLM 0.31 refuses these in float16 (vllm/config/model.py): their activations overflow.
NOT_IN_FLOAT16 = {"gemma2", "gemma3", "gemma3_text", "glm4"}
MAX_VLLM_LORA_RANK = 512
# transformers' defaults for keys that config.json leaves out.
DEFAULT_WINDOWS = {
    "cohere2": 4096,
    "gemma2": 4096,
    "gemma3_text": 4096,
    "gpt_oss": 128,
    "ministral": 4096,
    "mistral": 4096,
    "olmo3": 4096,
}
ALWAYS_TIED = {"gemma2"}  # models whose LM head is the embedding in vLLM, whatever their folder has
# The position embeddings whose `factor` max_position_embeddings already holds, as vLLM sees it.
SCALED_ROPES = {"su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling"}


def check_model(experiment: "ExperimentConfig", weights: list[Path], requirements: Path) -> None:
    """Refuse settings that this model cannot fulfil.

    Args:
        weights: the model's files, as `weight_files` lists them.
        requirements: the pinned packages of the environment in which jobs run.

    Raises:
        ValueError: one sentence: key, value, and what to write instead.
    """
    config = read_config(weights[0].parent)
    layers = layer_names(weights)
    for arm in experiment.run_arms:
        _check_adapter(experiment, arm, layers)
        _check_optimizer(experiment, arm, requirements)
        _check_attention(experiment, arm, config)
    _check_texts(experiment, weights[0].parent)
    _check_head(experiment, config, weights)
    _check_dtypes(experiment, config)
    _check_context(experiment, config)


def layer_names(weights: list[Path]) -> set[str]:
    """Full names of the layers with a weight matrix."""
    return _stored_layers(weights) | {"lm_head"}  # the LM head is not stored if it shares the embedding's weights


def _stored_layers(weights: list[Path]) -> set[str]:
    shapes = {}
    for path in weights:
        if path.suffix == ".safetensors":
            shapes |= tensor_shapes(path)
    return {name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) == 2}


def context_tokens(config: dict[str, Any]) -> int | None:
    """The longest sequence that a model reads, as vLLM computes it; None if the model names no limit."""
    lengths = [config[key] for key in CONTEXT_KEYS if config.get(key) is not None]
    if config.get("model_max_length"):
        lengths = [config["model_max_length"]]
    if not lengths:
        return None
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    parts = [part for part in rope.values() if isinstance(part, dict)] or [rope]
    factor = 1.0
    for part in parts:
        if (part.get("rope_type") or part.get("type")) not in SCALED_ROPES:
            factor = part["factor"] if isinstance(part.get("factor"), int | float) else factor
    return int(min(lengths) * (1 if "gemma3" in str(config.get("model_type")) else factor))


def window_tokens(config: dict[str, Any]) -> int | None:
    """The length of the sliding window of attention; None if attention has none."""
    if not config.get("use_sliding_window", True):
        return None
    types = config.get("layer_types")
    if types and not any("sliding" in kind for kind in types):
        return None
    return config.get("sliding_window", DEFAULT_WINDOWS.get(config.get("model_type"))) or None


def _check_adapter(experiment: "ExperimentConfig", arm: str, layers: set[str]) -> None:
    lora = experiment.training_of(arm).lora
    if lora is None:
        return
    key = f"{_section(experiment, arm, 'lora')}.lora"
    names = sorted({name.split(".")[-1] for name in layers if "embed" not in name} - {"lm_head"})
    instead = f"write layers of {experiment.model.path}: {', '.join(names)}"
    if not lora.target_modules:
        raise ValueError(f"{key}.target_modules: the list is empty; {instead}")
    # PEFT matches the whole name or the end of it.
    strange = [
        target
        for target in lora.target_modules
        if not any(name == target or name.endswith(f".{target}") for name in layers)
    ]
    if strange:
        raise ValueError(f"{key}.target_modules: {', '.join(strange)} of arm {arm} match no layer; {instead}")
    if experiment.sampling_of(arm).engine == "vllm" and lora.r > MAX_VLLM_LORA_RANK:
        raise ValueError(
            f"{key}.r: {lora.r} of arm {arm} is more than vLLM's adapters can have; write at most {MAX_VLLM_LORA_RANK}"
        )


def _check_optimizer(experiment: "ExperimentConfig", arm: str, requirements: Path) -> None:
    optim = experiment.training_of(arm).optim
    if optim == "adamw_8bit" and "\nbitsandbytes==" not in f"\n{requirements.read_text()}":
        raise ValueError(
            f"{_section(experiment, arm, 'optim')}.optim: {optim} of arm {arm} needs bitsandbytes, which is not in the "
            f"environment of device: {experiment.device}; write adamw_torch"
        )


def _check_head(experiment: "ExperimentConfig", config: dict[str, Any], weights: list[Path]) -> None:
    drawn = any(experiment.sampling_of(arm).engine == "vllm" for arm in experiment.run_arms)
    if drawn and config.get("model_type") in ALWAYS_TIED and "lm_head" in _stored_layers(weights):
        raise ValueError(
            f"model.path: {weights[0].parent} has an LM head of its own, and vLLM's {config['model_type']} takes the "
            "embedding in its place; write a model with tied embeddings, or sampling.engine: transformers"
        )


def _check_attention(experiment: "ExperimentConfig", arm: str, config: dict[str, Any]) -> None:
    if not experiment.training_of(arm).shared_prompt:
        return
    reason = None
    if config.get("attn_logit_softcapping", 50.0 if config.get("model_type") == "gemma2" else None):
        reason = "whose attention scores are soft-capped"
    elif config.get("model_type") == "gpt_oss":
        reason = "whose attention has sinks"
    else:
        window, tokens = window_tokens(config), _training_tokens(experiment, arm)
        if window and window < tokens - 1:  # the last token is predicted, not read
            reason = f"whose attention slides over {window} tokens, with prompts and completions of {tokens}"
    if reason:
        raise ValueError(
            f"{_section(experiment, arm, 'shared_prompt')}.shared_prompt: true of arm {arm} is not possible with "
            f"{experiment.model.path}, {reason}; write shared_prompt: false"
        )


def _check_texts(experiment: "ExperimentConfig", folder: Path) -> None:
    """Refuse special tokens as texts to look for, because a completion's text does not contain them."""
    path = folder / "tokenizer.json"
    added = read_json(path).get("added_tokens", []) if path.exists() else []
    special = {token["content"] for token in added if token.get("special")}
    thinking = experiment.model.thinking
    texts = [(f"model.thinking.{key}", text) for key, text in (thinking.model_dump() if thinking else {}).items()]
    for arm in experiment.run_arms:
        texts += [
            (f"{_section(experiment, arm, 'stop', 'sampling')}.stop", t) for t in experiment.sampling_of(arm).stop
        ]
    for key, text in texts:
        if text in special:
            instead = (
                "name it in eos_token_id of generation_config.json" if key.endswith("stop") else "write other text"
            )
            raise ValueError(
                f"{key}: {text!r} is a special token of {experiment.model.path}, which a completion's text leaves out; "
                f"{instead}, or set special: false for it in tokenizer.json"
            )


def _check_dtypes(experiment: "ExperimentConfig", config: dict[str, Any]) -> None:
    if config.get("model_type") not in NOT_IN_FLOAT16:
        return
    for key, instead in _in_float16(experiment):
        raise ValueError(
            f"{key}: float16 is not possible, as vLLM refuses {config['model_type']} ({experiment.model.path}) in it; "
            f"write {instead}"
        )


def _in_float16(experiment: "ExperimentConfig") -> Iterator[tuple[str, str]]:
    """Keys for which vLLM would run in float16, and the values to write instead."""
    for arm in experiment.run_arms:
        if experiment.sampling_of(arm).engine != "vllm":
            continue
        if experiment.arms[arm].sampler_dtype == "float16":
            yield f"arms.{arm}.sampler_dtype", "bfloat16, or leave the arm out of run_arms"
        engines = experiment.audit_engines(arm)
        if experiment.audit.every <= experiment.max_steps and any("sampler.float16" in name for name in engines):
            yield (
                f"arms.{arm}.trainer_dtype",
                f"bfloat16, or audit.every: {2 * experiment.max_steps} for no audit, which samples in it",
            )
    if experiment.sampling.engine == "vllm" and experiment.evaluation.common_dtype == "float16":
        yield "evaluation.common_dtype", "bfloat16"


def _check_context(experiment: "ExperimentConfig", config: dict[str, Any]) -> None:
    context = context_tokens(config)
    if context is None:
        return
    for where, prompt, arm, more in _sequences(experiment):
        sampling = experiment.sampling_of(arm) if arm else experiment.sampling
        section = _section(experiment, arm, "max_completion_tokens", "sampling") if arm else "sampling"
        completion = sampling.max_completion_tokens
        if prompt + completion + more > context:
            fits = context - prompt - more
            shorter = f"write at most {fits} completion tokens" if fits > 0 else "write shorter prompts"
            raise ValueError(
                f"{where}: {prompt} and {section}.max_completion_tokens: {completion} are {prompt + completion} tokens"
                f"{', and the audit draws one more,' if more else ','} where {experiment.model.path} reads {context}; "
                f"{shorter}"
            )


def _sequences(experiment: "ExperimentConfig") -> Iterator[tuple[str, int, str | None, int]]:
    """For every stage that draws completions: key of the prompt's limit, the limit, the arm (None: the completions are
    no arm's own), and the tokens beyond a completion's."""
    sets = experiment.evaluation_sets
    for arm in experiment.run_arms:
        yield "data.max_prompt_tokens", experiment.data.max_prompt_tokens, arm, 0
        if experiment.audit.every <= experiment.max_steps:
            # vLLM's prompt log-probs need room to draw one more token
            name = experiment.audit.set
            yield f"evaluation_sets.{name}.max_prompt_tokens", sets[name].max_prompt_tokens, arm, 1
    if experiment.perfectible.enabled:
        yield "data.max_prompt_tokens", experiment.data.max_prompt_tokens, None, 0
    for name in experiment.evaluate_on:
        yield f"evaluation_sets.{name}.max_prompt_tokens", sets[name].max_prompt_tokens, None, 0


def _training_tokens(experiment: "ExperimentConfig", arm: str) -> int:
    """The longest sequence that the trainer and the audit of its log-probs compute."""
    audited = experiment.evaluation_sets[experiment.audit.set].max_prompt_tokens
    prompts = [
        experiment.data.max_prompt_tokens,
        *([audited] if experiment.audit.every <= experiment.max_steps else []),
    ]
    return max(prompts) + experiment.sampling_of(arm).max_completion_tokens


def _section(experiment: "ExperimentConfig", arm: str, key: str, section: str = "training") -> str:
    """The place of an arm's key of a section in the configuration."""
    return f"arms.{arm}.{section}" if key in getattr(experiment.arms[arm], section) else section
