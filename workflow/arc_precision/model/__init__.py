"""The base model: its files, and the facts about its weights."""
