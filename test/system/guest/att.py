"""Tries characteristics over a link that is not encrypted, by bare packets of the attribute protocol.

att.py ADAPTER BOARD READ WRITE: prints what a read of the one and a write of the other are answered, as hex;
if the read is refused, what it is after the radios have agreed on a key that nobody was asked about.
"""

import ctypes
import socket
import struct
import sys
import uuid

AF_BLUETOOTH, L2CAP, SOL_BLUETOOTH, BT_SECURITY = 31, 0, 274, 4
ATT_CHANNEL, LE_PUBLIC = 4, 1


def address(text, channel=ATT_CHANNEL):
    return struct.pack("<HH6sHBx", AF_BLUETOOTH, 0, bytes.fromhex(text.replace(":", ""))[::-1], channel, LE_PUBLIC)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "the radio says no")


adapter, board, readable, writable = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
link = socket.socket(AF_BLUETOOTH, socket.SOCK_SEQPACKET, L2CAP)
link.settimeout(40)
checked(libc.bind(link.fileno(), address(adapter), 14))
# Blocking for the connection: Python knows no address with a channel in it.
link.setblocking(True)
checked(libc.connect(link.fileno(), address(board), 14))
link.settimeout(40)


def ask(packet):
    link.send(packet)
    while True:
        answer = link.recv(600)
        # Whatever the other end asks of this one as a client: not there.
        if answer[0] in (0x01, packet[0] + 1):
            return answer
        if answer[0] == 0x02:
            link.send(struct.pack("<BH", 0x03, 23))
        elif answer[0] % 2 == 0:
            link.send(struct.pack("<BBHB", 0x01, answer[0], 1, 0x0A))


def by_type(name):
    return struct.pack("<BHH", 0x08, 1, 0xFFFF) + uuid.UUID(name).bytes[::-1]


answer = ask(by_type(readable))
print("read", answer.hex())
# That it cannot be read names its handle.
(handle,) = struct.unpack_from("<H", ask(by_type(writable)), 2)
print("write", ask(struct.pack("<BHB", 0x12, handle, 2)).hex(), flush=True)
if answer[0] == 0x01:
    link.setsockopt(SOL_BLUETOOTH, BT_SECURITY, bytes([2, 0]))
    print("again", ask(by_type(readable)).hex())
