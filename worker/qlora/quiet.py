"""Keeps what the libraries say among themselves out of the user's log: progress bars, deprecations, optional kernels."""

import logging
import warnings

from transformers.utils.logging import disable_progress_bar

NOT_FOR_USERS = ("Failed to load CPU gemm_4bit_forward",)  # an optional kernel for inference; training never calls it


def quieten_libraries() -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    disable_progress_bar()
    for handler in (logging.lastResort, *logging.getLogger().handlers):
        if handler is not None:
            handler.addFilter(lambda record: not record.getMessage().startswith(NOT_FOR_USERS))
