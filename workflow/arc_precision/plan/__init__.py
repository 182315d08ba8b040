"""The plan: which jobs an experiment has, what they read and how they start. Plain functions of the experiment.

Planning runs where Snakemake and pydantic are installed and nothing else is, so the modules here import no more.
"""
