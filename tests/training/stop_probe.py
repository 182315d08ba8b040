"""Draw six completions plainly and with stop strings, in a process of its own (vLLM allows one engine per process).

    stop_probe.py OUTPUT STOP

STOP is a JSON list. OUTPUT, as JSON: the texts of every beginning of the plain completions, these, and the others.
"""

import json
import sys

from noise_probe import MODEL
from transformers import AutoTokenizer

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
