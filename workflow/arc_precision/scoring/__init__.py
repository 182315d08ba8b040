"""Scoring for training and evaluation: run a completion's program, and compare its outputs with the answers."""
