"""Figures for Prometheus: whose requests are answered."""

from __future__ import annotations

import http.client
import platform
import socket

import pytest

pytest.importorskip("prometheus_client")

from engine.outputs.prometheus import PrometheusExporter


def ask(port: int, *hosts: str) -> int:
    """The status of a request that names these hosts."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("GET", "/metrics", skip_host=True)
    for host in hosts:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_pages_of_others_are_kept_out() -> None:
    """A name server of theirs may say that their name is here; numbers and our names cannot be
    theirs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with PrometheusExporter(f"127.0.0.1:{port}"):
        for host in (
            *(f"127.0.0.1:{port}", "localhost:9", "[::1]:80", "10.0.0.5:9400", "[2001:db8::1]"),
            platform.node(),
        ):
            assert ask(port, host) == 200, host
        for hosts in (
            *([], [""], ["["], ["evil.example"], [f"evil.example:{port}"]),
            *(["127.0.0.1.evil.example"], ["localhost@evil.example:80"]),
            ["evil.example", f"127.0.0.1:{port}"],
        ):
            assert ask(port, *hosts) in (400, 403), hosts
