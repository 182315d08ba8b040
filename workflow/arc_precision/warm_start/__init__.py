"""Supervised fine-tuning of a pretrained model on tasks and their programs, before reinforcement learning."""
