"""The door the workers knock at. Messages: worker/contract/orders.py."""
