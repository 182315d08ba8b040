"""500 completions of the embedded model, and hostile programs among them, have one verdict each in any company."""

import random
import sys
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit"))
from test_sandbox_traces import COMPANY, LEAVING, SHOWING, result  # noqa: E402

from arc_precision.config.sampling import SamplingConfig  # noqa: E402
from arc_precision.language.tokenizer import render_prompt  # noqa: E402
from arc_precision.sampling.engines import EngineMemory, make_sampler  # noqa: E402
from arc_precision.sandbox import Limits, Sandbox, extract_program  # noqa: E402
from arc_precision.tasks.generator import generate_task  # noqa: E402

MODEL = ROOT / "resources" / "tiny-arc"
N_TASKS, N_COMPLETIONS = 50, 10


def completions() -> list[tuple[str | None, list[np.ndarray]]]:
    """The program of each completion, and the inputs of its task."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    sampling = SamplingConfig(engine="transformers", temperature=1.2)  # hotter than in training: more broken programs
    sampler = make_sampler(sampling, str(MODEL), "float32", "cpu", 512, EngineMemory(0.1))
    drawn = []
    for index in range(N_TASKS):
        task = generate_task(5, index).task
        prompt = tokenizer(render_prompt(task, 0), add_special_tokens=False)["input_ids"]
        seeds = range(index * N_COMPLETIONS, (index + 1) * N_COMPLETIONS)
        texts = [
            tokenizer.decode(one.token_ids, skip_special_tokens=True)
            for one in sampler.generate([prompt] * N_COMPLETIONS, list(seeds))
        ]
        drawn += [(extract_program(text), [pair.input for pair in task.pairs]) for text in texts]
    return drawn


def test_one_verdict_in_any_company():
    grid = np.arange(6, dtype=np.int8).reshape(2, 3)
    hostile = [(program, [grid]) for program in [*SHOWING.values(), *LEAVING.values(), *COMPANY]]
    drawn = completions()
    assert len({program for program, _ in drawn}) > 200 and sum(program is None for program, _ in drawn) < 250
    jobs = drawn + hostile
    first: list = [None] * len(jobs)
    statuses = set()
    for workers in (1, 2, 3):
        for order in range(3):
            places = list(range(len(jobs)))
            random.Random(order).shuffle(places)
            with Sandbox(Limits(cpu_s=0.5), workers=workers) as sandbox:
                programs, grids = zip(*(jobs[place] for place in places), strict=True)
                for place, verdict in zip(places, sandbox.run(programs, grids), strict=True):
                    found = result(verdict)
                    statuses.add(verdict.status)
                    assert first[place] in (None, found), (workers, order, jobs[place][0])
                    first[place] = found
    assert {"ok", "exception", "no_program"} <= statuses and "sandbox_error" not in statuses
