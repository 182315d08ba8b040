"""steps-<stop>.jsonl and timing-<stop>.jsonl: one row per optimizer step of the segment that ends at step `stop`.

Every key of `STEP` is in every row, and so is every key of `arc_precision.mismatch.metrics.mismatch_metrics` with
`mismatch/` before it. What was not computed is null; what is not finite is null and counted.
"""

SCHEMA_VERSION = 1

STEP = {
    "schema_version": "Version of this contract.",
    "step": "Optimizer step, from 1.",
    "applied_steps": "Steps whose update was applied: step minus the skipped ones so far.",
    "loss": "Loss, mean over the passes of the step.",
    "learning_rate": "Learning rate of this step.",
    "reward_mean": "Mean reward of the completions.",
    "reward_std": "Standard deviation of the rewards over all completions.",
    "frac_reward_zero_std": "Share of groups whose rewards are all equal, whatever the rewards are scaled by.",
    "solved_share": "Share of completions whose program is right on every grid.",
    "valid_share": "Share of completions whose program ran and gave valid grids.",
    "completion_tokens_mean": "Mean length of the completions, in tokens.",
    "completion_tokens_max": "Longest completion, in tokens.",
    "truncated_share": "Share of completions cut at max_completion_tokens.",
    "unique_token_share": "Distinct tokens over tokens, mean over completions; low when a completion repeats itself.",
    "grad_norm": "Norm of the gradient before clipping, after unscaling; null where it is not finite.",
    "kl_base": "k3 estimate of the KL to the base model, per token, in nats; null with beta 0 or if no token counts.",
    "entropy": "Mean entropy of the policy at the sampled positions, in nats; null if no token counts.",
    "clip_ratio": "Share of tokens whose policy ratio was clipped; null if no token counts or the loss does not clip.",
    "loss_scale": "float16's loss scale; null in other dtypes.",
    "skipped": "True when the update was skipped because of an overflow.",
    "nonfinite": "True when loss or gradient norm is not finite.",
    "verdicts": "Counts of the sandbox's verdicts.",
    "reused_share": "Share of completions whose program did not run: an equal one ran in their batch, on equal inputs.",
    "lora_b_median_abs": "Median of |B| over the adapter's non-zero B entries.",
    "lora_b_subnormal_share": "Share of non-zero B entries below float16's smallest normal number, 6.1e-5.",
}

TIMING = {
    "schema_version": "Version of this contract.",
    "step": "Optimizer step.",
    "step_s": "Wall time of the whole step.",
    "generate_s": "Drawing completions.",
    "sync_s": "Handing the adapter to the sampler.",
    "reward_s": "Running programs.",
    "logps_s": "Forward passes outside the loss: reference, and old policy with the correction on.",
    "loss_s": "Forward pass of the policy and the loss.",
    "backward_s": "Backward pass.",
    "other_s": "The rest: optimizer, logging.",
    "prompt_tokens": "Tokens of the step's prompts, each prompt counted once per completion.",
    "completion_tokens": "Tokens of the step's completions.",
    "peak_gpu_memory_mb": "Most GPU memory that PyTorch held so far; null on a CPU.",
}
