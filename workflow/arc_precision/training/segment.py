"""One segment of a run: from one checkpoint to the next, a pure function of its inputs.

A segment ends through a callback at its last step; nothing in it depends on where the whole run ends. Not covered:
several nodes (one job runs on one machine, on one or more of its GPUs).
"""

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, set_seed
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, PreTrainedModel, PrinterCallback

from arc_precision.config.training import TrainSlice
from arc_precision.contracts.parquet import count_rows, read_rows
from arc_precision.contracts.steps import SCHEMA_VERSION, read_facts
from arc_precision.contracts.tasks import TASKS, task_of_row
from arc_precision.model.folder import count_parameters, weight_files
from arc_precision.sampling.engines import EngineMemory, make_sampler
from arc_precision.tasks.grids import Task
from arc_precision.training.base_model import load_base
from arc_precision.training.checkpoint_files import (
    SegmentFiles,
    check_checkpoint,
    pack_checkpoint,
    pass_on,
    steps_before,
    unpack_checkpoint,
)
from arc_precision.training.in_effect import check_in_effect, observe
from arc_precision.training.memory import check_fits
from arc_precision.training.runs_together import Together, sharing_weights
from arc_precision.training.scoring import Scored, Scorer
from arc_precision.training.step_log import StepLog
from arc_precision.training.torch_determinism import use_deterministic_algorithms
from arc_precision.training.trainer import PrecisionTrainer, grpo_config


def run_segment(
    slice: TrainSlice,
    seeds: Sequence[int],
    start: int,
    stop: int,
    files: Sequence[SegmentFiles],
    workers: int,
    memory: EngineMemory,
    kept: dict[str, Any],
    reporting: Sequence[dict[str, Any]],
) -> None:
    """Train the runs of some seeds from step `start` to step `stop`, together, and write each segment's files.

    Args:
        files: of each seed.
        workers: programs that run at once, all runs and processes together.
        memory: the GPU's memory for vLLM.
        kept: stored with the facts, and without effect: settings declared before the run, commit and versions.
        reporting: of each seed, arguments of transformers that make live curves; they change nothing either.

    Raises:
        ValueError: the precision in effect is not the one that was asked for, or seeds cannot share the sampler.
        SandboxFault: the sandbox itself failed.
    """
    if len(seeds) > 1 and (slice.training.merged is not False or slice.sampling.engine != "vllm"):
        raise ValueError(
            f"seeds {list(seeds)} cannot train in one job: only vLLM with training.lora and training.sync adapter "
            "holds several adapters over one base; give each seed a job of its own"
        )
    going = []
    for seed, own, curves in zip(seeds, files, reporting, strict=True):
        if own.previous:
            check_checkpoint(own.previous)
        if own.previous_facts and (before := read_facts(own.previous_facts))["status"] != "running":
            pass_on(own, before | {"seeds_of_job": list(seeds)})
        else:
            going.append((seed, own, curves))
    if not going:
        return

    if slice.training.deterministic:
        use_deterministic_algorithms()
    # The process group of a data-parallel run, before vLLM would make one of its own.
    processes = PartialState(cpu=slice.device == "cpu")
    model, lora = going[0][1].model, slice.training.lora
    if lora is None and slice.device == "cuda":
        gpu_bytes = torch.cuda.get_device_properties(processes.device).total_memory
        check_fits(slice, count_parameters(weight_files(model)), gpu_bytes, memory)
    sampler = make_sampler(
        slice.sampling,
        str(model),
        slice.sampler_dtype,
        slice.device,
        slice.max_prompt_tokens,
        memory,
        lora_r=lora.r if slice.training.merged is False else 0,
        lora_modules=lora and lora.target_modules,
        n_adapters=len(going),
    )
    base = load_base(model, slice.trainer_dtype if lora else "float32", slice.load_in_4bit)
    together = Together(sampler, len(going))
    workers = max(1, workers // processes.num_processes)
    scorer = Scorer({}, slice.training.reward, slice.sandbox, workers, slice.thinking)
    kept = kept | {"seeds_of_job": list(seeds), "together": [seed for seed, *_ in going]}
    runs = [
        SegmentOfRun(slice, seed, start, stop, own, sharing_weights(base), together, number, scorer, kept, curves)
        for number, (seed, own, curves) in enumerate(going)
    ]
    together.run([run.train for run in runs])
    scorer.close()
    processes.wait_for_everyone()


class SegmentOfRun:
    """One run's part of a segment: its trainer, its sandbox, its files."""

    def __init__(
        self,
        slice: TrainSlice,
        seed: int,
        start: int,
        stop: int,
        files: SegmentFiles,
        base: PreTrainedModel,
        together: Together,
        number: int,
        scorer: Scorer,
        kept: dict[str, Any],
        reporting: dict[str, Any],
    ) -> None:
        self._slice, self._seed, self._files, self._kept = slice, seed, files, kept
        order = row_order(count_rows(files.train, TASKS), seed, _prompts(slice, stop))
        prompts, tasks = segment_rows(files.train, order, _prompts(slice, start))
        sampler = together.sampler(number)
        self._scorer = scorer.beside(tasks, {row["row_id"]: row["prompt"] for row in prompts.values()})
        self._own_scratch = tempfile.TemporaryDirectory(prefix="segment-")
        # All processes save into one checkpoint.
        self._scratch = Path(broadcast_object_list([self._own_scratch.name])[0])
        set_seed(seed)

        def score(row_ids: list[str], completions: list[str]) -> Callable[[], list[Scored]]:
            result = self._scorer.start(row_ids, completions)

            def wait() -> list[Scored]:
                with together.turns.elsewhere(number):
                    return result()

            return wait

        self._trainer = PrecisionTrainer(
            slice,
            seed,
            sampler,
            score,
            lambda: together.turns.clock_s(number),
            model=base,
            args=grpo_config(slice, seed, stop, str(self._scratch), **reporting),
            train_dataset=Dataset.from_dict({key: [prompts[i][key] for i in order] for key in ("prompt", "row_id")}),
            processing_class=AutoTokenizer.from_pretrained(files.model),
            peft_config=lora_config(slice) if slice.training.lora else None,
        )
        self._observed = observe(self._trainer, sampler, self._scorer)
        check_in_effect(slice, self._observed)
        self._before = unpack_checkpoint(files.previous, self._scratch, start) if files.previous else None
        self._log = StepLog(
            slice, self._trainer, self._scorer, files, start, stop, steps_before(self._before, files, start)
        )
        self._trainer.remove_callback(PrinterCallback)
        self._trainer.add_callback(self._log)

    def train(self) -> None:
        """Train to the segment's last step, or until the run stops, and write the files."""
        set_seed(self._seed, device_specific=True)
        trainer = self._trainer
        trainer.train(resume_from_checkpoint=self._before and str(self._before))
        trainer.handover.close()
        trainer.accelerator.wait_for_everyone()
        if trainer.accelerator.is_main_process:
            self._write()
        trainer.accelerator.wait_for_everyone()
        self._own_scratch.cleanup()

    def _write(self) -> None:
        last_step, status = self._trainer.state.global_step, self._log.status
        saved = self._scratch / f"checkpoint-{last_step}"
        (saved / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self._log.rows))
        pack_checkpoint(saved, self._files.checkpoint)
        facts = {
            "schema_version": SCHEMA_VERSION,
            "status": status,
            "stopped_at": last_step if status != "running" else None,
            "asked": {"trainer_dtype": self._slice.trainer_dtype, "sampler_dtype": self._slice.sampler_dtype},
            "observed": self._observed,
            "config": self._slice.model_dump(mode="json"),
            **self._kept,
        }
        self._files.facts.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


def lora_config(slice: TrainSlice) -> LoraConfig:
    """PEFT's description of the adapter."""
    lora = slice.training.lora
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        use_rslora=lora.use_rslora,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )


def row_order(n_rows: int, seed: int, n_prompts: int) -> np.ndarray:
    """Row indices (n_prompts,) in the order in which a run sees them: a new permutation per epoch, drawn by seed.

    A longer run begins with the same rows as a shorter one.
    """
    n_epochs = math.ceil(n_prompts / n_rows)
    epochs = [np.random.default_rng([seed, epoch]).permutation(n_rows) for epoch in range(n_epochs)]
    return np.concatenate(epochs)[:n_prompts]


def segment_rows(path: Path, order: np.ndarray, done: int) -> tuple[dict[int, dict[str, str]], dict[str, Task]]:
    """Prompts by row number for a whole order, and the tasks, by row id, of the rows after the first `done` of it.

    The trainer skips the prompts that are done; their tasks, many times as big, are not needed.
    """
    shown, scored = set(order.tolist()), set(order[done:].tolist())
    prompts = dict(zip(sorted(shown), read_rows(path, TASKS, ["row_id", "prompt"], shown), strict=True))
    tasks = {row["row_id"]: task_of_row(row) for row in read_rows(path, TASKS, numbers=scored)}
    return prompts, tasks


def _prompts(slice: TrainSlice, steps: int) -> int:
    training = slice.training
    generations = math.ceil(steps * training.gradient_accumulation_steps / training.generation_cycle)
    return generations * training.prompts_per_generation
