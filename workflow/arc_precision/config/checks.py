"""Agreement between the sections of an experiment, checked when the configuration is read."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from arc_precision.config.base import MAX_SEED
from arc_precision.config.sentences import listed
from arc_precision.contracts.metric_names import metric_names

if TYPE_CHECKING:
    from arc_precision.config.experiment import ExperimentConfig
    from arc_precision.config.training import TrainingConfig

# Results use these names for other files and folders.
RESERVED = {"arms": ("base",), "evaluation_sets": ("train", "candidates")}


def check(experiment: "ExperimentConfig") -> None:
    """Refuse the first fault.

    Raises:
        ValueError: one sentence: key, value, and what to write instead.
    """
    for fault in _faults(experiment):
        raise ValueError(fault)


def _faults(experiment: "ExperimentConfig") -> Iterator[str]:
    for arm in experiment.run_arms:
        yield from _engines(experiment, arm)
        yield from _four_bits(experiment, arm)
        yield from _compiled(experiment, arm)
    yield from _common_dtype(experiment)
    for arm in experiment.run_arms:
        yield from _steps(experiment, arm)
    if experiment.audit.every <= experiment.max_steps:
        for arm in experiment.run_arms:
            yield from _auditable(experiment, arm)
    yield from _reserved(experiment)
    for arm in experiment.arms:  # arms that are not run too: reading an arm's sections raises its faults
        experiment.training_of(arm), experiment.sampling_of(arm)
    yield from _twice("run_arms", experiment.run_arms)
    yield from _twice("seeds", experiment.seeds)
    yield from _twice("evaluate_on", experiment.evaluate_on)
    yield from _twice("data.train_on", experiment.data.train_on)
    yield from _seeds(experiment)
    yield from _evaluation(experiment)
    yield from _primary_outcome(experiment)
    yield from _band(experiment)
    yield from _gpus(experiment)
    for arm in experiment.run_arms:
        yield from _number_formats(experiment, arm)
        yield from _determinism(experiment, arm)


def _engines(experiment: "ExperimentConfig", arm: str) -> Iterator[str]:
    sampling, training = experiment.sampling_of(arm), experiment.training_of(arm)
    adapter, whole = training.merged is False, training.lora is None
    if sampling.temperature == 0:
        yield (
            f"sampling.temperature: 0.0 of arm {arm} draws one completion again and again, and GRPO compares several; "
            "write 1.0 (for greedy evaluation alone: evaluation.temperature)"
        )
    if training.sync == "merge" and sampling.engine != "vllm":
        yield f"arms.{arm}: training.sync merge needs sampling.engine vllm; write sync: adapter"
    if sampling.weight_noise and not adapter:
        yield (
            f"sampling.weight_noise: {sampling.weight_noise} of arm {arm} is noise on an adapter, and "
            f"training.{'lora: null' if whole else 'sync merge'} hands none over; write "
            f"{'weight_noise: 0' if whole else 'sync: adapter'}"
        )
    if sampling.logit_noise and sampling.engine != "vllm":
        yield (
            f"sampling.logit_noise: {sampling.logit_noise} of arm {arm} needs sampling.engine vllm; write "
            "logit_noise: 0"
        )
    if experiment.device == "cuda" and experiment.arms[arm].sampler_dtype == "float32" and adapter:
        yield (
            f"arms.{arm}.sampler_dtype: float32 on a GPU is not possible, vLLM's adapter kernels are in half "
            "precision; write float16 or bfloat16, or training.sync: merge"
        )


def _four_bits(experiment: "ExperimentConfig", arm: str) -> Iterator[str]:
    training = experiment.training_of(arm)
    if experiment.model.load_in_4bit:
        if experiment.device != "cuda":
            yield "model.load_in_4bit: true needs device: cuda; write load_in_4bit: false"
        if training.lora is None:
            yield (
                f"model.load_in_4bit: true has weights that cannot be trained, and training.lora: null of arm {arm} "
                "trains them; write load_in_4bit: false"
            )
        if training.merged is not False:
            yield f"arms.{arm}: training.sync merge cannot merge into a base in 4 bits; write sync: adapter"


def _compiled(experiment: "ExperimentConfig", arm: str) -> Iterator[str]:
    training = experiment.training_of(arm)
    if training.compile_layers and not training.shared_prompt:
        yield f"arms.{arm}: training.compile_layers needs shared_prompt: true; write compile_layers: false"


def _common_dtype(experiment: "ExperimentConfig") -> Iterator[str]:
    if experiment.device == "cuda" and experiment.evaluation.common_dtype == "float32":
        yield (
            "evaluation.common_dtype: float32 on a GPU is not possible, vLLM's adapter kernels are in half precision; "
            "write float16"
        )


def _steps(experiment: "ExperimentConfig", arm: str) -> Iterator[str]:
    unit = experiment.training_of(arm).segment_steps
    of_arm = f" of arm {arm}" if "segment_steps" in experiment.arms[arm].training else ""
    steps = {
        "max_steps": experiment.max_steps,
        "evaluation.every": experiment.evaluation.every,
        "audit.every": experiment.audit.every,
    }
    for key, value in steps.items():
        if value % unit:
            below = value // unit * unit
            valid = f"{below} or {below + unit}" if below else f"{unit}"
            yield f"{key}: {value} is not a multiple of segment_steps {unit}{of_arm}; write {valid}"


def _auditable(experiment: "ExperimentConfig", arm: str) -> Iterator[str]:
    none = f"audit.every: {2 * experiment.max_steps} for no audit"
    temperature = experiment.sampling_of(arm).temperature
    if temperature != 1:
        yield (
            f"sampling.temperature: {temperature} of arm {arm} cannot be audited, as the sampler's prompt log-probs "
            f"know no temperature; write 1.0, or {none}"
        )
    lora = experiment.training_of(arm).lora
    if lora and "lm_head" in lora.target_modules:
        yield (
            f"training.lora.target_modules: lm_head of arm {arm} cannot be audited, as the sampler's prompt log-probs "
            f"leave an adapter there out; remove it, or write {none}"
        )


def _reserved(experiment: "ExperimentConfig") -> Iterator[str]:
    for key, reserved in RESERVED.items():
        for name in getattr(experiment, key):
            if name.lower() in reserved:
                yield f"{key}: '{name}' stands for something else in results/; write another name"


def _twice(key: str, values: Sequence[Any]) -> Iterator[str]:
    if len(set(values)) < len(values):
        yield f"{key}: {listed(values)} name something twice; write each once"


def _seeds(experiment: "ExperimentConfig") -> Iterator[str]:
    # Process i of a run draws from seed + i.
    processes = max(experiment.training_of(arm).processes for arm in experiment.run_arms)
    largest = MAX_SEED + 1 - processes
    for seed in experiment.seeds:
        if seed > largest:
            yield f"seeds: {seed} is too large for {processes} processes; write {largest} or less"


def _evaluation(experiment: "ExperimentConfig") -> Iterator[str]:
    every, steps = experiment.evaluation.every, experiment.max_steps
    if every > steps:
        yield f"evaluation.every: {every} is above max_steps {steps}, so nothing would be evaluated; write {steps}"


def _primary_outcome(experiment: "ExperimentConfig") -> Iterator[str]:
    report, samples = experiment.report, experiment.evaluation.n_samples
    if report.primary_set not in experiment.evaluate_on:
        yield (
            f"report.primary_set: '{report.primary_set}' is not in evaluate_on; write "
            f"{listed(experiment.evaluate_on, 'or')}"
        )
    metrics = metric_names(samples)
    if report.primary_metric not in metrics:
        yield (
            f"report.primary_metric: '{report.primary_metric}' is not measured with evaluation.n_samples {samples}; "
            f"write {listed(metrics, 'or')}"
        )
    # A single arm is compared with nothing, so its baseline need not be run.
    possible = experiment.run_arms if len(experiment.run_arms) > 1 else experiment.arms
    if report.baseline_arm not in possible:
        yield f"report.baseline_arm: '{report.baseline_arm}' is no arm that is run; write {listed(possible, 'or')}"


def _band(experiment: "ExperimentConfig") -> Iterator[str]:
    band = experiment.perfectible
    rates = [solved / band.n_samples for solved in range(band.n_samples + 1)]
    if band.enabled and not any(band.min_rate <= rate <= band.max_rate for rate in rates):
        yield (
            f"perfectible: no share of n_samples {band.n_samples} lies between min_rate {band.min_rate} and max_rate "
            f"{band.max_rate}; write a larger n_samples or a wider band"
        )


def _gpus(experiment: "ExperimentConfig") -> Iterator[str]:
    for kind in ("sample", "pretrain", "warm_start"):
        if experiment.device == "cuda" and not getattr(experiment.resources, kind).gpu:
            yield f"resources.{kind}.gpu: 0 is not possible with device: cuda; write 1"


def _number_formats(experiment: "ExperimentConfig", arm: str) -> Iterator[str]:
    sampling, training = experiment.sampling_of(arm), experiment.training_of(arm)
    for key, plain in (("head_dtype", "model"), ("quantization", "none"), ("kv_cache_dtype", "auto")):
        value = getattr(sampling, key)
        if value != plain and sampling.engine != "vllm":
            yield f"sampling.{key}: {value} of arm {arm} needs sampling.engine vllm; write {key}: {plain}"
        if value == "fp8" and experiment.device != "cuda":
            yield f"sampling.{key}: fp8 of arm {arm} needs a GPU, with device: cuda; write {key}: {plain}"
    if sampling.quantization == "fp8" and training.merged is not False:
        yield (
            f"sampling.quantization: fp8 of arm {arm} quantizes weights as they are loaded, so none can be handed over "
            f"later; write {_an_adapter(training)}, or quantization: none"
        )
    if training.head_dtype == "float32" and training.lora and "lm_head" in training.lora.target_modules:
        yield (
            f"training.head_dtype: float32 of arm {arm} is not possible with an adapter on lm_head; remove it from "
            "training.lora.target_modules, or write head_dtype: model"
        )


def _determinism(experiment: "ExperimentConfig", arm: str) -> Iterator[str]:
    if not experiment.sampling_of(arm).batch_invariant:
        return
    training, key = experiment.training_of(arm), f"sampling.batch_invariant: true of arm {arm}"
    if experiment.device != "cuda" or experiment.sampling_of(arm).engine != "vllm":
        yield f"{key} needs device: cuda and sampling.engine vllm, which has such kernels; write batch_invariant: false"
    if training.merged is not False or training.processes > 1:
        yield (
            f"{key} runs vLLM in a process of its own, which takes adapters from a single trainer; write "
            f"{_an_adapter(training)} and training.processes: 1, or batch_invariant: false"
        )


def _an_adapter(training: "TrainingConfig") -> str:
    """The settings to write for a sampler that takes an adapter beside the base."""
    return "training.sync: adapter" if training.lora else "keys of an adapter under training.lora"
