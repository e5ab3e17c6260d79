"""Under which address other nodes reach this one, and which ports are free."""

from __future__ import annotations

import ipaddress
import os
import socket

from reasoning_pipeline.errors import PipelineError

INTERFACE_VARIABLE = "REASONING_PIPELINE_INTERFACE"
"""The profile's `slurm.interface`, for trainers on other nodes than the runner's."""


def own_address(interface: str | None = None) -> str:
    """This node's address for other nodes: of the network interface by that name, else what its own name resolves to.

    Raises:
        PipelineError: No such interface; or its own name is loopback's, as Debian and Ubuntu write it into /etc/hosts.
    """
    interface = interface or os.environ.get(INTERFACE_VARIABLE)
    known = _addresses()
    if interface is not None:
        if interface not in known:
            raise PipelineError(
                f"{socket.gethostname()} has no network interface {interface!r} with an IPv4 address",
                remedy=f"set slurm.interface in the hardware profile to one of: {_listed(known)}",
            )
        return known[interface]
    name = os.environ.get("SLURMD_NODENAME", socket.gethostname())
    try:
        found = socket.gethostbyname(name)
    except OSError as error:
        raise PipelineError(
            f"this node's own name {name} has no address ({error})",
            remedy=f"set slurm.interface in the hardware profile to one of: {_listed(known)}",
        ) from error
    if is_loopback(found):
        raise PipelineError(
            f"this node's own name {name} resolves to {found}, which no other node reaches",
            remedy=f"set slurm.interface in the hardware profile to one of: {_listed(known)}",
        )
    return found


def is_loopback(host: str) -> bool:
    """Of an address or `localhost`; other names are not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on now, chosen by the system; "" for the host: on no address of this machine."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _addresses() -> dict[str, str]:
    """Interface -> its first IPv4 address."""
    import psutil  # here: a profile is read without any address

    return {
        name: entry.address
        for name, entries in psutil.net_if_addrs().items()
        for entry in reversed(entries)
        if entry.family == socket.AF_INET
    }


def _listed(known: dict[str, str]) -> str:
    return (
        ", ".join(f"{name} ({address})" for name, address in known.items() if not is_loopback(address)) or "none here"
    )
