"""Stop strings in the real vLLM: they end a completion and change none of its tokens."""

import json
from pathlib import Path

from forks import run_script

STOP = [", ", "return"]


def test_a_stop_string_ends_a_completion_and_changes_no_token(tmp_path):
    run_script(Path(__file__).with_name("stop_probe.py"), tmp_path / "drawn.json", json.dumps(STOP))
    ended = 0
    for texts, before, after in zip(*json.loads((tmp_path / "drawn.json").read_text()), strict=True):
        found = [n for n, text in enumerate(texts) if any(part in text for part in STOP)]
        length = found[0] if found else len(before["token_ids"])
        assert after["token_ids"] == before["token_ids"][:length] and len(after["logprobs"]) == length
        assert after["truncated"] == (before["truncated"] and not found)
        ended += bool(found)
    assert 0 < ended and len(texts) > 1
