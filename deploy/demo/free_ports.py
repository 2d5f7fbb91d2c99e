#!/usr/bin/env python3
"""Prints N port numbers that nobody uses on loopback, neither TCP nor UDP.

They lie below the range that the system gives to outgoing connections, or a stopped node could find its port taken when it
starts again.
"""
import random
import socket
import sys


def usable(port):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                # A port in TIME_WAIT can be listened on again.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def range_start():
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            return int(file.read().split()[0])
    except (OSError, ValueError):
        return 32768


def main():
    wanted = int(sys.argv[1])
    high = max(min(range_start(), 32768), 12000)
    start = random.randrange(10000, high - 1000)
    ports = []
    for port in list(range(start, high)) + list(range(10000, start)):
        if usable(port):
            ports.append(port)
            if len(ports) == wanted:
                print(*ports)
                return 0
    print("free_ports: too few free ports below", high, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
