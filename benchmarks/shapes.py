"""Shapes of the models that the benchmarks make up: Llama 3.1 8B, and the embedded tiny model."""

SHAPES = {
    "8b": dict(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, max_position_embeddings=16384,
    ),
    "tiny": dict(
        vocab_size=128, hidden_size=256, intermediate_size=704, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=1536,
    ),
}  # fmt: skip
