"""An edit makes exactly the affected jobs stale, as Snakemake sees it in a pipeline in which everything is done."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, inside

from arc_precision.contracts import layout
from arc_precision.staleness.plan import jobs
from arc_precision.staleness.table import document, stale_rules, table

MODEL = Path("resources/tiny-arc/model.safetensors")


def fresh_clone(finished, tmp_path):
    """The same files with new times and inodes, results and Snakemake's records copied beside them."""
    left_out = shutil.ignore_patterns(".snakemake")
    clone = shutil.copytree(finished, tmp_path / "clone", copy_function=shutil.copy, ignore=left_out)
    shutil.copytree(finished / ".snakemake" / "metadata", clone / ".snakemake" / "metadata")
    return clone


def stale(root, config=None):
    """(rule, wildcards of an output) for every output of the stale jobs."""
    outputs = {(job.rule, output) for job in jobs(root, config=config) if job.stale for output in job.output}
    return {(rule, *wildcards(output)) for rule, output in outputs}


def wildcards(output):
    kinds = [kind for kind in vars(layout).values() if isinstance(kind, layout.Pattern)]
    return next((tuple(found.values()) for kind in kinds if (found := kind.parse(inside(output)))), ())


def rules(root, config=None):
    return set(stale_rules(jobs(root, config=config)))


def test_every_key_of_the_config_reruns_what_the_documentation_says(finished):
    text = (ROOT / "docs" / "staleness.md").read_text()
    assert document(table(finished)) in text, "run `make staleness`"


def test_more_steps_add_segments_and_keep_the_old_ones(finished):
    found = stale(finished, {"max_steps": 30})
    trained = {job for job in found if job[0] == "train"}
    assert trained == {("train", arm, seed, "30") for arm in ("float16", "bfloat16") for seed in "012"}


def test_a_seed_an_arm_and_a_set_add_only_themselves(finished):
    more_seeds = [job for job in stale(finished, {"seeds": [0, 1, 2, 3]}) if job[0] not in REPORT]
    assert {job[1:3] for job in more_seeds if job[0] == "train"} == {("float16", "3"), ("bfloat16", "3")}
    assert {job[1] for job in more_seeds if job[0] != "train"} == {"float16/seed-3", "bfloat16/seed-3"}
    more_arms = stale(finished, {"run_arms": ["float16", "bfloat16", "float32"]})
    assert {job[1] for job in more_arms if job[0] == "train"} == {"float32"}
    more_sets = stale(finished, {"evaluate_on": ["arc-agi-1-training", "arc-agi-1-evaluation", "generated-held-out"]})
    assert {job[0] for job in more_sets} <= {"evaluation_set", "sample", "score", "report_data", "report_page"}
    assert {job[3] for job in more_sets if job[0] == "sample"} == {"arc-agi-1-training"}


def test_an_added_checkpoint_is_sampled_and_audited_alone(finished):
    more = {"evaluation": {"every": 10}, "audit": {"every": 10}}
    found = [job for job in stale(finished, more) if job[0] not in REPORT]
    assert {job[0] for job in found} == {"sample", "score"} | AUDITED
    assert {job[2] for job in found} == {"10"}


def test_one_job_samples_or_audits_all_seeds_that_trained_together(finished):
    """A seed that came later has jobs of its own."""
    plan = jobs(finished, config={"seeds": [0, 1, 2, 3], "evaluation": {"every": 10}, "audit": {"every": 10}})
    for rule in ("sample", "audit_draw", "audit_trainer", "audit_sampler"):
        made = [job.output for job in plan if job.stale and job.rule == rule]
        runs = {frozenset(wildcards(output)[0] for output in outputs) for outputs in made}
        together = [{f"{arm}/seed-{seed}" for seed in range(3)} for arm in ("float16", "bfloat16")]
        later = [{f"{arm}/seed-3"} for arm in ("float16", "bfloat16")]
        assert runs == set(map(frozenset, together + later))


def test_taking_something_away_reruns_the_report_alone(finished):
    for less in ({"run_arms": ["float16"]}, {"seeds": [1]}, {"evaluate_on": ["generated-held-out"]}):
        assert rules(finished, less) == {"report_data", "report_page"}


def test_an_arm_edited_reruns_that_arm_alone(finished):
    found = stale(finished, {"arms": {"float16": {"training": {"learning_rate": 1e-6}}}})
    assert {job[1] for job in found if job[0] == "train"} == {"float16"}
    assert {job[1].split("/")[0] for job in found if job[0] == "sample"} == {"float16"}


def test_two_values_that_swap_places_are_seen(finished):
    config = yaml.safe_load((finished / "config.yaml").read_text())
    epsilon, norm = config["training"]["epsilon"], config["training"]["max_grad_norm"]
    assert epsilon != norm
    assert "train" in rules(finished, {"training": {"epsilon": norm, "max_grad_norm": epsilon}})


def test_order_and_comments_of_the_config_are_nothing(finished):
    path = finished / "config.yaml"
    text = path.read_text()
    try:
        path.write_text("# another comment\n" + yaml.safe_dump(yaml.safe_load(text), sort_keys=True))
        assert not stale(finished)
    finally:
        path.write_text(text)


def test_touching_every_file_reruns_nothing(finished):
    for path in finished.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts and "results" not in path.parts:
            os.utime(path)
    assert not stale(finished)


def test_a_fresh_clone_with_copied_results_has_nothing_to_do(finished, tmp_path):
    clone = fresh_clone(finished, tmp_path)
    assert not stale(clone)


def test_other_weights_rerun_everything_that_uses_the_model(finished):
    path = finished / MODEL
    weights = path.read_bytes()
    try:
        path.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
        assert {"model_manifest", "train_set", "train", "sample"} <= rules(finished)
    finally:
        path.write_bytes(weights)


REPORT = {"report_data", "report_page"}
SCORED = {"sample", "score"} | REPORT
AUDITED = {"audit_draw", "audit_trainer", "audit_sampler", "audit_join"}
TRAINED = {"train"} | AUDITED | SCORED
ALL_DATA = {"train_candidates", "evaluation_set", "train_set"} | TRAINED
EDITS = {
    "scoring/rewards.py": {"train_set"} | TRAINED,
    "tasks/canonical.py": ALL_DATA,
    "training/segment.py": TRAINED,
    "evaluation/drawing.py": {"train_set"} | TRAINED,
    "sandbox/barc_library.py": {"train_set"} | TRAINED,
    "sandbox/server/worker.py": {"train_set"} | TRAINED,
    "language/dsl.py": ALL_DATA,
    "evaluation/task_metrics.py": REPORT,
    "config/report.py": REPORT,
    "report/page.py": {"report_page"},
    "config/experiment.py": set(),
    "staleness/plan.py": set(),
}


@pytest.mark.parametrize(("module", "expected"), EDITS.items(), ids=EDITS)
def test_an_edited_module_reruns_the_stages_that_import_it(finished, module, expected):
    path = finished / "workflow" / "arc_precision" / module
    text = path.read_text()
    try:
        path.write_text(text + "\n# edited\n")
        assert rules(finished) == expected
    finally:
        path.write_text(text)


def test_the_trainer_states_that_go_are_not_missed(finished):
    states = (finished / "results" / "tiny" / "runs").rglob("trainer_state.tar")
    assert {path.parent.name for path in states} == {"checkpoint-20"}
    assert not stale(finished)
    assert {job[3] for job in stale(finished, {"max_steps": 30}) if job[0] == "train"} == {"30"}


def test_an_edited_template_reruns_the_page_alone(finished):
    path = finished / "workflow" / "report" / "page.html.j2"
    text = path.read_text()
    try:
        path.write_text(text + "\n")
        assert rules(finished) == {"report_page"}
    finally:
        path.write_text(text)


def test_an_edited_prompt_reruns_what_reads_it(finished):
    for name, expected in (("dsl", {"model_manifest"} | ALL_DATA), ("barc", set())):
        path = finished / "resources" / "prompts" / f"{name}.jinja"
        text = path.read_text()
        try:
            path.write_text(text.replace("{%", "{# edited #}{%", 1))
            plan = jobs(finished)
            assert set(stale_rules(plan)) == expected
            named = {job.rule for job in plan if any(reason.startswith("prompt was") for reason in job.reasons)}
            assert named == ({"model_manifest"} if expected else set())  # the other jobs follow from it
        finally:
            path.write_text(text)


def test_a_prompt_of_ones_own_is_known_by_its_content(finished, tmp_path):
    """The same text under another name or elsewhere reruns nothing."""
    own = tmp_path / "own.jinja"
    text = (finished / "resources" / "prompts" / "dsl.jinja").read_text()
    own.write_text(text)
    assert not stale(finished, {"model": {"prompt": str(own)}})
    own.write_text(text + "{# edited #}")
    assert rules(finished, {"model": {"prompt": str(own)}}) == {"model_manifest"} | ALL_DATA
    with pytest.raises(ValueError, match="model.prompt: 'nowhere' is neither"):
        jobs(finished, config={"model": {"prompt": "nowhere"}})


def test_a_plotting_package_in_the_pins_retrains_nothing(finished):
    path = finished / "envs" / "requirements-cpu.txt"
    text = path.read_text()
    try:
        path.write_text(text + "plotting==1.0\n    # via report\n")
        assert not stale(finished)
        path.write_text(text.replace("jinja2==", "jinja2==9"))
        assert "report_page" in rules(finished)
        path.write_text(text.replace("\ntrl==", "\ntrl==9"))
        assert "train" in rules(finished) and "score" in rules(finished)
    finally:
        path.write_text(text)


def test_a_new_key_in_the_report_section_retrains_nothing(finished, tmp_path):
    clone = fresh_clone(finished, tmp_path)
    path = clone / "workflow" / "arc_precision" / "config" / "report.py"
    path.write_text(path.read_text().replace("class ReportSlice", "    new_key: int = Field(1)\n\n\nclass ReportSlice"))
    probe = (
        "import json, sys; from pathlib import Path; from arc_precision.staleness.plan import jobs; "
        "print(json.dumps(sorted({job.rule for job in jobs(Path.cwd()) if job.stale})))"
    )
    environment = os.environ | {"PYTHONPATH": str(clone / "workflow")}
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=clone, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == ["all", "report_data", "report_page"]


def test_a_reason_names_the_key_with_old_and_new_value(finished):
    plan = jobs(finished, config={"training": {"learning_rate": 0.125}})
    reasons = {reason for job in plan if job.rule == "train" for reason in job.reasons}
    before = yaml.safe_load((finished / "config.yaml").read_text())["training"]["learning_rate"]
    assert f"training.learning_rate was {before} and is now 0.125" in reasons


def why(root, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    command = [sys.executable, root / "workflow" / "tools" / "why.py", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


def test_why_names_what_was_edited_and_counts_what_follows(finished, tmp_path):
    clone = fresh_clone(finished, tmp_path)
    assert why(clone).stdout == "Nothing is stale.\n"
    edited = tmp_path / "edited.yaml"
    edited.write_text("run_arms: [float16]\n")
    lines = why(clone, "--configfile", edited).stdout.splitlines()
    assert "results/tiny/report/report.json  (report_data)" in lines and "1 more job follows from these." in lines
    # Retention has removed files that nothing needs any more, and that is no cause.
    assert not (clone / "results/tiny/runs/float16/seed-0/checkpoint-10/trainer_state.tar").exists()
    edited.write_text("perfectible: {seed: 5}\n")
    lines = why(clone, "--configfile", edited).stdout.splitlines()
    assert lines[0] == "results/tiny/data/train.parquet  (train_set)"
    assert lines[1] == "    perfectible.seed was 0 and is now 5"
    assert len(lines) == 3 and lines[2].endswith(" more jobs follow from these.")
    segment = "results/tiny/runs/float16/seed-0/checkpoint-10/adapter_model.safetensors"
    lines = why(clone, "--configfile", edited, "--file", segment).stdout.splitlines()
    assert lines[1] == "    results/tiny/data/train.parquet will be made anew"


def test_why_says_a_fault_of_the_configuration_in_one_sentence(finished, tmp_path):
    edited = tmp_path / "edited.yaml"
    edited.write_text("sampling: {temperature: 0.9}\n")
    done = why(finished, "--configfile", edited)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("error: sampling.temperature: 0.9")
    assert "Traceback" not in done.stderr
