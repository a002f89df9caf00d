"""The side of a worker that talks to the dashboard: claim, fetch, start the trainer, post events, upload. No tensors."""
