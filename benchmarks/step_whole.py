"""A whole GRPO step with vLLM in the same process, phase by phase: unmodified TRL beside the trainer of this project.

    python benchmarks/step_whole.py --shape 8b --device cuda --dtypes bfloat16 float16 --cases 4000x1024 6000x350 \
        --sides trl shared --output benchmarks/results/step-whole-h200.json
    python benchmarks/step_whole.py --shape tiny --device cpu --dtypes bfloat16 --cases 384x48 --sides padded shared \
        --output ...

Sides:
    trl      GRPOTrainer with its own colocated vLLM (which cannot take its weight sync on a CPU)
    padded   PrecisionTrainer with `shared_prompt: false`
    shared   PrecisionTrainer with `shared_prompt: true`
    +merge   after `shared`: `sync: merge`, vLLM decodes without an adapter
    +compile after `shared`: decoder layers compiled
    +seeds4  after `shared`: four seeds in one process, over one engine; a step is one of all four

vLLM allows one engine per process, so every side and dtype is a process of its own, on the same saved model with random
weights and the same prompts: one prompt and eight completions a step, LoRA r=1 on every linear layer, KL to the base.
The seconds of a phase end with a synchronized device. The first step of each case warms up. With four seeds a step
lasts from one drawing to the next; its phases are vLLM's, `engine_s`, and the rest.
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import torch
from datasets import Dataset
from origin import origin
from peft import LoraConfig
from shapes import SHAPES
from step import PACKAGES, clock
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer

from arc_precision.config.sampling import SamplingConfig
from arc_precision.config.sandbox import SandboxConfig
from arc_precision.config.training import LoraSettings, TrainingConfig, TrainSlice
from arc_precision.sampling.engines import EngineMemory, make_sampler
from arc_precision.training.runs_together import Together, sharing_weights
from arc_precision.training.trainer import PrecisionTrainer, grpo_config

SEED, GENERATIONS, BETA, LEARNING_RATE = 0, 8, 0.001, 4e-6
SIDES = ("trl", "padded", "shared", "shared+merge", "shared+compile", "shared+merge+compile", "shared+seeds4")
PHASES = ("engine_s", "generate_s", "sync_s", "logps_s", "policy_s", "backward_s")


class Timed:
    """Mixed into a GRPOTrainer: seconds of each phase since `seconds` was last emptied."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seconds_of = defaultdict(float)
        self.drawn_tokens = []
        self.vllm_generation.sync_weights = self._timed("sync_s", self.vllm_generation.sync_weights)
        self._generate = self._timed("generate_s", self._generate)
        self.accelerator.backward = self._timed("backward_s", self.accelerator.backward)

    def _timed(self, phase: str, work):
        def timed(*args, **kwargs):
            start, inside = clock(self.accelerator.device.type), sum(self.seconds_of.values())
            result = work(*args, **kwargs)
            inside = sum(self.seconds_of.values()) - inside
            self.seconds_of[phase] += clock(self.accelerator.device.type) - start - inside
            return result

        return timed

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        phase = "policy_s" if torch.is_grad_enabled() else "logps_s"
        return self._timed(phase, super()._get_per_token_logps_and_entropies)(*args, **kwargs)

    def _compute_loss(self, model, inputs):
        self.drawn_tokens = inputs["completion_mask"].sum(1).tolist()
        return super()._compute_loss(model, inputs)


class TimedTrl(Timed, GRPOTrainer):
    def set_completion_tokens(self, n: int) -> None:
        self.vllm_generation.max_completion_length = n


class TimedPrecision(Timed, PrecisionTrainer):
    def __init__(self, config, seed, sampler, engine, **kwargs):
        self.engine = engine  # of all seeds; `sampler` belongs to one seed
        super().__init__(config, seed, sampler, lambda row_ids, texts: lambda: alternating_rewards(texts), **kwargs)

    def set_completion_tokens(self, n: int) -> None:
        self.engine._sampling = self.engine._sampling.model_copy(update={"max_completion_tokens": n})


class Stopwatch(TrainerCallback):
    """One record per step; before each, the completion length of the step's case is set."""

    def __init__(self, trainer: Timed, schedule: list[tuple[str, int]]):
        self.trainer, self.schedule, self.records = trainer, schedule, []
        self.device = trainer.accelerator.device.type

    def on_step_begin(self, args, state, control, **kwargs):
        self.trainer.set_completion_tokens(self.schedule[state.global_step][1])
        self.trainer.seconds_of.clear()
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self.start = clock(self.device)

    def on_step_end(self, args, state, control, **kwargs):
        seconds = {"step_s": clock(self.device) - self.start, **self.trainer.seconds_of}
        peak_gb = torch.cuda.max_memory_allocated() / 1e9 if self.device == "cuda" else None
        tokens = self.trainer.drawn_tokens
        self.records.append(
            {"case": self.schedule[state.global_step - 1][0], "tokens": tokens, **seconds, "peak": peak_gb}
        )


class Rounds:
    """One record per step of all seeds: from one drawing of their completions to the next."""

    def __init__(self, trainers: list[TimedPrecision], engine, schedule: list[tuple[str, int]]):
        self.schedule, self.device, self.began, self.engine_s = schedule, trainers[0].accelerator.device.type, [], []
        self.draw, engine.generate = engine.generate, self.generate
        for trainer in trainers:
            trainer.add_callback(Lengths(trainer, schedule))

    def generate(self, *args):
        self.began.append(clock(self.device))
        completions = self.draw(*args)
        self.engine_s.append(clock(self.device) - self.began[-1])
        self.tokens = [len(completion.token_ids) for completion in completions]
        return completions

    def records(self) -> list[dict]:
        peak_gb = torch.cuda.max_memory_allocated() / 1e9 if self.device == "cuda" else None
        ends = [*self.began[1:], clock(self.device)]
        return [
            {"case": case, "tokens": self.tokens, "step_s": end - began, "engine_s": engine_s, "peak": peak_gb}
            for (case, _), began, end, engine_s in zip(self.schedule, self.began, ends, self.engine_s, strict=True)
        ]


class Lengths(TrainerCallback):
    def __init__(self, trainer: Timed, schedule: list[tuple[str, int]]):
        self.trainer, self.schedule = trainer, schedule

    def on_step_begin(self, args, state, control, **kwargs):
        self.trainer.set_completion_tokens(self.schedule[state.global_step][1])


def save_model(folder: Path, shape: dict, device: str, dtype: torch.dtype) -> None:
    """Random weights, and a tokenizer in which the word `7` is token 7."""
    torch.manual_seed(SEED)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = LlamaForCausalLM(LlamaConfig(**shape, bos_token_id=None, eos_token_id=0, pad_token_id=1))
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    vocabulary = {"<end>": 0, "<pad>": 1} | {str(i): i for i in range(2, shape["vocab_size"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>").save_pretrained(folder)


def alternating_rewards(completions, **columns) -> list[float]:
    return [float(i % 2) for i in range(len(completions))]


def run_side(args: argparse.Namespace, side: str, dtype: str, folder: Path) -> list[dict]:
    cases = [(text, *map(int, text.split("x"))) for text in args.cases]
    schedule = [(text, n_completion) for text, _, n_completion in cases for _ in range(args.repeats + 1)]
    max_prompt, max_completion = (max(case[i] for case in cases) for i in (1, 2))
    generator = torch.Generator().manual_seed(SEED)
    vocabulary = SHAPES[args.shape]["vocab_size"]
    prompts = [
        " ".join(map(str, torch.randint(2, vocabulary, (n_prompt,), generator=generator).tolist()))
        for _, n_prompt, _ in cases
        for _ in range(args.repeats + 1)
    ]
    dataset = Dataset.from_dict({"prompt": prompts, "row_id": [str(i) for i in range(len(prompts))]})
    lora = LoraConfig(r=1, lora_alpha=64, use_rslora=True, target_modules="all-linear", task_type="CAUSAL_LM")
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        common = dict(train_dataset=dataset, processing_class=tokenizer, peft_config=lora)
        n_seeds = 4 if "seeds4" in side else 1
        if side == "trl":
            grpo = GRPOConfig(
                output_dir=scratch, seed=SEED, max_steps=len(schedule), learning_rate=LEARNING_RATE, beta=BETA,
                per_device_train_batch_size=GENERATIONS, num_generations=GENERATIONS, gradient_checkpointing=True,
                max_completion_length=max_completion, use_vllm=True, vllm_mode="colocate",
                vllm_gpu_memory_utilization=args.gpu_memory_share, vllm_max_model_length=max_prompt + max_completion,
                fp16=dtype == "float16", bf16=dtype == "bfloat16", shuffle_dataset=False, save_strategy="no",
                report_to=[], disable_tqdm=True, model_init_kwargs={"dtype": dtype},
            )  # fmt: skip
            trainer = TimedTrl(str(folder), reward_funcs=alternating_rewards, args=grpo, **common)
        else:
            slice = TrainSlice(
                device=args.device, load_in_4bit=False, trainer_dtype=dtype, sampler_dtype=dtype, collapse=None,
                nonfinite_steps=10, max_prompt_tokens=max_prompt, sandbox=SandboxConfig(),
                sampling=SamplingConfig(max_completion_tokens=max_completion, decoding="compiled"),
                training=TrainingConfig(
                    per_device_train_batch_size=GENERATIONS, num_generations=GENERATIONS, beta=BETA,
                    learning_rate=LEARNING_RATE, gradient_checkpointing=args.device == "cuda",
                    shared_prompt=side != "padded", compile_layers="compile" in side,
                    sync="merge" if "merge" in side else "adapter",
                    segment_steps=len(schedule), lora=LoraSettings(r=1, alpha=64, use_rslora=True),
                ),
            )  # fmt: skip
            sampler = make_sampler(
                slice.sampling,
                str(folder),
                dtype,
                args.device,
                max_prompt,
                EngineMemory(args.gpu_memory_share),
                lora_r=0 if "merge" in side else 1,
                n_adapters=n_seeds,
            )
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
            together = Together(sampler, n_seeds)
            trainers = [
                TimedPrecision(
                    slice, SEED + run, together.sampler(run), sampler, model=sharing_weights(model),
                    args=grpo_config(slice, SEED + run, len(schedule), f"{scratch}/{run}"), **common,
                )
                for run in range(n_seeds)
            ]  # fmt: skip
            rounds = Rounds(trainers, sampler, schedule)
            together.run([trainer.train for trainer in trainers])
            return rounds.records()
        stopwatch = Stopwatch(trainer, schedule)
        trainer.add_callback(stopwatch)
        trainer.train()
    return stopwatch.records


def summary(records: list[dict]) -> dict:
    """Medians over the steps of a case after its first."""
    result = {}
    for case in dict.fromkeys(record["case"] for record in records):
        steps = [record for record in records if record["case"] == case][1:]
        phases = {phase: statistics.median(step.get(phase, 0.0) for step in steps) for phase in ("step_s", *PHASES)}
        result[case] = {
            **phases,
            "other_s": phases["step_s"] - sum(phases[phase] for phase in PHASES),
            "every_step_s": [step["step_s"] for step in steps],
            "completion_tokens": [step["tokens"] for step in steps],
            "peak_memory_gb": steps[-1]["peak"],
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "bfloat16", "float16"], required=True)
    parser.add_argument("--cases", nargs="+", required=True, help="prompt x completion tokens, such as 4000x1024")
    parser.add_argument("--sides", nargs="+", choices=SIDES, required=True)
    parser.add_argument("--repeats", type=int, default=3, help="timed steps after one that warms up (default 3)")
    parser.add_argument("--gpu-memory-share", type=float, default=0.3, help="vLLM's share of the GPU (default 0.3)")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)  # set for the process of one side
    args = parser.parse_args()

    if args.model:
        records = run_side(args, args.sides[0], args.dtypes[0], args.model)
        args.output.write_text(json.dumps(records))
        return

    report = {
        **origin(*PACKAGES, gpu=torch.cuda.get_device_name() if args.device == "cuda" else None),
        "shape": SHAPES[args.shape],
        "dtypes": {},
    }
    own = ["--shape", args.shape, "--device", args.device, "--cases", *args.cases, "--repeats", str(args.repeats)]
    own += ["--gpu-memory-share", str(args.gpu_memory_share)]
    with tempfile.TemporaryDirectory() as scratch:
        for dtype in args.dtypes:
            folder, records = Path(scratch) / dtype, Path(scratch) / "records.json"
            save_model(folder, SHAPES[args.shape], args.device, getattr(torch, dtype))
            gc.collect()  # the model has cycles, and the sides need the memory
            torch.cuda.empty_cache()
            results = report["dtypes"][dtype] = {}
            for side in args.sides:
                one = ["--dtypes", dtype, "--sides", side, "--model", str(folder), "--output", str(records)]
                subprocess.run([sys.executable, __file__, *own, *one], check=True)
                results[side] = summary(json.loads(records.read_text()))
                args.output.write_text(json.dumps(report, indent=1) + "\n")
            for case in args.cases:
                print(f"\n{dtype} {case}: seconds")
                for side in args.sides:
                    phases = {key: value for key, value in results[side][case].items() if key.endswith("_s")}
                    del phases["every_step_s"]
                    print(f"  {side:20}", "  ".join(f"{name[:-2]} {value:.3f}" for name, value in phases.items()))
                first, last = (results[side][case]["step_s"] for side in (args.sides[0], args.sides[-1]))
                print(f"  {args.sides[0]} / {args.sides[-1]} = {first / last:.2f}", flush=True)


if __name__ == "__main__":
    main()
