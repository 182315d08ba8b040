"""The facts show vLLM's parts in float8. A CPU supports float8 only for keys and values, and only with AVX-512."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from forks import run_script


@pytest.mark.skipif(not torch.cpu._is_avx512_supported(), reason="needs AVX-512")
def test_keys_and_values_in_float8_are_observed_and_move_log_probs(tmp_path):
    found = {}
    for kind in ("auto", "fp8"):
        output = tmp_path / f"{kind}.json"
        run_script(Path(__file__).with_name("float8_probe.py"), output, kind)
        found[kind] = json.loads(output.read_text())
        assert found[kind]["observed"]["kv_cache_dtype"] == kind
    plain, float8 = (np.array(found[kind]["scored"]) for kind in ("auto", "fp8"))
    assert np.isfinite(float8).all() and 1e-3 < np.abs(float8 - plain).mean() < 0.5
