"""The plan: the jobs of an experiment, their inputs and their launchers. Plain functions of the experiment.

Planning runs where Snakemake and pydantic are installed and nothing else is, so the modules here import no more.
"""
