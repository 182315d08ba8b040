"""The pipeline on a pool whose history has the requests and the machine of each job."""

from pool import HERE, MACHINES, Pool, Project

GPU_RULES = {"train_set", "train", "sample", "audit_draw", "pretrain"}


def rule_of(job: dict) -> str:
    return job["JobBatchName"].rpartition("-")[0]


def test_only_gpu_rules_ask_for_gpus(pool: Pool, project: Project):
    assert project.run("out/score_float16", "out/pretrain", "--config", 'label=two "quoted" words') == 0
    assert (project.folder / "out/train_float16.label").read_text() == 'two "quoted" words\n'
    jobs = pool.history(project.jobs_here)
    assert len(jobs) == 8
    for job in jobs:
        on_gpu = rule_of(job) in GPU_RULES
        assert job.get("RequestGPUs", 0) == on_gpu
        assert ("RequireGPUs" in job) == on_gpu
        assert job["RequestMemory"] == (573 if on_gpu else 287)  # MiB: 600 and 300 MB
        assert job["RequestCpus"] == (2 if rule_of(job) == "score" else 1)
        assert job["JobLeaseDuration"] == 300
        assert job["LastRemoteHost"].rpartition("@")[2] in MACHINES
        assert (job["ExitCode"], job["NumJobStarts"]) == (0, 1)
    # HTCondor shows a job its own GPU, and hides all GPUs from a job without one.
    assert "CUDA_VISIBLE_DEVICES=GPU-" in (project.folder / "out/train_float16").read_text()
    assert "CUDA_VISIBLE_DEVICES=10000\n" in (project.folder / "out/score_float16").read_text()


def test_every_key_of_the_notebooks_submit_description_can_be_said(pool: Pool, project: Project):
    project.profiles.append(str(HERE / "site"))
    assert project.run("out/pretrain", "--retries", "0") == 1, "the pool has no such machine"
    (job,) = pool.history(project.jobs_here)
    assert job["WantDocker"] and job["DockerImage"] == "pytorch/pytorch:2.4.0-cuda12.1-cudnn9-runtime"
    assert 'TARGET.HasDocker) && (TARGET.Machine == "gpu3.example.com")' in job["Requirements"]
    assert (job["RequestGPUs"], job["RequestCpus"]) == (1, 20)
    assert (job["RequestMemory"], job["RequestDisk"]) == (128 * 1024, 20 * 1024**2)  # MiB, KiB
    assert job["ShouldTransferFiles"] == "NO"
    assert job["Project"] == "arc"
    variables = job["Environment"].split()
    assert {"PYTHONPATH=/mnt/library", "TOKENIZERS_PARALLELISM=false"} <= set(variables)
    assert any(variable.startswith("PATH=") for variable in variables), "getenv"


def test_requirements_choose_the_machine_and_gpu_requirements_only_that_of_gpu_jobs(pool: Pool, project: Project):
    first, second = (f'(TARGET.Machine == "{machine}")' for machine in sorted(MACHINES))
    chosen = {"pretrain": f"gpu_requirements: {second}", "evaluation_set": f"requirements: {first}"}
    chosen["model_manifest"] = f"gpu_requirements: {second}"
    (project.folder / "site").mkdir()
    lines = "".join(f"  {rule}:\n    {setting}\n" for rule, setting in chosen.items())
    (project.folder / "site" / "profile.yaml").write_text(f"set-resources:\n{lines}")
    project.profiles.append("site")
    assert project.run(*(f"out/{rule}" for rule in chosen)) == 0
    jobs = {rule_of(job): job for job in pool.history(project.jobs_here)}
    assert jobs["pretrain"]["LastRemoteHost"].endswith("@gpu2.example.com")
    assert jobs["evaluation_set"]["LastRemoteHost"].endswith("@gpu1.example.com")
    assert [rule for rule in chosen if "TARGET.Machine" in jobs[rule]["Requirements"]] == ["pretrain", "evaluation_set"]
