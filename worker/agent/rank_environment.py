"""What a process of a run with several is told of its place: torchrun's variables, on this machine alone, and where they meet."""

from pathlib import Path


def rank_environment(rank: int, *, count: int, meeting: Path) -> dict[str, str]:
    """`meeting`: where the first process will write the port it listens on. No port is chosen here: another program could take it."""
    if count == 1:
        return {}
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "NIBBLE_MEETING": str(meeting),
        "GLOO_SOCKET_IFNAME": "lo",  # a host's name need not lead back to it
        "NCCL_SOCKET_IFNAME": "lo",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",  # who ends the others is the agent, which knows why
    }
