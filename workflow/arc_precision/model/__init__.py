"""What the base model is: its files, and the facts about its weights."""
