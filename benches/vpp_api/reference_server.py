#!/usr/bin/env python3
"""A plain server of the VPP binary API, one thread per client and no care for anything else: the yardstick
for what vpp_papi and GoVPP reach with control_ping.

    reference_server.py --socket PATH [--events N] MEMCLNT.api.json [OTHER.api.json ...]

Prints "ready" when it listens. A client that subscribes to anything is sent N copies of the event of
testgovpp.api. herald-apigen --json writes the api.json files.
"""
import argparse
import contextlib
import json
import os
import socketserver
import struct

HEADER = struct.Struct(">QII")
SOCKCLNT_CREATE, SOCKCLNT_DELETE = 15, 17
CLIENT_INDEX = 0x80000001
NAME_BYTES = 64


def message_names(paths):
    """The name and CRC of every message by id: memclnt's begin at 1, those of the other modules follow."""
    names = [None]
    for path in paths:
        with open(path, encoding="utf-8") as file:
            names += [f"{message[0]}_{message[-1]['crc'][2:]}" for message in json.load(file)["messages"]]
    return names


class Client(socketserver.StreamRequestHandler):
    def send(self, message):
        self.wfile.write(HEADER.pack(0, len(message), 0) + message)

    def handle(self):
        # Clients close without waiting for the reply to their sockclnt_delete.
        with contextlib.suppress(ConnectionError):
            self.converse()

    def converse(self):
        while header := self.rfile.read(HEADER.size):
            _, length, _ = HEADER.unpack(header)
            message = self.rfile.read(length)
            if len(message) < 6:
                return
            self.answer(struct.unpack_from(">H", message)[0], message)

    def answer(self, id, message):
        if id == SOCKCLNT_CREATE:
            table = self.server.table
            head = struct.pack(">HIIiIH", id + 1, CLIENT_INDEX, 0, 0, CLIENT_INDEX, len(table) // (2 + NAME_BYTES))
            context = message[2:6]
            self.send(head[:6] + context + head[10:] + table)
            return
        context = message[6:10]
        if id == self.server.control_ping:
            # retval, client_index, vpe_pid
            self.send(struct.pack(">H", id + 1) + context + struct.pack(">iII", 0, CLIENT_INDEX, os.getpid()))
        elif id == SOCKCLNT_DELETE:
            self.send(struct.pack(">H", id + 1) + context + struct.pack(">i", 1))
        else:
            self.send(struct.pack(">H", id + 1) + context + struct.pack(">i", 0))
            if id == self.server.want and message[10]:
                event = self.server.event + struct.pack(">I", CLIENT_INDEX) + message[11:15]
                event += struct.pack(">IIIBB5s", 2, 1000, 0xDEADBEEF, 5, 5, b"00000")
                frame = HEADER.pack(0, len(event), 0) + event
                for _ in range(self.server.events):
                    self.wfile.write(frame)


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path, names, events):
        super().__init__(path, Client)
        self.table = b"".join(struct.pack(">H64s", id, name.encode()) for id, name in enumerate(names) if name)
        ids = {name.rpartition("_")[0]: id for id, name in enumerate(names) if name}
        self.control_ping = ids["control_ping"]
        self.want = ids.get("want_cu_up_gtp_error_ind_events")
        self.event = struct.pack(">H", ids.get("cu_up_gtp_error_ind_event", 0))
        self.events = events


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--events", type=int, default=0)
    parser.add_argument("api", nargs="+")
    options = parser.parse_args()
    with Server(options.socket, message_names(options.api), options.events) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
