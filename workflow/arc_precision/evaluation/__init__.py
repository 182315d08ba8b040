"""Evaluation of a checkpoint: completions drawn, programs scored, metrics computed; and the choice of perfectible
tasks."""
