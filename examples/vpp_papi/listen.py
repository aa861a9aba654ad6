#!/usr/bin/env python3
"""Subscribes to the GTP error indications of testgovpp.api and prints each.

    listen.py [--socket PATH] [--apidir DIR] [--count N] [--pings N]

It talks to a program that serves the API with Herald, such as c_examples/testgovpp_host, and to a VPP
that has the plugin, in the same way. Without --apidir it asks the server for its API. It unsubscribes
after N events, or when interrupted; with --pings it only measures control_ping.

Needs vpp_papi: pip install vpp_papi
"""
import argparse
import os
import queue
import sys
import time

from vpp_papi import VPPApiClient


def arguments():
    parser = argparse.ArgumentParser(description="Print the events of testgovpp.api.")
    parser.add_argument("--socket", default="/run/herald/api.sock", help="the API socket")
    parser.add_argument("--apidir", help="a folder of .api.json files, memclnt and ip_types among them")
    parser.add_argument("--count", type=int, default=0, help="unsubscribe after this many events")
    parser.add_argument("--pings", type=int, default=0, help="send this many pings, print their rate, leave")
    return parser.parse_args()


def ping(vpp, count):
    start = time.monotonic()
    for _ in range(count):
        vpp.api.control_ping()
    print(f"{count} pings, {count / (time.monotonic() - start):.0f} per second")


def listen(vpp, count):
    # The callback runs in the thread that reads the socket: hand the event over and return.
    events = queue.SimpleQueue()
    vpp.register_event_callback(lambda name, event: events.put((name, event)))

    def subscribe(enable):
        reply = vpp.api.want_cu_up_gtp_error_ind_events(enable_disable=enable, pid=os.getpid())
        if reply.retval != 0:
            sys.exit(f"not {'' if enable else 'un'}subscribed: error {reply.retval}")
        print("subscribed" if enable else "unsubscribed", flush=True)

    subscribe(True)
    seen = 0
    try:
        while count == 0 or seen < count:
            name, event = events.get()
            if name == "cu_up_gtp_error_ind_event":
                seen += 1
                print(f"{event.type.name} pid {event.pid} ue {event.data.ue_id} te {event.data.te_id:#x} "
                      f"rb {event.data.rb_id} raw {event.raw_msg_data.hex()}", flush=True)
    except KeyboardInterrupt:
        pass
    subscribe(False)


def main():
    args = arguments()
    vpp = VPPApiClient(apidir=args.apidir, bootstrapapi=args.apidir is None, server_address=args.socket)
    vpp.connect("listen.py")
    try:
        if args.pings:
            ping(vpp, args.pings)
        else:
            listen(vpp, args.count)
    finally:
        vpp.disconnect()


if __name__ == "__main__":
    main()
