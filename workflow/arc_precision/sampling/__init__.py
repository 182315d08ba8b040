"""Drawing completions: the engines, and how the trainer's weights reach them."""
