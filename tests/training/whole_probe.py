"""Hand a whole model over to vLLM twice (one engine per process): whole_probe.py DTYPE OUTPUT.

OUTPUT gets the trainer's float32 weights (`trainer.NAME`) and the weights that vLLM then uses (`sampler.LAYER`).
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from arc_precision.config.sampling import SamplingConfig
from arc_precision.sampling.engines import EngineMemory, make_sampler
from arc_precision.sampling.handover import WholeHandover

MODEL = Path(__file__).parents[2] / "resources" / "tiny-arc"


def weights_in_use(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights in use. Those of a linear layer are its output for the unit matrix, because vLLM packs them on a
    CPU."""
    used = {}
    for name, module in model.named_modules():
        if hasattr(module, "quant_method") and hasattr(module, "input_size"):
            unit = torch.eye(module.input_size, dtype=dtype)
            used[name] = module.quant_method.apply(module, unit, None).T.contiguous()
        elif hasattr(module, "weight") and module.weight.numel():
            used[name] = module.weight.detach().clone()
    return used


dtype = getattr(torch, sys.argv[1])
sampler = make_sampler(SamplingConfig(max_completion_tokens=4), str(MODEL), sys.argv[1], "cpu", 16, EngineMemory(0.3))
trainer = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
handover = WholeHandover(sampler)
torch.manual_seed(0)
for step in range(2):
    with torch.no_grad():
        for weight in trainer.parameters():
            weight += 0.01 * torch.randn_like(weight)
    handover.sync(trainer, step)
    sampler.generate([[5, 6, 7]], [step])
(used,) = sampler.llm.apply_model(weights_in_use)
weights = {f"trainer.{name}": weight.detach().contiguous() for name, weight in trainer.named_parameters()}
save_file(weights | {f"sampler.{name}": weight for name, weight in used.items()}, sys.argv[2])
