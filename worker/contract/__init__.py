"""What the dashboard and the workers say to each other. Standard library and pydantic only.

Field names are those of peft, transformers, bitsandbytes and trl, so their documentation is ours.
"""

PROTOCOL = 4
"""Sent with every work order; a worker refuses a newer one and says so. 2: pause, checkpoints sent, host policy. 3: objectives
beside SFT, 8 bits, full fine-tuning, several GPUs (protocols.py). 4: datasets come as rows files, held-out rows marked in them; a
model's tokenizer is sent."""

OLDEST_PROTOCOL = 1  # the dashboard still speaks with workers of one protocol before
