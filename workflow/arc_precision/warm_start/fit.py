"""The fine-tuning itself: TRL's SFTTrainer, and the folder that it leaves."""

import json
import shutil
import time
from pathlib import Path
from random import Random

import numpy as np
import torch
import transformers
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from arc_precision.config.warm_start import WarmStartConfig, WarmStartSlice
from arc_precision.model.folder import tokenizer_files, write_checksums
from arc_precision.warm_start.batches import Collator, in_batches, plan_batches
from arc_precision.warm_start.examples import Example, make_examples

LOGGED = ("step", "loss", "mean_token_accuracy", "grad_norm", "learning_rate")
"""Keys of a line of the log: means since the line before, over the completions' tokens."""


def warm_start(slice: WarmStartSlice, source: Path, workers: int, folder: Path, checkpoints: Path, log: Path) -> None:
    """Fine-tune the model of a folder, and leave another folder with it.

    `folder` gets the weights in bfloat16, the tokenizer's files as they are, `metrics.json` and `SHA256SUMS`. Weights
    and optimizer are in float32; on CUDA the layers compute in bfloat16.

    Args:
        slice: The settings behind the result.
        source: Folder of the model to start from.
        workers: Processes that make examples.
        folder: Folder to write.
        checkpoints: Folder for checkpoints of this very run; it goes on from the newest one there.
        log: JSON Lines to write: one object per `log_every` steps, losses in nats per token.

    Raises:
        ValueError: as `make_examples`, or the longest example is longer than the model's context.
    """
    started = time.monotonic()
    section = slice.warm_start
    tokenizer = AutoTokenizer.from_pretrained(source)
    examples, dropped = make_examples(slice, tokenizer, workers)
    prepared = time.monotonic()
    learnt, held_out = _split(examples, section)
    lengths = [len(example.ids) for example in examples]
    batches = plan_batches([lengths[i] for i in learnt], section.batch_tokens, section.steps, section.seed)
    rows = Dataset.from_dict({"examples": [[learnt[i] for i in batch] for batch in batches]})
    held_out_rows = Dataset.from_dict({"examples": in_batches(held_out, lengths, section.batch_tokens)})

    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    if max(lengths) > (context := model.config.max_position_embeddings):
        raise ValueError(
            f"warm_start: an example has {max(lengths)} tokens, and the model reads {context}; lower "
            "max_prompt_tokens or max_completion_tokens"
        )
    trainer = SFTTrainer(
        model=model,
        args=_arguments(slice, checkpoints),
        train_dataset=rows,
        eval_dataset=held_out_rows,
        processing_class=tokenizer,
        data_collator=Collator(examples, tokenizer.eos_token_id),
    )
    result = trainer.train(resume_from_checkpoint=_newest(checkpoints))
    after = trainer.evaluate()
    history = [{key: line[key] for key in LOGGED} for line in trainer.state.log_history if "loss" in line]
    log.write_text("".join(json.dumps(line) + "\n" for line in history))

    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="1TB")
    for file in tokenizer_files(source):
        shutil.copy(file, folder)
    metrics = {
        "parameters": model.num_parameters(),
        "device": torch.cuda.get_device_name() if slice.device == "cuda" else "cpu",
        "versions": {module.__name__: module.__version__ for module in (torch, transformers, trl)},
        "tasks": len(examples),
        "dropped": vars(dropped),
        "held_out_tasks": len(held_out),
        "prompt_tokens": _spread([example.n_prompt for example in examples]),
        "completion_tokens": _spread([len(example.ids) - example.n_prompt for example in examples]),
        "steps": trainer.state.global_step,
        "passes": sum(map(len, batches)) / len(learnt),
        "loss_first": history[0]["loss"],
        "loss_last": history[-1]["loss"],
        "held_out_loss": after["eval_loss"],
        "held_out_token_accuracy": after["eval_mean_token_accuracy"],
        # After a kill this covers the last start alone.
        "seconds_preparing": round(prepared - started, 1),
        "seconds_training": round(result.metrics["train_runtime"], 1),
        "seconds": round(time.monotonic() - started, 1),
    }
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    write_checksums(folder)


def _split(examples: list[Example], section: WarmStartConfig) -> tuple[list[int], list[int]]:
    """Indices of the examples that are learnt from, and of those held out."""
    held_out = set(Random(section.seed).sample(range(len(examples)), section.held_out_tasks))
    return [i for i in range(len(examples)) if i not in held_out], sorted(held_out)


def _arguments(slice: WarmStartSlice, checkpoints: Path) -> SFTConfig:
    section = slice.warm_start
    return SFTConfig(
        output_dir=str(checkpoints),
        seed=section.seed,
        max_steps=section.steps,
        # A row of the data set is the whole batch of one step, and the rows come in the order of the steps.
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        learning_rate=section.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=section.warmup_steps,
        weight_decay=section.weight_decay,
        adam_beta2=0.95,
        bf16=slice.device == "cuda",
        use_cpu=slice.device == "cpu",
        gradient_checkpointing=False,
        logging_steps=section.log_every,
        logging_first_step=True,
        save_steps=section.checkpoint_every,
        save_total_limit=1,
        report_to="none",
        disable_tqdm=True,
    )


def _newest(checkpoints: Path) -> str | None:
    """The last whole checkpoint. The trainer writes its state last, so a checkpoint with a state is whole."""
    whole = [path.parent for path in checkpoints.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None


def _spread(tokens: list[int]) -> dict[str, float]:
    return {
        "mean": round(float(np.mean(tokens)), 1),
        "median": float(np.median(tokens)),
        "p95": float(np.percentile(tokens, 95)),
        "max": max(tokens),
    }
