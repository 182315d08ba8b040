"""Stop strings in the real vLLM: they end a completion and change none of its tokens."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STOP = [", ", "return"]
PROBE = """
import json, sys
from transformers import AutoTokenizer
from noise_probe import MODEL
from arc_precision.config.sampling import SamplingConfig
from arc_precision.prompts import prompt_writer
from arc_precision.sampling.engines import EngineMemory, make_sampler
from arc_precision.tasks.generator import generate_task
tokenizer = AutoTokenizer.from_pretrained(MODEL)
write = prompt_writer("dsl", tokenizer, 400)
texts = [write(generate_task(11, number).task, 0) for number in range(6)]
prompts = tokenizer([text for text, n_tokens in texts if n_tokens <= 400], add_special_tokens=False)["input_ids"]
greedy = SamplingConfig(temperature=0, max_completion_tokens=24)
sampler = make_sampler(greedy, str(MODEL), "float32", "cpu", 400, EngineMemory(0.1))
plain = sampler.generate(prompts, [0] * len(prompts))
sampler._sampling = greedy.model_copy(update={"stop": tuple(json.loads(sys.argv[2]))})
stopped = sampler.generate(prompts, [0] * len(prompts))
beginnings = [[c.token_ids[:n] for n in range(len(c.token_ids) + 1)] for c in plain]
texts = [tokenizer.batch_decode(tokens, skip_special_tokens=True) for tokens in beginnings]
json.dump([texts, [vars(c) for c in plain], [vars(c) for c in stopped]], open(sys.argv[1], "w"))
"""


def test_a_stop_string_ends_a_completion_and_changes_no_token(tmp_path):
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'workflow'}:{Path(__file__).parent}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROBE, str(tmp_path / "drawn.json"), json.dumps(STOP)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    ended = 0
    for texts, before, after in zip(*json.loads((tmp_path / "drawn.json").read_text()), strict=True):
        found = [n for n, text in enumerate(texts) if any(part in text for part in STOP)]
        length = found[0] if found else len(before["token_ids"])
        assert after["token_ids"] == before["token_ids"][:length] and len(after["logprobs"]) == length
        assert after["truncated"] == (before["truncated"] and not found)
        ended += bool(found)
    assert 0 < ended and len(texts) > 1
