"""Wrong input stops with one clear sentence and no traceback, and nothing already computed is lost."""

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the pipeline of this clone with results in `folder`."""
    for name in ("Snakefile", "config.yaml", "workflow", "envs", "profiles", "resources", "experiments"):
        link = folder / name
        if not link.exists():
            link.symlink_to(ROOT / name)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = ["snakemake", "--cores", "1", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def refused(done: subprocess.CompletedProcess, sentence: str) -> None:
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert sentence in output, output[-3000:]
    assert "Traceback" not in output, output[-3000:]


CONFIG_FAULTS = {
    "unknown key": ("trainings={}", "trainings: unknown key (value {}); did you mean training?"),
    "unknown dtype": (
        "arms={float16: {trainer_dtype: fp16, sampler_dtype: float16}}",
        "arms.float16.trainer_dtype: 'fp16' is not possible; write 'float32', 'float16' or 'bfloat16'",
    ),
    "undefined arm": ("run_arms=[half]", "run_arms: 'half' is not defined under arms"),
    "no seeds": ("seeds=[]", "seeds: the list is empty; write at least one value"),
    "steps": ("max_steps=25", "max_steps: 25 is not a multiple of segment_steps 10; write 20 or 30"),
    "alignment": ("training={steps_per_generation: 4}", "write segment_steps: 8 or 12"),
    "no model": ("model={path: nowhere}", "model.path: nowhere is not a folder"),
}


@pytest.mark.parametrize(("setting", "sentence"), CONFIG_FAULTS.values(), ids=CONFIG_FAULTS)
def test_a_wrong_setting_is_refused_before_any_job(setting, sentence, tmp_path):
    done = snakemake(tmp_path, "-n", "--config", setting)
    refused(done, sentence)
    assert "Job stats" not in done.stdout + done.stderr


def test_a_config_that_is_no_yaml_is_refused_with_its_line(tmp_path):
    (tmp_path / "config.yaml").write_text("seeds: [0\nmax_steps: 2\n")
    refused(snakemake(tmp_path, "-n"), 'config.yaml: while parsing a flow sequence in "config.yaml", line 1')


def test_a_model_folder_without_weights_is_refused_and_results_stay(tmp_path):
    results = tmp_path / "results" / "tiny" / "data"
    results.mkdir(parents=True)
    (results / "train.parquet").write_text("computed before")
    model = tmp_path / "model"
    shutil.copytree(ROOT / "resources" / "tiny-arc", model, ignore=shutil.ignore_patterns("*.safetensors"))
    refused(snakemake(tmp_path, "--config", f"model={{path: {model}}}"), "has no model.safetensors")
    assert (results / "train.parquet").read_text() == "computed before"


def candidates(folder: Path, sources: dict, **data: object) -> subprocess.CompletedProcess:
    settings = [f"sources={json.dumps(sources)}", f"data={json.dumps({'train_on': list(sources), **data})}"]
    return snakemake(folder, "results/tiny/data/candidates.parquet", "--config", *settings)


def test_tasks_without_answers_are_not_audited_or_evaluated_on(tmp_path):
    (tmp_path / "x_challenges.json").write_text("{}")
    kaggle = (
        "sources={kaggle: {kind: arc_json, path: x_challenges.json}}",
        "evaluation_sets={kaggle: {source: kaggle, held_out: true}}",
    )
    done = snakemake(tmp_path, "-n", "--config", *kaggle, "audit={set: kaggle}")
    refused(done, "sources.kaggle: x_challenges.json has no x_solutions.json beside it, and tasks without answers")
    assert "Job stats" not in done.stdout + done.stderr


def test_a_truncated_barc_file_is_refused(tmp_path):
    task = {"train": [{"input": [[0]], "output": [[1]]}] * 2, "test": [{"input": [[0]], "output": [[1]]}]}
    whole = gzip.compress(json.dumps({f"barc_{i:06d}": task for i in range(50)}).encode())
    (tmp_path / "barc.json.gz").write_bytes(whole[: len(whole) // 2])
    done = candidates(tmp_path, {"barc": {"kind": "barc", "path": str(tmp_path / "barc.json.gz")}})
    refused(done, "barc.json.gz")


def test_a_grid_31_wide_is_refused(tmp_path):
    wide = [[0] * 31]
    task = {"train": [{"input": wide, "output": wide}] * 2, "test": [{"input": wide, "output": wide}]}
    (tmp_path / "mine.json").write_text(json.dumps({"too-wide": task}))
    done = candidates(tmp_path, {"mine": {"kind": "arc_json", "path": str(tmp_path / "mine.json")}})
    refused(done, "31")
    assert "too-wide" in done.stdout + done.stderr


def test_no_task_short_enough_is_refused(tmp_path):
    sources = {"few": {"kind": "generated", "n_tasks": 3, "seed": 1}}
    refused(candidates(tmp_path, sources, max_prompt_tokens=2), "max_prompt_tokens")
