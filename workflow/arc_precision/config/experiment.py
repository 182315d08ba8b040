"""The root of the configuration: reads it, checks it, and cuts a slice for each rule."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from arc_precision.config.audit import (
    Adapter,
    AuditConfig,
    AuditDrawSlice,
    AuditJoinSlice,
    AuditSamplerSlice,
    AuditTrainerSlice,
    Processing,
    audit_engines,
)
from arc_precision.config.base import Device, Dtype, FileName, Name, Section, Seed, lay_over
from arc_precision.config.checks import check
from arc_precision.config.collapse import CollapseConfig
from arc_precision.config.data import (
    DEFAULT_EVALUATION_SETS,
    DEFAULT_SOURCES,
    CandidatesSlice,
    DataConfig,
    EvaluationSetConfig,
    EvaluationSetSlice,
    PerfectibleConfig,
    PerfectibleSlice,
    Source,
    SubmissionSlice,
)
from arc_precision.config.evaluation import EvaluationConfig, SampleSlice, ScoreSlice
from arc_precision.config.grid import ArmGrid, with_arms_of_grids
from arc_precision.config.model import ModelConfig
from arc_precision.config.pretrain import PretrainConfig
from arc_precision.config.report import ReportConfig, ReportSlice
from arc_precision.config.resources import Resources
from arc_precision.config.retention import RetentionConfig
from arc_precision.config.sampling import SamplingConfig
from arc_precision.config.sandbox import SandboxConfig
from arc_precision.config.sentences import sentences
from arc_precision.config.training import DEFAULT_ARMS, ArmConfig, TrainingConfig, TrainSlice
from arc_precision.config.warm_start import TrialSlice, WarmStartConfig, WarmStartFit, WarmStartSlice
from arc_precision.mismatch.number_format import dtype_and_head, number_format


class ConfigError(ValueError):
    """The configuration is not valid; the message has one sentence per fault."""


class ExperimentConfig(Section):
    """An experiment: `config.yaml`, or `config.yaml` with a file of `experiments/` laid over it."""

    experiment: FileName = Field("tiny", description="Name of the folder under results/.")
    device: Device = Field("cpu", description="`cpu` or `cuda`: which of the two pinned environments runs the jobs.")
    max_steps: int = Field(
        20, gt=0, le=1_000_000, description="Optimizer steps of every run. Raising it adds segments, keeping the rest."
    )
    run_arms: tuple[str, ...] = Field(
        ("float16", "bfloat16"),
        min_length=1,
        description="Arms that are run, by name. A grid's name stands for all its arms.",
    )
    seeds: tuple[Seed, ...] = Field(
        (0, 1, 2), min_length=1, description="One run per arm and seed. A seed sets order and sampling."
    )
    evaluate_on: tuple[str, ...] = Field(
        ("generated-held-out", "arc-agi-1-evaluation"),
        min_length=1,
        description="Evaluation sets that are used, by name.",
    )
    arms: dict[Name, ArmConfig] = Field(
        default_factory=lambda: {name: ArmConfig(**arm) for name, arm in DEFAULT_ARMS.items()},
        description="Treatments that can be selected in run_arms.",
    )
    arm_grids: dict[Name, ArmGrid] = Field(
        default_factory=dict,
        description="Treatments as combinations of factors, for run_arms too; `make arms` lists them (docs/arms.md).",
    )
    model: ModelConfig = Field(default_factory=ModelConfig, description="The base model.")
    sources: dict[Name, Source] = Field(
        default_factory=lambda: DEFAULT_SOURCES, description="Sources of tasks.", validate_default=True
    )
    data: DataConfig = Field(default_factory=DataConfig, description="Training data.")
    perfectible: PerfectibleConfig = Field(
        default_factory=PerfectibleConfig, description="Filter on the training data."
    )
    evaluation_sets: dict[Name, EvaluationSetConfig] = Field(
        default_factory=lambda: DEFAULT_EVALUATION_SETS,
        description="Tasks that can be selected in evaluate_on.",
        validate_default=True,
    )
    sampling: SamplingConfig = Field(default_factory=SamplingConfig, description="The sampler.")
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="GRPO.")
    sandbox: SandboxConfig = Field(default_factory=SandboxConfig, description="Limits on programs.")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="Evaluation of checkpoints.")
    audit: AuditConfig = Field(default_factory=AuditConfig, description="Causes of the mismatch.")
    collapse: CollapseConfig = Field(default_factory=CollapseConfig, description="Rules of collapse.")
    report: ReportConfig = Field(default_factory=ReportConfig, description="The comparison report.")
    pretrain: PretrainConfig = Field(
        default_factory=PretrainConfig, description="Training of the embedded model (`snakemake pretrain`)."
    )
    warm_start: WarmStartConfig = Field(
        default_factory=WarmStartConfig,
        description="Fine-tuning a pretrained model before reinforcement learning (`snakemake warm_start`).",
    )
    retention: RetentionConfig = Field(default_factory=RetentionConfig, description="Files that stay on disk.")
    resources: Resources = Field(
        default_factory=Resources, description="Requests of jobs; changing them reruns nothing."
    )
    watch: Literal["none", "tensorboard", "trackio", "wandb"] = Field(
        "none", description="Library that writes live curves of training; changing it reruns nothing."
    )

    @model_validator(mode="before")
    @classmethod
    def _grids_become_arms(cls, values: Any) -> Any:
        """From here on there are plain arms. A grid that is not valid is left for its own section to refuse."""
        if not isinstance(values, dict) or not isinstance(values.get("arm_grids"), dict):
            return values
        try:
            grids = {name: ArmGrid.model_validate(grid) for name, grid in values["arm_grids"].items()}
        except ValidationError:
            return values
        arms, run_arms = values.get("arms", DEFAULT_ARMS), values.get("run_arms")
        if isinstance(arms, dict):
            values = values | {"arms": with_arms_of_grids(arms, grids)}
        if isinstance(run_arms, list | tuple):
            named = [list(grids[name].levels()) if str(name) in grids else [name] for name in run_arms]
            values = values | {"run_arms": [arm for arms in named for arm in arms]}
        return values

    @model_validator(mode="after")
    def _selections(self):
        _known("run_arms", self.run_arms, [*self.arms, *self.arm_grids], "arms")
        _known("evaluate_on", self.evaluate_on, self.evaluation_sets, "evaluation_sets")
        _known("data.train_on", self.data.train_on, self.sources, "sources")
        for name, chosen in self.evaluation_sets.items():
            _known(f"evaluation_sets.{name}.source", [chosen.source], self.sources, "sources")
        _known("audit.set", [self.audit.set], self.evaluation_sets, "evaluation_sets")
        return self

    @model_validator(mode="after")
    def _sections_together(self):
        check(self)
        return self

    def training_of(self, arm: str) -> TrainingConfig:
        """The section `training` with an arm's changes."""
        return _override(self, arm, "training", TrainingConfig)

    def sampling_of(self, arm: str) -> SamplingConfig:
        """The section `sampling` with an arm's changes."""
        return _override(self, arm, "sampling", SamplingConfig)

    def number_formats(self, arm: str) -> tuple[str, str]:
        """The names of the number formats of an arm's trainer and of its sampler."""
        return (
            number_format(self.arms[arm].trainer_dtype, self.training_of(arm).head_dtype),
            number_format(self.arms[arm].sampler_dtype, self.sampling_of(arm).head_dtype),
        )

    def audit_engines(self, arm: str) -> list[str]:
        """Files of the engine settings that an arm's audit scores beside the one that draws."""
        merged, float8 = self.training_of(arm).merged, self.sampling_of(arm).in_float8
        return audit_engines(*self.number_formats(arm), merged, self.audit.head, float8)

    @property
    def used_sources(self) -> list[str]:
        """Sources of the training data and of the evaluated and audited sets, by name; no other file need be there."""
        audited = [self.audit.set] if self.audit.every <= self.max_steps else []
        sets = dict.fromkeys([*self.evaluate_on, *audited])
        return list(dict.fromkeys([*self.data.train_on, *(self.evaluation_sets[name].source for name in sets)]))

    # Slices: exactly what can change the output of one rule.

    def candidates_slice(self) -> CandidatesSlice:
        """For `train_candidates`."""
        used = {name: self.sources[name] for name in self.data.train_on}
        return CandidatesSlice(prompt=self.model.prompt, sources=used, data=self.data)

    def perfectible_slice(self) -> PerfectibleSlice:
        """For `train_set`."""
        return PerfectibleSlice(
            device=self.device,
            perfectible=self.perfectible,
            max_completion_tokens=self.sampling.max_completion_tokens,
            sandbox=self.sandbox,
            stop=self.sampling.stop,
            thinking=self.model.thinking,
        )

    def evaluation_set_slice(self, name: str) -> EvaluationSetSlice:
        """For `evaluation_set`."""
        chosen = self.evaluation_sets[name]
        return EvaluationSetSlice(prompt=self.model.prompt, source=self.sources[chosen.source], set=chosen)

    def warm_start_slice(self) -> WarmStartSlice:
        """For `warm_start_fit`."""
        fit = WarmStartFit(**self.warm_start.model_dump(exclude={"trial"}))
        return WarmStartSlice(device=self.device, prompt=self.model.prompt, warm_start=fit)

    def warm_start_trial_slice(self) -> TrialSlice:
        """For `warm_start_trial`: the sampler's own distribution, as training will use it."""
        plain = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
        longest = {"max_completion_tokens": self.warm_start.max_completion_tokens}
        return TrialSlice(
            device=self.device,
            prompt=self.model.prompt,
            dtype=self.evaluation.common_dtype,
            trial=self.warm_start.trial,
            max_prompt_tokens=self.warm_start.max_prompt_tokens,
            sampling=self.sampling.without_noise().model_copy(update=plain | longest),
            sandbox=self.sandbox,
        )

    def train_slice(self, arm: str) -> TrainSlice:
        """For `train`."""
        return TrainSlice(
            device=self.device,
            load_in_4bit=self.model.load_in_4bit,
            trainer_dtype=self.arms[arm].trainer_dtype,
            sampler_dtype=self.arms[arm].sampler_dtype,
            training=self.training_of(arm),
            sampling=self.sampling_of(arm),
            sandbox=self.sandbox,
            collapse=self.collapse if self.collapse.early_stop else None,
            nonfinite_steps=self.collapse.nonfinite_steps,
            max_prompt_tokens=self.data.max_prompt_tokens,
            thinking=self.model.thinking,
        )

    def sample_slice(self, arm: str | None, name: str, dtype: Dtype) -> SampleSlice:
        """For `sample`; `arm` None is the base model."""
        lora = self.training_of(arm).lora if arm else None
        sampling = self.sampling.without_noise().model_copy(
            update={
                "temperature": self.evaluation.temperature,
                "top_p": self.evaluation.top_p,
                "top_k": 0,
                "repetition_penalty": 1.0,
                "head_dtype": "model",
                "quantization": "none",
                "kv_cache_dtype": "auto",
                "batch_invariant": False,
            }
        )
        return SampleSlice(
            device=self.device,
            dtype=dtype,
            n_samples=self.evaluation.n_samples,
            seed=self.evaluation.seed,
            sampling=sampling,
            lora_r=lora.r if lora else 0,
            max_prompt_tokens=self.evaluation_sets[name].max_prompt_tokens,
        )

    def score_slice(self) -> ScoreSlice:
        """For `score`."""
        return ScoreSlice(reward=self.training.reward, sandbox=self.sandbox, thinking=self.model.thinking)

    def submission_slice(self, name: str) -> SubmissionSlice:
        """For `submission`."""
        source = self.evaluation_sets[name].source
        return SubmissionSlice(source_name=source, source=self.sources[source])

    def audit_draw_slice(self, arm: str) -> AuditDrawSlice:
        """For `audit_draw`."""
        return AuditDrawSlice(
            device=self.device,
            dtype=self.arms[arm].sampler_dtype,
            merged=self.training_of(arm).merged,
            sampling=self.sampling_of(arm).without_noise(),
            **self.audit.model_dump(include={"n_prompts", "n_samples", "seed", "batch_sizes"}),
        )

    def audit_trainer_slice(self, arm: str, form: str) -> AuditTrainerSlice:
        """For `audit_trainer`. The effect of processing is computed from the float32 logits alone."""
        dtype, head = dtype_and_head(form)
        return AuditTrainerSlice(
            device=self.device,
            dtype=dtype,
            head=head,
            load_in_4bit=self.model.load_in_4bit,
            shared_prompt=self.training_of(arm).shared_prompt,
            deterministic=self.training_of(arm).deterministic,
            batch_sizes=self.audit.batch_sizes,
            processings=(Processing(), *self._processings(arm)) if dtype == "float32" else (),
        )

    def audit_sampler_slice(self, arm: str, form: str, adapter: Adapter) -> AuditSamplerSlice:
        """For `audit_sampler`, without float8: the engine that draws with float8 is compared with engines without
        it."""
        dtype, head = dtype_and_head(form)
        formats = {"head_dtype": head, "quantization": "none", "kv_cache_dtype": "auto"}
        return AuditSamplerSlice(
            device=self.device,
            dtype=dtype,
            adapter=adapter,
            sampling=self.sampling_of(arm).without_noise().model_copy(update=formats),
            batch_size=self.audit.batch_sizes[0],
        )

    def audit_join_slice(self, arm: str) -> AuditJoinSlice:
        """For `audit_join`."""
        (trainer_dtype, trainer_head), (sampler_dtype, sampler_head) = map(dtype_and_head, self.number_formats(arm))
        return AuditJoinSlice(
            trainer_dtype=trainer_dtype,
            sampler_dtype=sampler_dtype,
            trainer_head=trainer_head,
            sampler_head=sampler_head,
            head_apart=self.audit.head,
            float8=self.sampling_of(arm).in_float8,
            merged=self.training_of(arm).merged,
            other_batch_size=self.audit.batch_sizes[1],
            processings=self._processings(arm),
            in_effect=self._processing_of(arm),
        )

    def _processing_of(self, arm: str) -> Processing:
        return Processing(**self.sampling_of(arm).model_dump(include=set(Processing.model_fields)))

    def _processings(self, arm: str) -> tuple[Processing, ...]:
        """The processings that the audit applies to an arm's logits: the counterfactual ones and the arm's own."""
        tried = [
            Processing(top_p=self.audit.counterfactual_top_p),
            Processing(repetition_penalty=self.audit.counterfactual_repetition_penalty),
            self._processing_of(arm),
        ]
        return tuple(tried[i] for i in range(len(tried)) if tried[i] not in (Processing(), *tried[:i]))

    def report_slice(self) -> ReportSlice:
        """For `report_data`."""
        return ReportSlice(
            experiment=self.experiment,
            report=self.report,
            collapse=self.collapse.model_dump(mode="json"),
            run_arms=self.run_arms,
            seeds=self.seeds,
            evaluate_on=self.evaluate_on,
            n_tasks={name: self.evaluation_sets[name].n_tasks for name in self.evaluate_on},
            n_samples=self.evaluation.n_samples,
            max_steps=self.max_steps,
            arms={arm: self.train_slice(arm).model_dump(mode="json") for arm in self.run_arms},
            grids={name: self._levels_of(grid) for name, grid in self.arm_grids.items() if self._levels_of(grid)},
        )

    def _levels_of(self, grid: ArmGrid) -> dict[str, dict[str, str]]:
        """The level of each factor, by arm that is run."""
        return {arm: levels for arm, levels in grid.levels().items() if arm in self.run_arms}


def load_experiment(config: dict[str, Any]) -> ExperimentConfig:
    """Check a configuration as read from YAML.

    Raises:
        ConfigError: one sentence per fault: key, value, and what to write instead.
    """
    try:
        return ExperimentConfig.model_validate(config)
    except ValidationError as error:
        raise ConfigError("\n".join(sentences(error, ExperimentConfig))) from None


def _override(config: ExperimentConfig, arm: str, section: str, model: type[Section]) -> Any:
    changes = getattr(config.arms[arm], section)
    try:
        return model.model_validate(lay_over(getattr(config, section).model_dump(), changes))
    except ValidationError as error:
        where = f"arms.{arm}.{section}" if changes else section
        raise ValueError("\n".join(sentences(error, model, where))) from None


def _known(key: str, names: Iterable[str], defined: Iterable[str], where: str) -> None:
    for name in names:
        if name not in defined:
            raise ValueError(f"{key}: '{name}' is not defined under {where}; write one of {', '.join(sorted(defined))}")
