"""Train a few steps in a process of its own (vLLM allows one engine per process), with an optional fault put in.

    probe.py FOLDER SEEDS FIRST LAST SEGMENT [FAULT] [TRAINING]

SEEDS, such as `0` or `0,1,2`, train together, each in FOLDER/SEED. FAULT is `no_sync` (the sampler never sees an
update), `reused_id` (every adapter comes under one id), `all_cut` (every completion is cut, and masked out for it),
`half_cut` (those of the second of two passes are masked out) or `ends` (the run of seed 1 loses its reward at step 3
and stops for it, and that of seed 2 has weights of NaN after step 1). `watched` is no fault: TensorBoard's curves
are written.
TRAINING is JSON, laid over the section `training`. Started as several processes, they share the batch.
FOLDER/watchers.json: libraries of curves that were imported.
"""

import itertools
import json
import math
import os
import sys
from pathlib import Path

from accelerate import PartialState

from arc_precision.config.base import lay_over
from arc_precision.config.experiment import ExperimentConfig, load_experiment
from arc_precision.contracts.parquet import write_rows
from arc_precision.contracts.tasks import TASKS
from arc_precision.language.tokenizer import count_prompt_tokens, render_prompt
from arc_precision.sampling.engines import EngineMemory
from arc_precision.sampling.handover import AdapterHandover, WholeHandover
from arc_precision.sampling.vllm_sampler import VllmSampler
from arc_precision.tasks.generator import generate_task
from arc_precision.training.scoring import Scored, Scorer
from arc_precision.training.segment import SegmentFiles, run_segment
from arc_precision.training.trainer import PrecisionTrainer
from arc_precision.training.watching import reporting

WATCHERS = ("tensorboard", "tensorboardX", "torch.utils.tensorboard", "trackio", "wandb")
MODEL = Path(__file__).parents[2] / "resources" / "tiny-arc"


def reward_by_length(self, row_ids, completions):
    """A reward that differs between completions, so that every step has a gradient even with a useless model."""
    self.rewards += [float(len(text) % 7) for text in completions]
    return lambda: [Scored(float(len(text) % 7), "ok") for text in completions]


def task_rows(n_rows: int) -> list[dict]:
    rows, index = [], 0
    while len(rows) < n_rows:
        task = generate_task(7, index).task
        index += 1
        if count_prompt_tokens(task, 0) <= 192:
            pairs = [
                [{"input": p.input.tolist(), "output": p.output.tolist()} for p in ps] for ps in (task.train, task.test)
            ]
            rows.append(
                {
                    "row_id": task.task_id,
                    "task_id": task.task_id,
                    "source": "generated",
                    "train": pairs[0],
                    "test": pairs[1],
                    "test_index": 0,
                    "augmentation": None,
                    "prompt": render_prompt(task, 0),
                    "prompt_tokens": count_prompt_tokens(task, 0),
                    "canonical": task.task_id,
                    "seen_in_training": None,
                }
            )
    return rows


def first_alone(sync):
    """A handover's `sync` that does nothing after the first time."""
    times = itertools.count()
    return lambda self, model, step: sync(self, model, step) if next(times) == 0 else None


def end_runs() -> None:
    give_rewards, compute_loss = PrecisionTrainer._rewards, PrecisionTrainer._compute_loss

    def rewards(self, prompts, completions, **columns):
        given = give_rewards(self, prompts, completions, **columns)
        if self.run_seed == 1:  # what all gain alike changes no gradient
            given = [0.0 if self.state.global_step >= 2 else reward + 10 for reward in given]
        return given

    def loss(self, model, inputs):
        return compute_loss(self, model, inputs) * (math.nan if self.run_seed == 2 else 1)

    PrecisionTrainer._rewards, PrecisionTrainer._compute_loss = rewards, loss


def main() -> None:
    folder, seeds = Path(sys.argv[1]), [int(seed) for seed in sys.argv[2].split(",")]
    first, last, segment = map(int, sys.argv[3:6])
    fault = [argument for argument in sys.argv[6:] if not argument.startswith("{")]
    training = [json.loads(argument) for argument in sys.argv[6:] if argument.startswith("{")]
    folder.mkdir(parents=True, exist_ok=True)
    Scorer.start = reward_by_length
    if fault == ["no_sync"]:
        for kind in (AdapterHandover, WholeHandover):
            kind.sync = first_alone(kind.sync)
    if fault == ["reused_id"]:
        load = VllmSampler.load_adapter

        def load_under_one_id(self, path, slot=0):
            self._adapters, self._n_loaded = {}, 0
            load(self, path, slot)

        VllmSampler.load_adapter = load_under_one_id
    if fault == ["half_cut"]:
        compute_loss, passes = PrecisionTrainer._compute_loss, itertools.count()

        def compute_loss_of_first(self, model, inputs):
            mask = inputs["completion_mask"] * (next(passes) % 2 == 0)
            return compute_loss(self, model, inputs | {"completion_mask": mask})

        PrecisionTrainer._compute_loss = compute_loss_of_first
    if fault == ["ends"]:
        end_runs()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    changes = {
        "max_steps": last,
        "training": {
            "segment_steps": segment,
            "learning_rate": 0.005,
            "max_grad_norm": 1.0,
            "loss_type": "grpo",  # does not depend on how a batch is split
            "per_device_train_batch_size": 8 // processes,
            "processes": processes,
            "gradient_accumulation_steps": 2 if fault == ["half_cut"] else 1,
            "mask_truncated_completions": fault == ["all_cut"],
        },
        "sampling": {"max_completion_tokens": 2 if fault == ["all_cut"] else 16},
        "data": {"max_prompt_tokens": 192},
        "evaluation": {"every": segment},
        "audit": {"every": segment},
    }
    if fault == ["ends"]:
        soon = {"smoothing_steps": 2, "patience_steps": 1, "min_steps": 2, "nonfinite_steps": 1}
        few = {"min_drop_standard_errors": 0, "truncation_share": 0.999, "zero_variance_share": 0.999}
        changes["collapse"] = soon | few | {"early_stop": True}
    for own in training:
        changes = lay_over(changes, {"training": own})
    slice = load_experiment(lay_over(ExperimentConfig().model_dump(mode="json"), changes)).train_slice("float32")
    for seed in seeds:
        (folder / str(seed)).mkdir(exist_ok=True)
    rows = folder / "rows.parquet"
    if os.environ.get("RANK", "0") == "0":
        write_rows(rows, TASKS, [task_rows(12)])
    PartialState(cpu=True).wait_for_everyone()
    watch = "tensorboard" if fault == ["watched"] else "none"
    for start in range(first, last, segment):
        files = [SegmentFiles.of_run(folder / str(seed), start, start + segment, rows, MODEL) for seed in seeds]
        curves = [reporting(watch, folder / "results/tiny/runs/float32" / f"seed-{seed}") for seed in seeds]
        run_segment(
            slice, seeds, start, start + segment, files, 1, EngineMemory(0.3), kept={"declared": {}}, reporting=curves
        )
    (folder / "watchers.json").write_text(json.dumps([name for name in WATCHERS if name in sys.modules]))


if __name__ == "__main__":
    main()
