"""Two networks and a bad line between them, of packets that are late, lost, doubled and overtaken.

Makes two network namespaces with a TUN device each (10.77.0.1 and 10.77.0.2) and carries packets to
and fro; all of it is gone when this program ends. Wants CAP_NET_ADMIN and /dev/net/tun, and no queue
discipline of the kernel's. Says `ready FD FD`, the open namespaces, for nsenter --net=/proc/PID/fd/FD.
Each line of standard input is what the line is like from then on, as JSON; one that says "tell", and the
input's end, which ends the program, have the counts printed.
"""

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFDSTADDR = 0x8914, 0x8916, 0x8918
IFF_UP, IFF_RUNNING = 0x1, 0x40
LONGEST_QUEUE_S = 1.0

line = {"delayMs": 0, "jitterMs": 0, "loss": 0, "twice": 0, "bytesPerS": 1e9, "isCut": False}
counts = {"packets": 0, "lost": 0, "doubled": 0, "overtaken": 0, "full": 0, "cut": 0}


def configure(name, request, value):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, request, struct.pack("16s16s", name, value))


def address(text):
    return struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(text))


def open_end(own, other):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace")
    space = os.open("/proc/self/ns/net", os.O_RDONLY)
    tunnel = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tunnel, TUNSETIFF, struct.pack("16sH22x", b"line", IFF_TUN | IFF_NO_PI))
    configure(b"line", SIOCSIFADDR, address(own))
    configure(b"line", SIOCSIFDSTADDR, address(other))
    for name in (b"line", b"lo"):
        configure(name, SIOCSIFFLAGS, struct.pack("H", IFF_UP | IFF_RUNNING))
    return space, tunnel


def main():
    chance = random.Random(77)
    spaces, ends = zip(open_end("10.77.0.1", "10.77.0.2"), open_end("10.77.0.2", "10.77.0.1"))
    print("ready", *spaces, flush=True)
    under_way, free, newest, number, orders = [], [0.0, 0.0], [0.0, 0.0], 0, b""
    while True:
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, to, packet = heapq.heappop(under_way)
            os.write(ends[to], packet)
        wait = max(0, under_way[0][0] - now) if under_way else None
        for ready in select.select([0, *ends], [], [], wait)[0]:
            if ready == 0:
                more = os.read(0, 65536)
                if not more:
                    return print(json.dumps(counts), flush=True)
                *whole, orders = (orders + more).split(b"\n")
                for order in map(json.loads, whole):
                    if order.pop("tell", False):
                        print(json.dumps(counts), flush=True)
                    line.update(order)
                continue
            to = 1 - ends.index(ready)
            packet = os.read(ready, 65536)
            counts["packets"] += 1
            now = time.monotonic()
            if line["isCut"]:
                counts["cut"] += 1
            elif chance.random() < line["loss"]:
                counts["lost"] += 1
            elif free[to] - now > LONGEST_QUEUE_S:
                counts["full"] += 1
            else:
                free[to] = max(now, free[to]) + len(packet) / line["bytesPerS"]
                is_twice = chance.random() < line["twice"]
                counts["doubled"] += is_twice
                for _ in range(1 + is_twice):
                    late = line["delayMs"] + chance.random() * line["jitterMs"]
                    due = free[to] + late / 1000
                    counts["overtaken"] += due < newest[to]
                    newest[to] = max(newest[to], due)
                    number += 1
                    heapq.heappush(under_way, (due, number, to, packet))


main()
