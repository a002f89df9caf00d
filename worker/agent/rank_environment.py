"""What a process of a run with several is told of its place: torchrun's variables, on this machine alone."""

import random
import socket

PORTS = range(20_000, 32_000)  # below those that the system gives to outgoing connections, so none takes it meanwhile
TRIES = 100


def rank_environment(rank: int, *, count: int, port: int) -> dict[str, str]:
    if count == 1:
        return {}
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",  # a host's name need not lead back to it
        "NCCL_SOCKET_IFNAME": "lo",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",  # who ends the others is the agent, which knows why
    }


def free_port() -> int:
    for _ in range(TRIES):
        port = random.choice(PORTS)  # noqa: S311
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("No free port for the processes of the run to meet at.")
