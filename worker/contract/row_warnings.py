"""What is said about rows that can be trained on nevertheless."""

from typing import Literal

WarningKind = Literal[
    "duplicate",
    "shared_between_splits",
    "very_long",
    "private_key",
    "access_token",
    "card_number",
    "iban",
    "email_address",
]
