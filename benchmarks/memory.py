"""The largest prompt and group that fit on a card with GRPO and vLLM's engine on it, base weights in 16 or 4 bits.

    python benchmarks/memory.py --shape 8b --device cuda --output benchmarks/results/memory-h200.json
    python benchmarks/memory.py --shape tiny --device cpu --points 64x2 96x2 64x4 --completion-tokens 16 --output ...

A card holds four things (GB = 1e9 bytes):

    trainer   PyTorch's reserved memory at the peak of a step of one group; sides and model are those of `step.py`
              (bfloat16, LoRA r=1 on all linear layers, gradient checkpointing, the prompt of the group computed once)
    engine    vLLM's copy of the weights, always in 16 bits, and the keys and values of the group,
              of its prompt once (prefix caching); computed. Its activations and CUDA graphs: --engine-overhead-gb,
              assumed
    context   CUDA's memory outside PyTorch; measured. The engine runs in the trainer's process, so there is one

The trainer's peak is measured at --points, and a + b * (packed tokens) + c * (completion tokens) fitted to it. The
largest sizes that should fit follow from the fit, and are then run while PyTorch may allocate no more than the engine
and the context leave of the card: "measured" where the size has run so, "computed" where --budget-s left no time.

The first point is a complete step. The others, and the sizes that are tried, have no reference pass and stop once the
backward pass has gone through the last layers, where the peak has passed; the first point says at which moments of a
step the peak grows. Not covered: vLLM itself does not run here, fragmentation over many steps of different lengths,
several groups per pass, other GPUs' kernels (all cards are parts of the one card here). On a CPU the passes run, but
no memory is measured and nothing follows from them.
"""

import argparse
import gc
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from origin import origin
from peft import PeftModel, get_peft_model
from shapes import SHAPES
from step import LORA, PACKAGES, Case, clock, make_model

CARDS_GB = (24, 48, 80, 141)
GROUP, PROMPT_TOKENS = 8, 8676  # the fixed size while the other one grows; the notebook's prompt limit (docs/arc25.md)
MAX_TOKENS = 131072  # prompt and completion
PROMPT_STEP_TOKENS = 256
POINTS = ("8676x8", "1000x8", "4000x8", "16000x8", "8676x4", "8676x16")
BACKWARD_LAYERS = 2  # the peak is in the backward pass of the last layer, while all checkpoints are still held
SMALLER, LARGER, RETRIES = 0.9, 1.15, 2


class PeakPassed(Exception):
    """Ends a brief step from inside its backward pass."""


class Probe(Case):
    """A step whose peak memory is read at several moments. A brief step omits the parts that cannot hold the peak."""

    def __init__(self, model: PeftModel, n_prompt: int, group: int, n_completion: int, brief: bool):
        super().__init__(model, torch.bfloat16, n_prompt, n_completion, group)
        self.brief = brief
        self.policy_s = math.nan
        self.peak_gb_after: dict[str, float | None] = {}

    def run(self) -> None:
        layer = self.model.config.num_hidden_layers - 1 - BACKWARD_LAYERS
        # the layer computes this gradient first
        adapter = f"base_model.model.model.layers.{layer}.mlp.down_proj.lora_B.default.weight"
        hook = self.model.get_parameter(adapter).register_hook(self._last_layers_done)
        try:
            self.step("shared")
            self._note("update")
        except PeakPassed:
            pass
        finally:
            hook.remove()
            self.model.zero_grad()

    def shared_logps(self) -> torch.Tensor:
        if torch.is_grad_enabled():
            start = clock(self.device)
            logps = super().shared_logps()
            self.policy_s = clock(self.device) - start
            self._note("policy")
            return logps
        if self.brief:
            return torch.zeros(self.n_generations, self.n_completion, device=self.device)
        logps = super().shared_logps()
        self._note("reference")
        return logps

    def policy_flops(self) -> float:
        return self.floor("shared", math.inf, math.inf, checkpointing=True)["policy_s"]["flops"]

    def _last_layers_done(self, grad: torch.Tensor) -> None:
        self._note("last_layers")
        if self.brief:
            raise PeakPassed

    def _note(self, moment: str) -> None:
        self.peak_gb_after[moment] = torch.cuda.max_memory_allocated() / 1e9 if self.device == "cuda" else None


@dataclass(frozen=True)
class Engine:
    """vLLM's side of a card."""

    weights_gb: float
    overhead_gb: float
    kv_bytes_per_token: int

    def gb(self, n_prompt: int, n_completions: int) -> float:
        return self.weights_gb + self.overhead_gb + self.kv_bytes_per_token * (n_prompt + n_completions) / 1e9


class Bench:
    """One load mode of the model: its points, their fit, and the sizes that fit on each card."""

    def __init__(self, model: PeftModel, engine: Engine, n_completion: int):
        self.model, self.engine, self.n_completion = model, engine, n_completion
        self.device = next(model.parameters()).device.type
        self.flops_per_s = math.nan
        self.context_gb = math.nan
        self.coefficients = np.full(3, math.nan)
        prompts = (1000, *range(1024, MAX_TOKENS - n_completion + 1, PROMPT_STEP_TOKENS))
        self.sizes = {
            "prompt": [(n_prompt, GROUP) for n_prompt in prompts],
            "group": [(PROMPT_TOKENS, group) for group in range(2, 1025)],
        }

    def run(self, n_prompt: int, group: int, brief: bool = True, limit_gb: float | None = None) -> dict:
        """One step: whether it fits into `limit_gb`, and its peak."""
        gc.collect()  # frees objects that an earlier step has left in cycles
        before_gb = None
        if self.device == "cuda":
            torch.cuda.empty_cache()
            share = 1.0 if limit_gb is None else limit_gb * 1e9 / torch.cuda.mem_get_info()[1]
            torch.cuda.set_per_process_memory_fraction(share)
            torch.cuda.reset_peak_memory_stats()
            before_gb = torch.cuda.memory_allocated() / 1e9  # must be the same in every run, else memory was not freed
        probe = Probe(self.model, n_prompt, group, self.n_completion, brief)
        start = clock(self.device)
        try:
            probe.run()
            fits = True
        except torch.OutOfMemoryError:
            fits = False
        memory = {"allocated_before_gb": before_gb, "peak_allocated_gb": None, "peak_reserved_gb": None}
        if self.device == "cuda":
            memory["peak_allocated_gb"] = torch.cuda.max_memory_allocated() / 1e9
            memory["peak_reserved_gb"] = torch.cuda.max_memory_reserved() / 1e9
        return {
            "prompt_tokens": n_prompt,
            "group": group,
            "packed_tokens": self.features(n_prompt, group)[1],
            "limit_gb": limit_gb,
            "fits": fits,
            **memory,
            "peak_gb_after": probe.peak_gb_after,
            "s": clock(self.device) - start,
            "policy_s": probe.policy_s if "policy" in probe.peak_gb_after else None,
            "policy_flops": probe.policy_flops(),
        }

    def features(self, n_prompt: int, group: int) -> tuple[int, int, int]:
        n_completions = group * self.n_completion
        return 1, n_prompt - 1 + n_completions, n_completions

    def measure(self, points: list[tuple[int, int]]) -> list[dict]:
        results = [self.run(n_prompt, group, brief=i > 0) for i, (n_prompt, group) in enumerate(points)]
        later = results[1:]  # the first run also compiles kernels
        self.flops_per_s = sum(r["policy_flops"] for r in later) / sum(r["policy_s"] for r in later)
        return results

    def fit(self, points: list[dict]) -> dict:
        features = np.array([self.features(p["prompt_tokens"], p["group"]) for p in points], dtype=float)
        peaks = np.array([p["peak_reserved_gb"] for p in points])
        scale = features.max(0)  # a common scale, so that the fit neglects no column
        self.coefficients = np.linalg.lstsq(features / scale, peaks, rcond=None)[0] / scale
        free, total = torch.cuda.mem_get_info()
        self.context_gb = (total - free - torch.cuda.memory_reserved()) / 1e9
        return {
            "fixed_gb": self.coefficients[0],
            "bytes_per_packed_token": self.coefficients[1] * 1e9,
            "bytes_per_completion_token": self.coefficients[2] * 1e9,
            "residuals_gb": (peaks - features @ self.coefficients).tolist(),
        }

    def left_gb(self, card_gb: float, n_prompt: int, group: int) -> float:
        """The memory of a card that the engine and the context leave to the trainer."""
        return card_gb - self.context_gb - self.engine.gb(n_prompt, group * self.n_completion)

    def predict(self, card_gb: float, what: str) -> tuple[int, int] | None:
        """The largest size that should fit, as (prompt, group)."""
        fitting = [
            size
            for size in self.sizes[what]
            if np.dot(self.coefficients, self.features(*size)) <= self.left_gb(card_gb, *size)
        ]
        return fitting[-1] if fitting else None

    def attempt(self, card_gb: float, size: tuple[int, int], deadline: float) -> dict | None:
        """Run a size in the remaining memory of the card; None if the run would not end before the deadline."""
        flops = Probe(self.model, *size, self.n_completion, brief=True).policy_flops()
        # the factor covers the extra of the backward pass, and a reserve
        if time.perf_counter() + 1.4 * flops / self.flops_per_s > deadline:
            return None
        return self.run(*size, limit_gb=self.left_gb(card_gb, *size))

    def verify(self, card_gb: float, what: str, deadline: float) -> dict:
        """The largest size, the way in which it was found, and the runs that found it."""
        size = self.predict(card_gb, what)
        result = {"predicted": size, "largest": size, "found": "computed", "tried": [], "larger": None}
        for _ in range(1 + RETRIES):
            run = self.attempt(card_gb, size, deadline) if size else None
            if run is None:  # nothing to try, or no time for it
                break
            result["tried"].append(run)
            if run["fits"]:
                result["found"] = "measured"
                break
            size = result["largest"] = self.scaled(what, size, SMALLER)
        else:
            result |= {"largest": None, "found": "not found"}
        result["at_limit"] = result["largest"] == self.sizes[what][-1]
        return result

    def verify_larger(self, card_gb: float, what: str, result: dict, deadline: float) -> None:
        """Run a size above the largest, which should not fit."""
        larger = self.scaled(what, result["largest"], LARGER) if result["found"] == "measured" else None
        result["larger"] = self.attempt(card_gb, larger, deadline) if larger else None

    def scaled(self, what: str, size: tuple[int, int], factor: float) -> tuple[int, int] | None:
        """The nearest of the sizes beyond `factor` times this one, downwards or upwards."""
        axis = ("prompt", "group").index(what)
        bound = size[axis] * factor
        if factor < 1:
            return max((s for s in self.sizes[what] if s[axis] <= bound), default=None)
        return min((s for s in self.sizes[what] if s[axis] >= bound), default=None)


def in_4_bits(model: PeftModel) -> PeftModel:
    """The model with its linear layers but the LM head as `load_base` makes them in 4 bits, and a new adapter."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    base = model.unload()
    settings = dict(compress_statistics=False, quant_type="nf4")
    for name, module in list(base.named_modules()):
        if type(module) is torch.nn.Linear and name != "lm_head":
            layer = Linear4bit(
                module.in_features, module.out_features, bias=False, compute_dtype=torch.bfloat16, device="meta",
                **settings,
            )  # fmt: skip
            weight = Params4bit(module.weight.data, requires_grad=False, module=layer, **settings)
            layer.weight = weight.to(module.weight.device)  # which quantizes
            base.set_submodule(name, layer)
    base.is_loaded_in_4bit = True  # PEFT asks for it
    return get_peft_model(base, LORA).train()


def show(mode: str, points: list[dict], fit: dict) -> None:
    print(
        f"\n{mode}: peak {fit['fixed_gb']:.2f} GB + {fit['bytes_per_packed_token'] / 1e3:.1f} kB per packed token",
        end="",
    )
    print(f" + {fit['bytes_per_completion_token'] / 1e3:.1f} kB per completion token")
    for point, residual in zip(points, fit["residuals_gb"], strict=True):
        print(
            f"  {point['prompt_tokens']:6} x {point['group']:3}: {point['peak_allocated_gb']:.2f} GB allocated, "
            f"{point['peak_reserved_gb']:.2f} GB reserved, residual {residual:+.3f} GB"
        )
    print("  complete step, peak after:", {k: round(v, 2) for k, v in points[0]["peak_gb_after"].items()}, flush=True)


def cell(result: dict, axis: int) -> str:
    if result["largest"] is None:
        return "nothing" if result["predicted"] is None else f"none of {len(result['tried'])} sizes tried"
    text = f"{result['largest'][axis]:,} ({result['found']}"
    if result["at_limit"]:
        text += "; the longest that was looked for"
    if result["larger"]:
        relation = "fits too" if result["larger"]["fits"] else "does not fit"
        text += f"; {(result['larger']['prompt_tokens'], result['larger']['group'])[axis]:,} {relation}"
    return text + ")"


def table(modes: dict[str, dict]) -> str:
    lines = [
        f"| card | base weights | largest prompt, {GROUP} completions | largest group, {PROMPT_TOKENS:,} tokens |",
        "|---|---|---|---|",
    ]
    for card_gb in CARDS_GB:
        for mode, results in modes.items():
            card = results["cards"][str(card_gb)]
            lines.append(f"| {card_gb} GB | {mode} | {cell(card['prompt'], 0)} | {cell(card['group'], 1)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True)
    parser.add_argument(
        "--points", nargs="+", default=POINTS, help=f"prompt tokens x group, 4 or more (default {' '.join(POINTS)})"
    )
    parser.add_argument("--completion-tokens", type=int, default=1024, help="of each completion (default 1024)")
    parser.add_argument("--engine-overhead-gb", type=float, default=3.0, help="assumed; see above (default 3.0)")
    parser.add_argument("--budget-s", type=float, default=90, help="after the imports, some 20 s (default 90)")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    end = time.perf_counter() + args.budget_s

    on_gpu = args.device == "cuda"
    points = [tuple(map(int, text.split("x"))) for text in args.points]
    shape = {**SHAPES[args.shape], "max_position_embeddings": MAX_TOKENS}
    model = make_model(shape, args.device, torch.bfloat16, checkpointing=True, compiled=False)
    n_weights = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    head_dim = shape["hidden_size"] // shape["num_attention_heads"]
    engine = Engine(
        weights_gb=2 * n_weights / 1e9,
        overhead_gb=args.engine_overhead_gb,
        kv_bytes_per_token=2 * shape["num_hidden_layers"] * shape["num_key_value_heads"] * head_dim * 2,
    )
    packages = (*PACKAGES, "bitsandbytes") if on_gpu else PACKAGES
    report = {
        **origin(*packages, gpu=torch.cuda.get_device_name() if on_gpu else None),
        "shape": shape,
        "lora": {"r": LORA.r, "alpha": LORA.lora_alpha, "target_modules": "all-linear"},
        "dtype": "bfloat16",
        "completion_tokens": args.completion_tokens,
        "gradient_checkpointing": True,
        "engine": asdict(engine),
        "assumed": ["engine.overhead_gb"],
        "modes": {},
    }

    def save() -> None:
        args.output.write_text(json.dumps(report, indent=1) + "\n")

    conversions: dict[str, Callable[[PeftModel], PeftModel]] = {"16 bits": lambda model: model}
    if on_gpu:
        conversions["4 bits"] = in_4_bits
    for i, (mode, convert) in enumerate(conversions.items()):
        model = convert(model)
        bench = Bench(model, engine, args.completion_tokens)
        results = report["modes"][mode] = {"points": bench.measure(points), "cards": {}}
        save()
        if not on_gpu:
            continue
        results["fit"] = bench.fit(results["points"])
        results["context_gb"] = bench.context_gb
        show(mode, results["points"], results["fit"])
        now = time.perf_counter()
        deadline = now + (end - now) / (len(conversions) - i)
        searches = [(card_gb, what) for card_gb in CARDS_GB for what in ("group", "prompt")]  # quick ones first
        for card_gb, what in searches:
            results["cards"].setdefault(str(card_gb), {})[what] = bench.verify(card_gb, what, deadline)
            save()
        for card_gb, what in searches:
            bench.verify_larger(card_gb, what, results["cards"][str(card_gb)][what], deadline)
            save()
    if on_gpu:
        print("\n" + table(report["modes"]))
        print(
            f"Engine: {engine.weights_gb:.2f} GB of weights, {engine.kv_bytes_per_token / 1e3:.0f} kB per token, "
            f"{engine.overhead_gb:.1f} GB for the rest (assumed)"
        )


if __name__ == "__main__":
    main()
