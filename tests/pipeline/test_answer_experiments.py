"""The experiments of docs/answer.md: each can be planned where its model is, and has the size its header states."""

import gzip
import json
import subprocess

import numpy as np
import pytest
from conftest import ROOT, copy_pipeline
from safetensors.numpy import save_file

from arc_precision.staleness.plan import experiment_of, jobs

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# By experiment: its files, arms, seeds, segments of a run, evaluations, audits.
PLANNED = {
    "smollm2": (["smollm2"], 2, 5, 3, 11, 0),
    "smollm2-sweep": (["smollm2", "smollm2-sweep"], 6, 1, 1, 7, 0),
    "smollm2-swept": (["smollm2", "smollm2-swept"], 2, 3, 3, 7, 0),
    "smollm2-causes": (["smollm2-causes"], 10, 3, 3, 31, 0),
    "notebook-8b-audit": (["notebook-8b-audit"], 4, 1, 1, 5, 4),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The pipeline with a stand-in for every model: the files that a plan reads."""
    root = copy_pipeline(tmp_path_factory.mktemp("pipeline"))
    for files, *_ in PLANNED.values():
        folder = root / experiment_of(root, _configs(files)).model.path
        folder.mkdir(parents=True, exist_ok=True)
        config = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 8192}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "tokenizer.json").write_text(json.dumps({"model": {}}))
        weights = {f"model.layers.0.{name}.weight": np.zeros((2, 2), np.float32) for name in LAYERS}
        save_file(weights, folder / "model.safetensors")
    return root


def _configs(files: list[str]) -> list[str]:
    return [str(ROOT / "experiments" / f"{name}.yaml") for name in files]


@pytest.mark.parametrize("name", PLANNED)
def test_an_experiment_of_the_answer_has_its_size(root, name):
    files, arms, seeds, segments, evaluations, audits = PLANNED[name]
    plan = jobs(root, _configs(files))
    assert sum(job.rule == "train" for job in plan) == arms * segments  # all seeds of an arm in one job
    outputs = [output for job in plan for output in job.output if "/samples/" not in output or output[-5:] != ".json"]
    for pattern, wanted in (("/steps-", arms * seeds * segments), ("/samples/", evaluations), ("/chain.json", audits)):
        assert sum(pattern in output for output in outputs) == wanted
    assert all(output.startswith(f"results/{name}/") for job in plan for output in job.output)


def test_the_edge_is_the_same_in_both_of_its_experiments(root):
    """An arm of smollm2-causes changes the setting in its name, and nothing else of smollm2.yaml."""
    edge, causes = (experiment_of(root, _configs([name])) for name in ("smollm2", "smollm2-causes"))
    for arm in ("float16", "bfloat16"):
        assert edge.train_slice(arm) == causes.train_slice(arm)
        assert edge.sample_slice(arm, "generated-held-out", "float16") == causes.sample_slice(
            arm, "generated-held-out", "float16"
        )
    assert edge.candidates_slice() == causes.candidates_slice()
    assert edge.perfectible_slice() == causes.perfectible_slice()
    reference = causes.train_slice("bfloat16").model_dump()
    changed = {}
    for arm in causes.run_arms:
        ours = causes.train_slice(arm).model_dump()
        changed[arm] = {key for key, value in ours.items() if value != reference[key]}
    assert changed == {
        "bfloat16": set(),
        "float16": {"trainer_dtype", "sampler_dtype"},
        "float16-trainer": {"trainer_dtype"},
        "float16-sampler": {"sampler_dtype"},
        "top-p-95": {"sampling"},
        **{name: {"training"} for name in ("token-truncate", "sequence-mask", "masked", "one-prompt", "scale-64")},
    }
    lora = causes.training_of("scale-64").lora
    assert lora.alpha / lora.r == 64
    assert causes.training_of("one-prompt").prompts_per_generation == 1


def test_the_warm_start_and_the_runs_share_no_task(root):
    warm = experiment_of(root, _configs(["smollm2-warm-start"]))
    edge = experiment_of(root, _configs(["smollm2"]))
    own = {warm.warm_start.source.seed, warm.warm_start.trial.source.seed}
    assert not own & {edge.sources[name].seed for name in ("generated", "generated-held-out")}
    assert edge.model.path == f"results/{warm.experiment}/warm-start" and edge.model.prompt == warm.model.prompt


def test_a_warm_start_reads_a_file_of_barc_and_is_told_by_its_content(root):
    (root / "barc.json.gz").write_bytes(gzip.compress(b"{}"))
    (root / "barc.yaml").write_text("warm_start: {barc: {path: barc.json.gz}}\n")
    command = ["snakemake", "-np", "warm_start", "--configfile", "barc.yaml"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    fit = next(line for line in done.stdout.splitlines() if "warm_start_fit.py" in line)
    assert "--source-path barc.json.gz" in fit and 'barc.path="barc' not in fit and "barc.path=" in fit
    tried = [line for line in done.stdout.splitlines() if "warm_start_trial.py" in line]
    models = {line.split(" --model ")[1].split()[0] for line in tried}
    assert models == {"resources/tiny-arc", "results/tiny/warm-start"}
    (root / "barc.json.gz").unlink()
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert "barc.json.gz: no such file" in done.stdout + done.stderr
