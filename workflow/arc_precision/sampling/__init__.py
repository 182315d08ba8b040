"""Drawing completions: the samplers, and how the trainer's weights reach them."""
