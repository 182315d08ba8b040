"""The audit of a checkpoint: the same completions scored by both engines under controlled settings, then joined."""
