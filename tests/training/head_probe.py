"""Train one step in bfloat16 in a process of its own (vLLM allows one engine per process): head_probe.py FOLDER HEADS.

HEADS is `model` or `float32`, for both sides. Apart from the segment's files it writes into FOLDER the inputs of the
loss (`loss.pt`), and one completion that is drawn after the step, with the input and output of vLLM's LM head
(`drawn.pt`).
"""

import sys
from pathlib import Path

import torch
from probe import MODEL, reward_by_length, task_rows
from vllm.model_executor.layers.logits_processor import LogitsProcessor

from arc_precision.config.base import lay_over
from arc_precision.config.experiment import ExperimentConfig, load_experiment
from arc_precision.contracts.parquet import write_rows
from arc_precision.contracts.tasks import TASKS
from arc_precision.sampling.engines import EngineMemory
from arc_precision.training import segment
from arc_precision.training.scoring import Scorer
from arc_precision.training.trainer import PrecisionTrainer


def main() -> None:
    folder, heads = Path(sys.argv[1]), sys.argv[2]
    changes = {
        "max_steps": 1,
        "training": {
            "segment_steps": 1,
            "learning_rate": 0.01,
            "max_grad_norm": 1.0,
            "per_device_train_batch_size": 16,
            "shared_prompt": False,  # so that the test can compute it from the padded batch
            "head_dtype": heads,
            "deterministic": True,
        },
        "sampling": {"max_completion_tokens": 24, "head_dtype": heads},
        "data": {"max_prompt_tokens": 192},
        "evaluation": {"every": 1},
        "audit": {"every": 2},
    }
    slice = load_experiment(lay_over(ExperimentConfig().model_dump(mode="json"), changes)).train_slice("bfloat16")
    rows = folder / "rows.parquet"
    write_rows(rows, TASKS, [task_rows(4)])
    Scorer.start = reward_by_length
    samplers, make_sampler, compute_loss = [], segment.make_sampler, PrecisionTrainer._compute_loss

    def keep_sampler(*args, **kwargs):
        samplers.append(make_sampler(*args, **kwargs))
        return samplers[0]

    def keep_inputs(self, model, inputs):
        names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "sampling_per_token_logps")
        torch.save({name: inputs[name] for name in names}, folder / "loss.pt")
        return compute_loss(self, model, inputs)

    segment.make_sampler, PrecisionTrainer._compute_loss = keep_sampler, keep_inputs
    files = [segment.SegmentFiles.of_run(folder, 0, 1, rows, MODEL)]
    segment.run_segment(slice, [0], 0, 1, files, 1, EngineMemory(0.3), {"declared": {}}, [{"report_to": []}])

    seen = []

    def look(part, arguments, logits):
        seen.append((arguments[1].clone(), arguments[0].weight.clone(), logits.clone()))

    def register(model):
        for part in model.modules():
            if isinstance(part, LogitsProcessor):
                part.register_forward_hook(look)

    sampler = samplers[0]
    sampler.llm.apply_model(register)
    sampler.load_adapter(folder / "checkpoint-1")
    drawn = sampler.generate([[257, 5, 6, 7]], [3])[0]
    torch.save(
        {"tokens": drawn.token_ids, "logprobs": drawn.logprobs, "seen": seen, "model": str(MODEL)}, folder / "drawn.pt"
    )


if __name__ == "__main__":
    main()
