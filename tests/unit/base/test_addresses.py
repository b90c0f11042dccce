"""Addresses: what is one, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.addresses import host_and_port, is_loopback, tcp_address, tcp_endpoint
from engine.base.errors import UsageError

HOSTS = st.ip_addresses().map(str) | st.sampled_from(["localhost", "example.org", "a-b"])


@given(HOSTS, st.integers(0, 65535))
def test_there_and_back(host: str, port: int) -> None:
    endpoint = tcp_endpoint(host, port)
    assert tcp_address(endpoint) == (host, port)
    assert host_and_port(endpoint.removeprefix("tcp://"), "no") == (host, port)


@given(HOSTS)
def test_without_a_port(host: str) -> None:
    address = tcp_endpoint(host, "").removesuffix(":")
    assert tcp_address(address) == (host, None)
    with pytest.raises(UsageError, match="as we said"):
        host_and_port(address.removeprefix("tcp://"), "as we said")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:5",
        "udp://a:5",
        "tcp://",
        "tcp://a:b",
        "tcp://a:99999999",
        "tcp://a:1/x",
        "tcp://u@a:1",
        "tcp://a:",
        "tcp://[::1",
    ],
)
def test_no_addresses(address: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        tcp_address(address)
    with pytest.raises(UsageError, match="as we said"):
        host_and_port(address.removeprefix("tcp://") + "/", "as we said")


def test_loopback() -> None:
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.3.2.1", "::1"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "example.org", "192.0.2.7", ""]))
