"""What the dashboard and the workers say to each other. Standard library and pydantic only.

Field names are those of peft, transformers, bitsandbytes and trl, so their documentation is ours.
"""

PROTOCOL = 1  # sent with every work order; a worker refuses a newer one and says so
