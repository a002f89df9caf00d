"""Which errors mean that the card or the machine has no memory left, or that the card itself failed. Told by their words:

torch, bitsandbytes and cuBLAS each raise a kind of their own, and torch need not be loaded to explain a failure.
"""

import errno
import sys

CARD_IS_FULL = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "HIP out of memory")
HOST_IS_FULL = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory", "std::bad_alloc")
CARD_FAILED = ("uncorrectable ECC error", "GPU has fallen off the bus", "GPU is lost", "no CUDA-capable device is detected")


def is_card_out_of_memory(error: BaseException) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or any(words in str(error) for words in CARD_IS_FULL)


def is_host_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return any(words in str(error) for words in HOST_IS_FULL)


def is_node_trouble(error: BaseException) -> bool:
    return any(words in str(error) for words in CARD_FAILED)


def card_memory_in_words() -> str:
    """The peak of this process and what the card has, as an end of a sentence; empty without a card."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ""
    try:
        free, total = torch.cuda.mem_get_info()
        peak, own = torch.cuda.max_memory_allocated(), torch.cuda.memory_reserved()
    except RuntimeError:  # a card that failed answers nothing
        return ""
    others = max(total - free - own, 0)  # the CUDA context, half a GB, and other processes
    return f": the run held up to {peak / 1e9:.1f} GB of the card's {total / 1e9:.1f} GB, and {others / 1e9:.1f} GB were taken beside it"
