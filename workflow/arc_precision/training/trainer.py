"""TRL's GRPOTrainer with our own sampler, our own log-probs, and the mismatch measured at every step.

TRL 1.16 builds its own vLLM engine without a dtype and merges the adapter into it. Here the sampler is built outside
and reaches TRL through TRL's extension point `rollout_func`. TRL then treats it like its own engine,
importance-sampling correction included.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from arc_precision.config.training import TrainSlice
from arc_precision.mismatch.metrics import mismatch_metrics
from arc_precision.sampling.engines import Sampler, completion_seed
from arc_precision.sampling.handover import AdapterHandover, WholeHandover
from arc_precision.training.half_products import Float32Products
from arc_precision.training.shared_prompt import (
    compile_layers,
    shared_prompt_logps,
    transformers_model,
    use_shared_prompt,
)

# Below this float16 is subnormal and loses bits; below 2^-17 it has fewer significand bits than bfloat16.
FLOAT16_SMALLEST_NORMAL = float(torch.finfo(torch.float16).smallest_normal)
# Means over a pass's tokens that TRL records, and that a run keeps.
TOKEN_MEANS = {"kl", "entropy", "clip_ratio/region_mean"}


class PrecisionTrainer(GRPOTrainer):
    """GRPO on one GPU or CPU process, or data-parallel over several.

    Args:
        slice: the slice of the arm.
        seed: the run's seed: order of the prompts and sampling.
        sampler: draws the completions.
        score: starts running the programs of a batch, given row ids and completions' texts; returns a function that
            waits for their rewards.
        clock_s: seconds by which phases are timed.

    After every optimizer step `measured` and `seconds` hold its measurements; `take()` returns and clears both.
    """

    def __init__(
        self,
        slice: TrainSlice,
        seed: int,
        sampler: Sampler,
        score: Callable[[list[str], list[str]], Callable[[], Sequence[float]]],
        clock_s: Callable[[], float] = time.perf_counter,
        **kwargs,
    ) -> None:
        self.slice = slice
        self.run_seed = seed
        self.sampler = sampler
        self.handover = (
            AdapterHandover(sampler, slice.sampling.weight_noise, seed)
            if slice.training.merged is False
            else WholeHandover(sampler)
        )
        self._score = score
        self.clock_s = clock_s
        self._row_ids: list[str] = []
        self._truncated: list[bool] = []
        self._pending: Callable[[], Sequence[float]] | None = None
        self._kept: dict[int, dict[str, Any]] = {}  # by place in the batch, until the loss has used them
        self._policy: torch.Tensor | None = None
        self.measured: dict[str, list] = defaultdict(list)
        self.seconds: dict[str, float] = defaultdict(float)
        super().__init__(reward_funcs=[self._rewards], rollout_func=self._rollout, **kwargs)
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # over a base in 4 bits TRL makes it bfloat16
        # Full fine-tuning with a KL needs a second model as reference.
        models = [self.model, *([self.ref_model] if self.ref_model else [])]
        if slice.training.head_dtype == "float32":
            # TRL's own option copies the weights, and fails if the head shares them with the embedding. This head casts
            # them during the product, to the same values.
            for each in models:
                add_fused_lm_head(
                    transformers_model(each),
                    temperature=self.temperature,
                    cast_lm_head_to_fp32=True,
                    outputs=("log_probs", "entropy"),
                )
        if slice.training.shared_prompt:
            for each in models:
                use_shared_prompt(each, autocast=slice.trainer_dtype != "float32")
        if slice.training.compile_layers:
            compile_layers(self.model)
        # From here on TRL treats our sampler as its own: it corrects, and it syncs whenever the weights have changed.
        self.use_vllm = True
        self.vllm_generation = self
        self._last_loaded_step = -1
        self._products = nullcontext()
        if slice.trainer_dtype == "float16" and slice.device == "cpu":
            self._products = Float32Products()
        if slice.trainer_dtype == "float16":
            # accelerate makes no scaler on a CPU, and its own cannot be given an interval there.
            self.accelerator.native_amp = True
            self.accelerator.scaler = torch.amp.GradScaler(
                self.accelerator.device.type,
                init_scale=slice.training.loss_scale.init_scale,
                growth_interval=slice.training.loss_scale.growth_interval,
            )

    def take(self) -> tuple[dict[str, list], dict[str, float]]:
        """The measurements since the last call: lists of values per pass, and seconds per phase."""
        measured, seconds = self.measured, self.seconds
        self.measured, self.seconds = defaultdict(list), defaultdict(float)
        return measured, seconds

    def sync_weights(self) -> None:
        """Called by TRL before it draws with changed weights."""
        start = self.clock_s()
        self.handover.sync(self.accelerator.unwrap_model(self.model), self.state.global_step)
        self.seconds["sync_s"] += self.clock_s() - start

    def _generate_and_score_completions(self, inputs):
        self._row_ids = [row["row_id"] for row in inputs]
        batch = super()._generate_and_score_completions(inputs)
        batch["place"] = torch.arange(len(inputs))  # TRL shuffles a batch and splits it into passes
        if self.slice.training.mask_truncated_completions:
            # TRL would look for an end token at the end, which a completion with a stop string lacks.
            kept = torch.tensor([not cut for cut in self._truncated], device=batch["completion_mask"].device)
            batch["completion_mask"] = batch["completion_mask"] * kept.unsqueeze(1)
            batch["num_items_in_batch"] = self.accelerator.gather(batch["completion_mask"].sum()).sum()
        if self.slice.training.correction == "sequence_geometric_mask":
            batch["importance_sampling_ratio"] = geometric_mask(
                batch["old_per_token_logps"],
                batch["sampling_per_token_logps"],
                batch["completion_mask"],
                self.slice.training.correction_min or 0.0,
                self.slice.training.correction_max or math.inf,
            )
        return batch

    def _rollout(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, list]:
        start = self.clock_s()
        prompt_ids = self.processing_class(prompts, add_special_tokens=False)["input_ids"]
        first = self.accelerator.process_index * len(prompts)
        # Passes of one step that draw anew draw with other seeds. `_step` is TRL's count of passes.
        step, number = self.state.global_step, self._step % self.slice.training.gradient_accumulation_steps
        seeds = [completion_seed(self.run_seed, step, number, first + row) for row in range(len(prompts))]
        completions = self.sampler.generate(prompt_ids, seeds)
        self.seconds["generate_s"] += self.clock_s() - start
        token_ids = [completion.token_ids for completion in completions]
        texts = self.processing_class.batch_decode(token_ids, skip_special_tokens=True)
        # Programs run while the log-probs are computed; `_rewards` waits for them.
        self._pending = self._score(self._row_ids, texts)
        self.measured["completion_tokens"] += [len(ids) for ids in token_ids]
        self.measured["prompt_tokens"] += [len(ids) for ids in prompt_ids]
        self._truncated = [completion.truncated for completion in completions]
        self.measured["truncated"] += self._truncated
        self.measured["unique_token_share"] += [len(set(ids)) / len(ids) for ids in token_ids]
        group, n_kept = self.slice.training.num_generations, self.slice.training.kept_completions
        places = sorted(range(len(texts)), key=lambda place: (place % group, place))[:n_kept]
        self._kept = {
            place: {
                "row_id": self._row_ids[place],
                "text": texts[place],
                "tokens": len(token_ids[place]),
                "truncated": completions[place].truncated,
                "sampler_logp_mean": float(np.mean(completions[place].logprobs)),
            }
            for place in places
        }
        return {
            "prompt_ids": prompt_ids,
            "completion_ids": token_ids,
            "logprobs": [completion.logprobs for completion in completions],
        }

    def _rewards(self, prompts, completions, **columns) -> list[float]:
        start = self.clock_s()
        scored = self._pending()
        rewards = list(map(float, scored))
        for place, kept in self._kept.items():
            kept |= {"reward": rewards[place], "verdict": getattr(scored[place], "verdict", None)}
        # A group may lie across processes.
        groups = np.reshape(gather_object(rewards), (-1, self.slice.training.num_generations))
        self.measured["equal_rewards"] += (np.ptp(groups, axis=1) == 0).tolist()
        self.seconds["reward_s"] += self.clock_s() - start
        return rewards

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, compute_entropy=False, **unused
    ):
        """Log-probs (B, T) and entropies (B, T) of the completion tokens, the prompt of a group computed once.

        TRL calls this for the reference and the old policy (no gradient) and for the policy inside the loss.
        """
        start = self.clock_s()
        if self.slice.training.shared_prompt:
            with self.accelerator.autocast():
                result = *shared_prompt_logps(model, input_ids, attention_mask, logits_to_keep), None
        else:
            result = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **unused
            )
        if torch.is_grad_enabled():
            self._policy = result[0].detach()
        else:
            self.seconds["logps_s"] += self.clock_s() - start
        return result

    def _compute_loss(self, model, inputs):
        start = self.clock_s()
        loss = super()._compute_loss(model, inputs)
        # TRL has divided the loss by the passes of a step; the loss of the step is the mean over passes.
        self.measured["loss"].append(loss.detach().float().item() * self.current_gradient_accumulation_steps)
        # TRL hides masked completions from attention as well, so their log-probs belong to another context.
        parts = [self._policy, inputs["sampling_per_token_logps"], inputs["completion_mask"]]
        for row, place in enumerate(inputs["place"].tolist()):
            if place in self._kept:
                trainer, sampler, mask = (part[row].double() for part in parts)
                log_ratio = ((trainer - sampler) * mask).sum().item() if mask.any() else None
                self.measured["kept"].append(self._kept.pop(place) | {"log_ratio": log_ratio})
        padded = [self.accelerator.pad_across_processes(part.contiguous(), dim=1) for part in parts]
        gathered = [self.accelerator.gather(part).cpu().numpy() for part in padded]
        self.measured["mismatch"].append(gathered)
        if not gathered[-1].any():
            # Without tokens TRL's means are 0. NaN instead is left out of the mean over a step's passes.
            for name in TOKEN_MEANS & self._metrics["train"].keys():
                self._metrics["train"][name][-1] = math.nan
        self._policy = None
        self.seconds["loss_s"] += self.clock_s() - start
        return loss

    def training_step(self, model, inputs, num_items_in_batch):
        with self._products:
            return self._timed_step(model, inputs, num_items_in_batch)

    def _timed_step(self, model, inputs, num_items_in_batch):
        start, before = self.clock_s(), sum(self.seconds.values())
        loss = super().training_step(model, inputs, num_items_in_batch)
        # Everything inside a training step that no other phase has claimed is the backward pass.
        claimed = sum(self.seconds.values()) - before
        self.seconds["backward_s"] += self.clock_s() - start - claimed
        return loss


def geometric_mask(
    trainer: torch.Tensor, sampler: torch.Tensor, mask: torch.Tensor, lowest: float, highest: float
) -> torch.Tensor:
    """1 where the geometric mean of a sequence's token ratios lies within the bounds, else 0, shape (B, 1).

    Args:
        trainer, sampler: log-probs (B, T) of the same tokens.
        mask: (B, T), 1 for the tokens that count.
    """
    difference = torch.nan_to_num(trainer - sampler, nan=0.0) * mask
    mean = difference.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    return ((mean.exp() >= lowest) & (mean.exp() <= highest)).to(trainer.dtype)


def step_mismatch(passes: list[list[np.ndarray]]) -> dict[str, float]:
    """Mismatch metrics over all passes of a step: each has log-probs of trainer and sampler and a mask, (B, T)."""
    width = max(mask.shape[1] for _, _, mask in passes)

    def stack(index: int) -> np.ndarray:
        return np.concatenate([np.pad(part[index], ((0, 0), (0, width - part[index].shape[1]))) for part in passes])

    return mismatch_metrics(stack(0), stack(1), stack(2))


def lora_b_facts(model) -> dict[str, float | None]:
    """Over the non-zero entries of B: the median of |B|, and the share below float16's smallest normal; null without
    any."""
    entries = [p.detach().abs().flatten() for name, p in model.named_parameters() if "lora_B" in name]
    values = torch.cat(entries) if entries else torch.empty(0)
    values = values[values > 0]
    if not len(values):
        return {"lora_b_median_abs": None, "lora_b_subnormal_share": None}
    share = (values < FLOAT16_SMALLEST_NORMAL).float().mean()
    return {"lora_b_median_abs": values.median().item(), "lora_b_subnormal_share": share.item()}


# TRL has no geometric mask: its own correction computes the old log-probs, and the ratios are replaced.
TRL_MODES = {"off": "sequence_mask", "sequence_geometric_mask": "sequence_mask"}


def grpo_config(slice: TrainSlice, seed: int, stop: int, output_dir: str, **reporting: Any) -> GRPOConfig:
    """TRL's arguments for a segment that ends at step `stop`."""
    training, sampling = slice.training, slice.sampling
    return GRPOConfig(
        output_dir=output_dir,
        seed=seed,
        max_steps=training.schedule_steps or stop,
        learning_rate=training.learning_rate,
        warmup_steps=training.warmup_steps,
        lr_scheduler_type=training.lr_scheduler_type,
        optim=training.optim,
        weight_decay=training.weight_decay,
        adam_beta1=training.adam_beta1,
        adam_beta2=training.adam_beta2,
        adam_epsilon=training.adam_epsilon,
        max_grad_norm=training.max_grad_norm,
        per_device_train_batch_size=training.per_device_train_batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        steps_per_generation=training.steps_per_generation,
        num_iterations=training.num_iterations,
        num_generations=training.num_generations,
        beta=training.beta,
        use_bias_correction_kl=training.use_bias_correction_kl,
        epsilon=training.epsilon,
        epsilon_high=training.epsilon_high,
        loss_type=training.loss_type,
        scale_rewards=training.scale_rewards,
        importance_sampling_level=training.importance_sampling_level,
        mask_truncated_completions=False,  # PrecisionTrainer does it
        vllm_importance_sampling_correction=training.correction != "off",
        vllm_importance_sampling_mode=TRL_MODES.get(training.correction, training.correction),
        vllm_importance_sampling_clip_max=math.inf if training.correction_max is None else training.correction_max,
        vllm_importance_sampling_clip_min=training.correction_min,
        off_policy_mask_threshold=training.off_policy_mask_threshold,
        delta=training.delta,
        max_completion_length=sampling.max_completion_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        repetition_penalty=sampling.repetition_penalty,
        gradient_checkpointing=training.gradient_checkpointing,
        fp16=slice.trainer_dtype == "float16",
        bf16=slice.trainer_dtype == "bfloat16",
        use_cpu=slice.device == "cpu",
        shuffle_dataset=False,  # the rows come in the run's order
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",  # the segment's last step is saved by hand
        **{"report_to": [], **reporting},
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=slice.device == "cuda",
    )
