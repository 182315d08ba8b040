"""What a run measured, a row per optimizer step, and whether it goes on."""

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from tqdm import tqdm
from transformers import TrainerCallback

from arc_precision.collapse.detection import detect, failed_step
from arc_precision.config.training import TrainSlice
from arc_precision.contracts.numbers import or_null
from arc_precision.contracts.steps import SCHEMA_VERSION
from arc_precision.training.checkpoint_files import SegmentFiles
from arc_precision.training.lr_drop import count_drops
from arc_precision.training.scoring import Scorer
from arc_precision.training.trainer import PrecisionTrainer, lora_b_facts, step_mismatch

DECIDING = ("step", "loss", "reward_mean", "truncated_share", "frac_reward_zero_std")  # whether a run goes on
# Measurements that each process of a data-parallel run makes of its own share. The trainer gathers the others.
OWN_SHARE = ("loss", "completion_tokens", "prompt_tokens", "truncated", "unique_token_share")


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
        # The scheduler uses its own numbers and ignores the optimizer's.
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
        state.log_history.clear()  # TRL's history would grow in every checkpoint; the rows above contain it
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


def _mean(values: list) -> float | None:
    return float(np.mean(values)) if values else None
