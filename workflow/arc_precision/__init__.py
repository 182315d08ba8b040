"""Float16 against bfloat16 in RL fine-tuning: the library behind the pipeline's scripts."""
