"""The trainer's time in a GRPO step: TRL's padded passes beside packed passes that compute the prompt once.

    python benchmarks/step.py --shape 8b --device cuda --dtypes bfloat16 float16 --cases 4000x1024 6000x350 \
        --output benchmarks/results/step-h200.json
    python benchmarks/step.py --shape tiny --device cpu --dtypes bfloat16 --cases 384x48 --output ...

All sides run in one process on one model with random weights and the same tokens, in turns. One step of one group:

    trl      old-policy log-probs, reference log-probs (adapter off), policy forward, backward, optimizer
    shared   reference log-probs, policy forward, backward, optimizer: a batch used once needs no old-policy pass of its
             own, the policy forward's values are the old policy's; and no adapter input is cast to float32 and back
    compiled shared with compiled decoder layers, if --sides names it; the first step (first_step_s) compiles them

Log-probs on TRL's side are computed by GRPOTrainer's own method. Generation and weight sync are not part of this.

The floor of a phase is the arithmetic it cannot avoid, over the rate of a large matrix product measured in the same
run, or the weights it must read, over the measured copy bandwidth, whichever is longer. It counts linear layers, the
scores that the causal mask keeps, and the LM head on completion tokens; a backward pass through frozen weights costs
one forward pass in linear layers and 2.5 in attention, and gradient checkpointing repeats the forward pass once.
"""

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from origin import origin
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from shapes import SHAPES
from transformers import LlamaConfig, LlamaForCausalLM
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import add_fused_lm_head

from arc_precision.training.shared_prompt import compile_layers, shared_prompt_logps, use_shared_prompt

PACKAGES = ("torch", "transformers", "trl", "peft")
SIDES = ("trl", "shared", "compiled")
LORA = LoraConfig(r=1, lora_alpha=64, use_rslora=True, target_modules="all-linear")
BETA = 0.001


class Case:
    """One group's tokens and the step's passes over them, on any side."""

    def __init__(self, model: PeftModel, dtype: torch.dtype, n_prompt: int, n_completion: int, n_generations: int):
        self.model, self.dtype, self.device = model, dtype, next(model.parameters()).device.type
        self.n_prompt, self.n_completion, self.n_generations = n_prompt, n_completion, n_generations
        generator = torch.Generator().manual_seed(0)
        vocabulary = model.config.vocab_size
        prompt = torch.randint(vocabulary, (1, n_prompt), generator=generator).expand(n_generations, -1)
        completions = torch.randint(vocabulary, (n_generations, n_completion), generator=generator)
        self.ids = torch.cat([prompt, completions], dim=1).to(self.device)
        self.mask = torch.ones_like(self.ids)
        self.advantages = torch.randn(n_generations, 1, generator=generator).to(self.device)
        self.adapter_layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
        self.trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trainable, lr=4e-6)
        self.scaler = torch.amp.GradScaler(self.device, enabled=dtype == torch.float16)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32)

    def trl_logps(self, batch_size: int | None = None) -> torch.Tensor:
        trainer = SimpleNamespace(accelerator=SimpleNamespace(autocast=self.autocast))
        logps, _, _ = GRPOTrainer._get_per_token_logps_and_entropies.__wrapped__(
            trainer, self.model, self.ids, self.mask, self.n_completion, batch_size, compute_entropy=True
        )
        return logps

    def shared_logps(self) -> torch.Tensor:
        with self.autocast():
            return shared_prompt_logps(self.model, self.ids, self.mask, self.n_completion)[0]

    def step(self, side: str) -> dict[str, float]:
        """Seconds of each phase of one step."""
        with torch.compiler.set_stance("default" if side == "compiled" else "force_eager"):
            return self._step(side)

    def _step(self, side: str) -> dict[str, float]:
        logps_of = self.trl_logps if side == "trl" else self.shared_logps
        for layer in self.adapter_layers:
            layer.cast_input_dtype_enabled = side == "trl"  # PEFT's default; `use_shared_prompt` switches it off
        seconds = {}

        def timed(phase: str, work: Callable):
            start = clock(self.device)
            result = work()
            seconds[phase] = clock(self.device) - start
            return result

        with torch.no_grad(), disable_gradient_checkpointing(self.model):
            old = timed("old_s", logps_of) if side == "trl" else None
            with self.model.disable_adapter():
                reference = timed("reference_s", logps_of)
        logps = timed("policy_s", logps_of)
        ratio = torch.exp(logps - (logps.detach() if old is None else old))
        surrogate = torch.min(ratio * self.advantages, ratio.clamp(0.8, 1.2) * self.advantages)
        difference = reference - logps
        loss = (BETA * (difference.exp() - difference - 1) - surrogate).mean()
        timed("backward_s", self.scaler.scale(loss).backward)
        timed("update_s", self._update)
        return seconds

    def _update(self) -> None:
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.trainable, 0.1)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

    def floor(self, side: str, flops_per_s: float, bytes_per_s: float, checkpointing: bool) -> dict[str, dict]:
        """FLOPs, bytes and the least seconds they take, for each phase."""
        config = self.model.config
        head_dim = config.hidden_size // config.num_attention_heads
        width, kv_width = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
        weights = (
            config.num_hidden_layers * config.hidden_size * (2 * width + 2 * kv_width + 3 * config.intermediate_size)
        )
        head_weights = config.hidden_size * config.vocab_size
        prompt, completion, rows = self.n_prompt, self.n_completion, self.n_generations
        if side == "trl":
            tokens, pairs = rows * (prompt + completion), rows * triangle(prompt + completion)
        else:
            prefix = prompt - 1
            tokens = prefix + rows * completion
            pairs = triangle(prefix) + rows * (completion * prefix + triangle(completion))
        linear, attention = 2 * weights * tokens, 4 * config.num_hidden_layers * width * pairs
        head = 2 * head_weights * rows * completion
        forward = linear + attention + head
        backward = linear + 2.5 * attention + 2 * head + checkpointing * (linear + attention)
        passes = {"reference_s": (forward, 1), "policy_s": (forward, 1), "backward_s": (backward, 1 + checkpointing)}
        if side == "trl":
            passes["old_s"] = (forward, 1)
        n_bytes = (weights + head_weights) * torch.finfo(self.dtype).bits // 8
        return {
            phase: {"flops": flops, "bytes": n * n_bytes, "s": max(flops / flops_per_s, n * n_bytes / bytes_per_s)}
            for phase, (flops, n) in passes.items()
        }


def triangle(n: int) -> int:
    return n * (n + 1) // 2


def clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds_of(work: Callable, device: str, repeats: int) -> float:
    work()
    start = clock(device)
    for _ in range(repeats):
        work()
    return (clock(device) - start) / repeats


def ceilings(device: str, dtype: torch.dtype) -> tuple[float, float]:
    """FLOP/s of a large square matrix product and bytes/s of a large copy, bytes read and written both counted."""
    size, length, repeats = (8192, 2**31, 10) if device == "cuda" else (1024, 2**27, 3)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    source = torch.ones(length, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    flops_per_s = 2 * size**3 / seconds_of(lambda: left @ right, device, repeats)
    return flops_per_s, 2 * length / seconds_of(lambda: target.copy_(source), device, repeats)


def make_model(shape: dict, device: str, dtype: torch.dtype, checkpointing: bool, compiled: bool) -> PeftModel:
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = LlamaForCausalLM(LlamaConfig(**shape))
    torch.set_default_dtype(torch.float32)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    model = get_peft_model(model, LORA)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=1e-4)
    use_shared_prompt(model, autocast=dtype != torch.float32)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    if compiled:
        torch.compiler.reset()  # compilations are limited, and those of the last dtype are not needed any more
        compile_layers(model)
    return model.train()


def measure(case: Case, sides: list[str], repeats: int, checkpointing: bool, rates: tuple[float, float]) -> dict:
    runs = {side: [] for side in sides}
    first_step_s, peak_gb = {}, {}
    for repeat in range(repeats + 1):
        for side, steps in runs.items():
            if case.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            seconds = case.step(side)
            if repeat:
                steps.append(seconds)
            else:  # the first step warms up
                first_step_s[side] = sum(seconds.values())
            if case.device == "cuda":
                peak_gb[side] = torch.cuda.max_memory_allocated() / 1e9
    result = {}
    for side, steps in runs.items():
        phases = {phase: statistics.median(step[phase] for step in steps) for phase in steps[0]}
        result[side] = {
            "s": sum(phases.values()),
            "phases_s": phases,
            "every_step_s": [sum(step.values()) for step in steps],
            "first_step_s": first_step_s[side],
            "floor": case.floor(side, *rates, checkpointing),
            "peak_memory_gb": peak_gb.get(side),
        }
    return result


@torch.compiler.set_stance("force_eager")
def differences(device: str, dtype: torch.dtype, shape: dict, compiled: bool) -> dict[str, float]:
    """Mean |difference| of log-probs, in nats, between ways of computing them: float32, padded rows all at once or one
    by one, and packed, with compiled layers or without. The model is the shape with four layers, the group
    8 x (1,000 + 256) tokens at most."""
    shape = {**shape, "num_hidden_layers": 4, "initializer_range": 0.05}
    n_prompt = min(1000, shape["max_position_embeddings"] // 2)
    model = make_model(shape, device, dtype, checkpointing=False, compiled=compiled)
    half = Case(model, dtype, n_prompt, 256, 8)
    with torch.no_grad():
        padded, one_by_one, packed = half.trl_logps(), half.trl_logps(batch_size=1), half.shared_logps()
        with torch.compiler.set_stance("default"):
            fused = half.shared_logps() if compiled else None
        # a prompt that is longer by 100 tokens pads the other rows and shifts their positions
        half.ids, half.mask = (torch.nn.functional.pad(x, (100, 0, 0, 1)) for x in (half.ids, half.mask))
        half.mask[-1] = 1
        beside_longer = half.trl_logps()[:-1]
        exact_case = Case(model.to(torch.float32), torch.float32, n_prompt, 256, 8)
        exact, exact_packed = exact_case.trl_logps(), exact_case.shared_logps()
    pairs = {
        "padded - float32": (padded, exact),
        "packed - float32": (packed, exact),
        "packed - padded": (packed, padded),
        "padded - padded one by one": (padded, one_by_one),
        "padded - padded beside a longer prompt": (padded, beside_longer),
        "float32 packed - float32": (exact_packed, exact),
    }
    if compiled:
        pairs |= {"compiled - float32": (fused, exact), "compiled - packed": (fused, packed)}
    return {name: (a - b).abs().mean().item() for name, (a, b) in pairs.items()}


def show(name: str, result: dict) -> None:
    print(f"\n{name}: seconds (floor)")
    for side in result:
        measured, floor = result[side]["phases_s"], result[side]["floor"]
        cells = [f"{p[:-2]} {s:.3f}" + (f" ({floor[p]['s']:.3f})" if p in floor else "") for p, s in measured.items()]
        memory = result[side]["peak_memory_gb"]
        total_floor = sum(phase["s"] for phase in floor.values())
        print(f"  {side:8}{result[side]['s']:8.3f} ({total_floor:.3f})  {'  '.join(cells)}", end="")
        print(f"  first step {result[side]['first_step_s']:.1f}" + (f"  peak {memory:.1f} GB" if memory else ""))
    first, *others = result
    for side in others:
        print(f"  {first} / {side} = {result[first]['s'] / result[side]['s']:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "bfloat16", "float16"], required=True)
    parser.add_argument("--cases", nargs="+", required=True, help="prompt x completion tokens, such as 4000x1024")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=["trl", "shared"], help="default: trl shared")
    parser.add_argument("--generations", type=int, default=8, help="completions of the prompt (default 8)")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps after one that warms up (default 3)")
    parser.add_argument("--no-checkpointing", action="store_true", help="no gradient checkpointing")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    shape, checkpointing, compiled = SHAPES[args.shape], not args.no_checkpointing, "compiled" in args.sides
    report = {
        **origin(*PACKAGES, gpu=torch.cuda.get_device_name() if args.device == "cuda" else None),
        "threads": torch.get_num_threads(),
        "shape": shape,
        "lora": {"r": LORA.r, "alpha": LORA.lora_alpha, "target_modules": "all-linear"},
        "generations": args.generations,
        "gradient_checkpointing": checkpointing,
        "dtypes": {},
    }
    for name in args.dtypes:
        dtype = getattr(torch, name)
        rates = ceilings(args.device, dtype)
        print(f"{name}: matrix product {rates[0] / 1e12:.2f} TFLOP/s, copy {rates[1] / 1e12:.3f} TB/s")
        results = {"flops_per_s": rates[0], "bytes_per_s": rates[1], "cases": {}}
        report["dtypes"][name] = results
        results["differences_nats"] = differences(args.device, dtype, shape, compiled)
        print(
            "\n".join(f"  mean |{pair}| = {value:.2e}" for pair, value in results["differences_nats"].items()),
            flush=True,
        )
        model = make_model(shape, args.device, dtype, checkpointing, compiled)
        for text in args.cases:
            n_prompt, n_completion = map(int, text.split("x"))
            case = Case(model, dtype, n_prompt, n_completion, args.generations)
            results["cases"][text] = measure(case, args.sides, args.repeats, checkpointing, rates)
            show(f"{name} {text}", results["cases"][text])
            args.output.write_text(json.dumps(report, indent=1) + "\n")
        del model, case
        gc.collect()  # models hold cycles, and this one must not count in the next dtype's peak memory


if __name__ == "__main__":
    main()
