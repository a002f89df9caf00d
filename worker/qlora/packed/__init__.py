"""The fast way through a decoder: rows end to end, LoRA fused into the frozen product, the whole pass as one CUDA graph."""
