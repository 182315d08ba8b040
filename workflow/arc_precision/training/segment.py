"""One segment of a run: from one checkpoint to the next, a pure function of its inputs.

A segment ends through a callback at its last step; nothing in it depends on where the whole run ends. Not covered:
several nodes (one job runs on one machine, on one or more of its GPUs).
"""

import json
import math
import shutil
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, set_seed
from datasets import Dataset
from peft import LoraConfig
from tqdm import tqdm
from transformers import AutoTokenizer, PreTrainedModel, PrinterCallback, TrainerCallback

from arc_precision.collapse.detection import detect, failed_step
from arc_precision.config.training import TrainSlice
from arc_precision.contracts.numbers import or_null
from arc_precision.contracts.parquet import count_rows, read_rows
from arc_precision.contracts.steps import SCHEMA_VERSION, STEP, read_facts
from arc_precision.contracts.tasks import TASKS, task_of_row
from arc_precision.contracts.whole import DamagedFile, read_steps
from arc_precision.model.folder import check_trained, count_parameters, trained_files, weight_files
from arc_precision.sampling.engines import EngineMemory, make_sampler
from arc_precision.tasks.grids import Task
from arc_precision.training.base_model import load_base
from arc_precision.training.in_effect import check_in_effect, observe
from arc_precision.training.lr_drop import count_drops
from arc_precision.training.memory import check_fits
from arc_precision.training.runs_together import Together, sharing_weights
from arc_precision.training.scoring import Scored, Scorer
from arc_precision.training.torch_determinism import use_deterministic_algorithms
from arc_precision.training.trainer import PrecisionTrainer, grpo_config, lora_b_facts, step_mismatch

ALWAYS_SAVED = ("optimizer.pt", "scheduler.pt", "trainer_state.json", "steps.jsonl")
STATE_FILES = (*ALWAYS_SAVED, "scaler.pt", "rng_state.pth")
DECIDING = ("step", "loss", "reward_mean", "truncated_share", "frac_reward_zero_std")  # whether a run goes on
# What each process of a data-parallel run measures of its own share of a batch. The trainer gathers the rest.
OWN_SHARE = ("loss", "completion_tokens", "prompt_tokens", "truncated", "unique_token_share")


@dataclass(frozen=True)
class SegmentFiles:
    """Where a segment reads and writes.

    Checkpoint folders hold the adapter, or with full fine-tuning the model, and `trainer_state.tar`; the last also has
    the rows of all steps so far, as collapse is judged on the whole run.
    """

    train: Path
    model: Path
    previous: Path | None  # checkpoint folder of the segment before
    previous_facts: Path | None
    checkpoint: Path
    steps: Path
    timing: Path
    completions: Path
    facts: Path

    @classmethod
    def of_run(cls, folder: Path, start: int, stop: int, train: Path, model: Path) -> "SegmentFiles":
        """Those of the segment from step `start` (0: the first) to `stop`, in the folder of its run.

        They are those of `contracts.layout`, which is not imported: a new path of the report would retrain.
        """
        return cls(
            train=train,
            model=model,
            previous=folder / f"checkpoint-{start}" if start else None,
            previous_facts=folder / f"facts-{start}.json" if start else None,
            checkpoint=folder / f"checkpoint-{stop}",
            steps=folder / f"steps-{stop}.jsonl",
            timing=folder / f"timing-{stop}.jsonl",
            completions=folder / f"completions-{stop}.jsonl",
            facts=folder / f"facts-{stop}.json",
        )


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
        memory: what vLLM takes of the GPU's.
        kept: what was declared before the run, commit and versions, stored with the facts; it changes nothing.
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
            slice, self._trainer, self._scorer, files, start, stop, _read_steps(self._before, files, start)
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


def pass_on(files: SegmentFiles, before: dict[str, Any]) -> None:
    """A run that has stopped keeps its last checkpoint through the remaining segments, without any work."""
    files.checkpoint.mkdir(parents=True, exist_ok=True)
    for name in (*trained_files(files.previous), "trainer_state.tar"):
        shutil.copyfile(files.previous / name, files.checkpoint / name)
    files.steps.write_text("")
    files.timing.write_text("")
    files.completions.write_text("")
    files.facts.write_text(json.dumps(before, indent=1, sort_keys=True) + "\n")


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
    """Prompts by row number for a whole order, and the tasks, by row id, of what comes after the first `done` of it.

    Prompts that are done are counted off by the trainer; their tasks, many times as big, are not needed.
    """
    shown, scored = set(order.tolist()), set(order[done:].tolist())
    prompts = dict(zip(sorted(shown), read_rows(path, TASKS, ["row_id", "prompt"], shown), strict=True))
    tasks = {row["row_id"]: task_of_row(row) for row in read_rows(path, TASKS, numbers=scored)}
    return prompts, tasks


def _prompts(slice: TrainSlice, steps: int) -> int:
    training = slice.training
    generations = math.ceil(steps * training.gradient_accumulation_steps / training.generation_cycle)
    return generations * training.prompts_per_generation


class StepLog(TrainerCallback):
    """Writes a row per optimizer step, shows progress, and ends the segment at its last step or when the run stops."""

    def __init__(
        self,
        slice: TrainSlice,
        trainer: PrecisionTrainer,
        scorer: Scorer,
        files: SegmentFiles,
        start: int,
        stop: int,
        before: list[dict[str, Any]],
    ) -> None:
        self._slice = slice
        self._trainer = trainer
        self._scorer = scorer
        self._stop = stop
        self.rows = before
        self._applied = self.rows[-1]["applied_steps"] if self.rows else 0
        self._main = trainer.accelerator.is_main_process
        self._steps = open(files.steps, "w") if self._main else None
        self._timing = open(files.timing, "w") if self._main else None
        self._completions = open(files.completions, "w") if self._main else None
        self._bar = tqdm(initial=start, total=stop, desc="train", unit="step", disable=not self._main)
        self._scale = 0.0
        self.status = "running"

    def on_step_begin(self, args, state, control, optimizer=None, lr_scheduler=None, **kwargs):
        self._began_s = self._trainer.clock_s()
        scaler = self._trainer.accelerator.scaler
        self._scale = scaler.get_scale() if scaler is not None else None
        rule = self._slice.training.lr_drop
        factor = rule.factor ** count_drops(self.rows, rule) if rule else 1.0
        # The scheduler goes by its own numbers, whatever the optimizer has.
        for group, scheduled in zip(optimizer.param_groups, lr_scheduler.get_last_lr(), strict=True):
            group["lr"] = factor * scheduled
        self._learning_rate = optimizer.param_groups[0]["lr"]

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" not in logs:  # the summary that the trainer logs at its end
            return
        trainer = self._trainer
        measured, seconds = trainer.take()
        verdicts, n_solved, n_reused, rewards = self._scorer.take()
        measured |= {key: gather_object(measured[key]) for key in OWN_SHARE}
        verdicts, n_solved = sum(gather_object([verdicts]), Counter()), sum(gather_object([n_solved]))
        n_reused, rewards = sum(gather_object([n_reused])), gather_object(rewards)
        skipped = trainer.accelerator.optimizer_step_was_skipped
        self._applied += not skipped
        grad_norm = logs["grad_norm"]
        loss = float(np.mean(measured["loss"]))
        n = len(rewards)
        row = {
            "schema_version": SCHEMA_VERSION,
            "step": state.global_step,
            "applied_steps": self._applied,
            "loss": loss,
            "learning_rate": self._learning_rate,
            "reward_mean": logs.get("reward"),
            "reward_std": logs.get("reward_std"),
            "frac_reward_zero_std": _mean(measured["equal_rewards"]),
            "solved_share": n_solved / n if n else None,
            "valid_share": verdicts["ok"] / n if n else None,
            "completion_tokens_mean": _mean(measured["completion_tokens"]),
            "completion_tokens_max": max(measured["completion_tokens"], default=None),
            "truncated_share": _mean(measured["truncated"]),
            "unique_token_share": _mean(measured["unique_token_share"]),
            "grad_norm": grad_norm,
            "kl_base": logs.get("kl"),
            "entropy": logs.get("entropy"),
            "clip_ratio": logs.get("clip_ratio/region_mean"),
            "loss_scale": self._scale,
            "skipped": bool(skipped),
            "nonfinite": not math.isfinite(loss) or not math.isfinite(grad_norm),
            "verdicts": dict(sorted(verdicts.items())),
            "reused_share": n_reused / n if n else None,
            **lora_b_facts(trainer.model),
            **{f"mismatch/{name}": value for name, value in step_mismatch(measured["mismatch"]).items()},
        }
        row = {key: or_null(value) for key, value in row.items()}
        self.rows.append(row)
        if self._main:
            print(json.dumps(row), file=self._steps, flush=True)
            print(json.dumps(self._times(state.global_step, seconds, measured)), file=self._timing, flush=True)
            kept = [{key: or_null(value) for key, value in each.items()} for each in measured["kept"]]
            kept = {"schema_version": SCHEMA_VERSION, "step": state.global_step, "completions": kept}
            print(json.dumps(kept), file=self._completions, flush=True)
        self._bar.set_postfix(reward=f"{row['reward_mean']:.2f}" if row["reward_mean"] is not None else "-")
        self._bar.update(1)
        self._decide()

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self._stop:
            control.should_training_stop = control.should_save = True
        state.log_history.clear()  # it would grow in every checkpoint; the rows above have all of it
        return control

    def _decide(self) -> None:
        step, loss, *series = (np.array([row[key] for row in self.rows], dtype=float) for key in DECIDING)
        if failed_step(step, loss, self._slice) is not None:
            self.status = "failed"
        elif self._slice.collapse:
            if detect(step, *series, self._slice.collapse) is not None:
                self.status = "collapsed"
        if self.status != "running":
            self._trainer.control.should_training_stop = self._trainer.control.should_save = True

    def _times(self, step: int, seconds: dict[str, float], measured: dict[str, list]) -> dict[str, Any]:
        phases = ("generate_s", "sync_s", "reward_s", "logps_s", "loss_s", "backward_s")
        step_s = self._trainer.clock_s() - self._began_s
        cuda = torch.cuda.is_available() and self._slice.device == "cuda"
        return {
            "schema_version": SCHEMA_VERSION,
            "step": step,
            "step_s": round(step_s, 4),
            **{phase: round(seconds[phase], 4) for phase in phases},
            "other_s": round(step_s - sum(seconds.values()), 4),
            "prompt_tokens": sum(measured["prompt_tokens"]),
            "completion_tokens": sum(measured["completion_tokens"]),
            "peak_gpu_memory_mb": torch.cuda.max_memory_allocated() // 2**20 if cuda else None,
        }


def pack_checkpoint(folder: Path, checkpoint: Path) -> None:
    """The trainer's checkpoint as named files: what was trained, and all else it needs to go on in one archive."""
    checkpoint.mkdir(parents=True, exist_ok=True)
    for name in trained_files(folder):
        shutil.copyfile(folder / name, checkpoint / name)
    with tarfile.open(checkpoint / "trainer_state.tar", "w") as archive:
        for path in sorted(folder.iterdir()):
            if path.name in STATE_FILES or path.name.startswith("rng_state_"):
                archive.add(path, path.name, filter=_without_owner)


def check_checkpoint(folder: Path) -> None:
    """Whether a checkpoint is whole, before anything that takes time reads it.

    Raises:
        DamagedFile: a file of it is not.
    """
    check_trained(folder)
    state = folder / "trainer_state.tar"
    try:
        with tarfile.open(state) as archive:
            names = archive.getnames()
    except tarfile.TarError as error:
        raise DamagedFile(state, error) from None
    if missing := [name for name in ALWAYS_SAVED if name not in names]:
        raise DamagedFile(state, f"{missing[0]} is missing")


def unpack_checkpoint(checkpoint: Path, scratch: Path, step: int) -> Path:
    """The checkpoint in the trainer's own layout."""
    folder = scratch / f"checkpoint-{step}"
    with PartialState().main_process_first():
        if not folder.exists():
            folder.mkdir()
            for name in trained_files(checkpoint):
                shutil.copyfile(checkpoint / name, folder / name)
            with tarfile.open(checkpoint / "trainer_state.tar") as archive:
                for member in archive:  # `extractall` knows no safe filter before Python 3.11.4
                    with archive.extractfile(member) as source, open(folder / member.name, "wb") as target:
                        shutil.copyfileobj(source, target)
    return folder


def _without_owner(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime = info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def _read_steps(unpacked: Path | None, files: SegmentFiles, start: int) -> list[dict[str, Any]]:
    if not unpacked:
        return []
    try:
        return read_steps(unpacked / "steps.jsonl", SCHEMA_VERSION, STEP, range(1, start + 1))
    except (DamagedFile, FileNotFoundError) as error:
        raise DamagedFile(files.previous / "trainer_state.tar", error) from None


def _mean(values: list) -> float | None:
    return float(np.mean(values)) if values else None
