"""Slices of rules that read files from outside the results. Digests stand in them in place of paths and names."""

from arc_precision.config.data import CandidatesSlice, EvaluationSetSlice, SubmissionSlice
from arc_precision.config.experiment import ExperimentConfig
from arc_precision.config.warm_start import TrialSlice, WarmStartSlice
from arc_precision.plan.outside_files import OutsideFiles


def candidates(experiment: ExperimentConfig, outside: OutsideFiles) -> CandidatesSlice:
    """For `train_candidates`."""
    slice = experiment.candidates_slice()
    sources = {name: outside.digested(source) for name, source in slice.sources.items()}
    return slice.model_copy(update={"sources": sources, "prompt": outside.prompt_digest()})


def evaluation_set(experiment: ExperimentConfig, outside: OutsideFiles, name: str) -> EvaluationSetSlice:
    """For `evaluation_set`."""
    slice = experiment.evaluation_set_slice(name)
    return slice.model_copy(update={"source": outside.digested(slice.source), "prompt": outside.prompt_digest()})


def submission(experiment: ExperimentConfig, outside: OutsideFiles, name: str) -> SubmissionSlice:
    """For `submission`."""
    slice = experiment.submission_slice(name)
    return slice.model_copy(update={"source": outside.digested(slice.source)})


def warm_start(experiment: ExperimentConfig, outside: OutsideFiles) -> WarmStartSlice:
    """For `warm_start_fit`."""
    slice = experiment.warm_start_slice().model_copy(update={"prompt": outside.prompt_digest()})
    source = outside.digested(experiment.warm_start.solved_source)
    return slice.with_path(source.path) if hasattr(source, "path") else slice


def warm_start_trial(experiment: ExperimentConfig, outside: OutsideFiles) -> TrialSlice:
    """For `warm_start_trial`."""
    return experiment.warm_start_trial_slice().model_copy(update={"prompt": outside.prompt_digest()})
