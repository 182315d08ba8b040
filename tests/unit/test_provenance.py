"""The variables of the shell that are kept with a run's facts."""

import os

import pytest

from arc_precision.provenance import provenance, variables

KEPT = [
    "VLLM_BATCH_INVARIANT",
    "VLLM_ATTENTION_BACKEND",
    "VLLM_FLASH_ATTN_VERSION",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCHINDUCTOR_MAX_AUTOTUNE",
    "CUBLAS_WORKSPACE_CONFIG",
    "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "OMP_NUM_THREADS",
    "MKL_CBWR",
]
LEFT_OUT = [
    "VLLM_API_KEY",
    "TRANSFORMERS_AUTH_TOKEN",
    "CUDA_VISIBLE_DEVICES",
    "VLLM_CACHE_ROOT",
    "TRITON_CACHE_DIR",
    "VLLM_LOGGING_LEVEL",
    "TORCH_CPP_LOG_LEVEL",
    "TRL_EXPERIMENTAL_SILENCE",
    "CUDA_HOME",
    "PATH",
    "HOME",
    "SOMETHING_ELSE",
]


@pytest.fixture(autouse=True)
def shell(monkeypatch):
    for name in list(variables()):
        monkeypatch.delenv(name)
    for name in KEPT + LEFT_OUT:
        monkeypatch.setenv(name, "1")


def test_variables_that_can_change_numbers_are_kept_and_others_are_not():
    assert variables() == dict.fromkeys(sorted(KEPT), "1")
    assert provenance()["environment"] == variables()


def test_a_variable_that_is_not_set_is_not_there():
    del os.environ["VLLM_BATCH_INVARIANT"]
    assert "VLLM_BATCH_INVARIANT" not in variables()
