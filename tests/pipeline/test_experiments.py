"""Experiments are planned by Snakemake as their files say."""

import re
import subprocess
from collections import Counter

from conftest import copy_pipeline

from arc_precision.contracts import layout

EVERY_RULE = {
    "model_manifest", "train_candidates", "train_set", "evaluation_set", "train", "sample", "score", "audit_draw",
    "audit_trainer", "audit_sampler", "audit_join", "report_data", "report_page", "all",
}  # fmt: skip


def test_the_remedies_are_arms_that_go_through_every_rule(tmp_path):
    """`snakemake -n` of the file itself. The base model is evaluated too."""
    command = ("snakemake", "-n", "--cores", "2", "--configfile", "experiments/remedies.yaml")
    done = subprocess.run(command, cwd=copy_pipeline(tmp_path), capture_output=True, text=True, timeout=300)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    jobs = Counter()
    table = text[: text.index("\ntotal ") + 20]  # Snakemake prints it twice
    for rule, n in re.findall(r"^(\S+) +(\d+)$", table, re.MULTILINE):
        jobs[layout.kind_of(rule)] += int(n)
    assert set(jobs) == EVERY_RULE
    assert (jobs["train"], jobs["score"], jobs["audit_join"]) == (12, 13, 12)
    for remedy in ("float16", "icepop", "geometric-mask", "adamw", "logit-noise"):
        assert f"results/remedies/runs/{remedy}/seed-0/steps-4.jsonl" in text
