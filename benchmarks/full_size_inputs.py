"""Stand-ins for the inputs of the full-size experiment, for machines without the real ones.

    PYTHONPATH=workflow python benchmarks/full_size_inputs.py --shape 8b --device cuda --tasks 100000

Writes, at the paths that experiments/arc25-iteration35.yaml names, a model of the shape of Llama 3.1 8B with random
weights, a tokenizer with Llama 3's chat template (it knows fewer words than the model), and a file of BARC's format.
Not covered: the behaviour of a trained model; completions of this one hardly ever end by themselves.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from shapes import SHAPES
from transformers import LlamaConfig, LlamaForCausalLM
from yaml import safe_load

from arc_precision.prompt_templates import ShownTask, load_template, trial_task
from arc_precision.prompts import barc_question

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "unit"))
from synthetic import chat_tokenizer, random_task, write_barc_file  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True, help="where the weights are drawn")
    parser.add_argument("--tasks", type=int, default=100_000)
    args = parser.parse_args()
    experiment = safe_load((ROOT / "experiments" / "arc25-iteration35.yaml").read_text())
    model, barc = Path(experiment["model"]["path"]), Path(experiment["sources"]["barc"]["path"])

    barc.parent.mkdir(parents=True, exist_ok=True)
    write_barc_file(barc, args.tasks, seed=0)

    rng = np.random.default_rng(0)
    questions = [barc_question(random_task(rng, min_side=10), 0) for _ in range(50)]
    chat = load_template("barc").render(ShownTask(trial_task(), 0))
    tokenizer = chat_tokenizer([chat.system + chat.assistant, *questions])
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(model)
    # long enough for the prompts with any shape
    shape = {
        **SHAPES[args.shape],
        "max_position_embeddings": 16384,
        "vocab_size": max(SHAPES[args.shape]["vocab_size"], len(tokenizer)),
    }
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(args.device):
        weights = LlamaForCausalLM(LlamaConfig(**shape, **ids))
    weights.save_pretrained(model)


if __name__ == "__main__":
    main()
