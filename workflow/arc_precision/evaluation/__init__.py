"""What a checkpoint is worth: completions drawn, programs scored, metrics taken; and which tasks are perfectible."""
