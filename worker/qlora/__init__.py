"""One training run, in a process of its own: `python -m worker.qlora RUN_DIR`. Tensors, no network."""
