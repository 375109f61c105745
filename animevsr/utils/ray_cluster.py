"""The connection to a Ray cluster, for whatever runs there."""

from __future__ import annotations

import os
import socket
import threading
from signal import SIGTERM, getsignal, signal
from types import ModuleType


def connect(address: str | None) -> ModuleType:
    """Ray, connected to the cluster at `address` ('auto', or host:port), if it is not connected yet.

    Raises:
        ValueError: Ray is not installed, or there is no cluster.
    """
    # a cluster that is not there is reported once, in one line
    os.environ.setdefault('RAY_BACKEND_LOG_LEVEL', 'fatal')
    try:
        import ray
    except ModuleNotFoundError:
        raise ValueError("cluster: the package ray is missing; run: pip install 'ray>=2.40'") from None
    if ray.is_initialized():
        return ray
    before = getsignal(SIGTERM)
    try:
        host, _, port = address.removeprefix('ray://').rpartition(':')
        if host:  # where nobody listens, Ray ends the process after a minute
            socket.create_connection((host, int(port)), 10).close()
        ray.init(address=address, log_to_driver=False, logging_level='ERROR')
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"cluster '{address}': no Ray cluster answers there ({' '.join(str(error).split())[:150]});"
            ' start one: ray start --head'
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal(SIGTERM, before)  # Ray puts in its own
    return ray
