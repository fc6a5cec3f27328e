"""Two faults of the many, made in seconds; and the proxy."""

from __future__ import annotations

import socket

import pytest
from chaos.__main__ import run
from chaos.cell import Found
from chaos.proxy import Proxy


@pytest.mark.parametrize("fault", ["kill-after-load", "store-killed"])
def test_nothing_is_lost_and_nothing_old_is_fresh(fault: str) -> None:
    found = run("huey-ack", fault, 7)
    assert isinstance(found, Found), found
    assert not found.problems
    assert found.accepted >= 15
    assert found.read["calls"]
    if fault == "store-killed":
        assert found.write["errors"] or found.send["errors"], "nobody noticed"
        assert not found.read["errors"]
    else:
        assert found.restarts, "no worker died"


def test_a_proxy_passes_on_resets_and_leads_elsewhere() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        proxy = Proxy(one.getsockname()[1])
        try:
            for server in one, other:
                with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
                    client.sendall(b"hello")
                    server.settimeout(10)
                    behind, _ = server.accept()
                    with behind:
                        behind.settimeout(10)
                        assert behind.recv(5) == b"hello"
                        behind.sendall(b"world")
                        assert client.recv(5) == b"world"
                        proxy.redirect(other.getsockname()[1])
                        with pytest.raises(ConnectionResetError):
                            client.recv(5)
        finally:
            proxy.close()
