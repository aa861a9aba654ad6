"""A vpp_papi client of testgovpp.api, for the tests. It asks VPP itself for the definitions.

    papi_client.py SOCKET subscribe COUNT [quiet]   the whole conversation, until COUNT events have come
    papi_client.py SOCKET reconnect                 subscribes again whenever VPP has started again
    papi_client.py SOCKET reporter SW_IF_INDEX on|off
"""
import os
import sys
import threading
import time

from vpp_papi import VPPApiClient


def say(*words):
    """Prints a line at once and whole: events are printed by a thread of their own."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Events:
    """Counts the events, prints each unless told not to, and says when enough have come."""

    def __init__(self, count, quiet):
        self.left = count
        self.quiet = quiet
        self.enough = threading.Event()
        if count == 0:
            self.enough.set()

    def __call__(self, name, event):
        if name != "cu_up_gtp_error_ind_event":
            return
        if not self.quiet:
            data = event.data
            say(
                f"{event.type.name} pid {event.pid} ue {data.ue_id} te {data.te_id:#x} rb {data.rb_id}"
                f" raw {bytes(event.raw_msg_data).hex()}"
            )
        self.left -= 1
        if self.left == 0:
            self.enough.set()


def subscribe(vpp, count, quiet):
    def want(enable):
        return vpp.api.want_cu_up_gtp_error_ind_events(enable_disable=enable, pid=os.getpid()).retval

    events = Events(count, quiet)
    vpp.register_event_callback(events)
    say("absent", want(False))
    say("subscribed", want(True))
    say("duplicate", want(True))
    events.enough.wait()
    say("unsubscribed", want(False))
    say("left", events.left)


def reconnect(socket):
    connected = False
    while True:
        try:
            vpp = VPPApiClient(bootstrapapi=True, server_address=socket)
            vpp.connect("herald-test")
            vpp.register_event_callback(Events(1 << 32, False))
            reply = vpp.api.want_cu_up_gtp_error_ind_events(enable_disable=True, pid=os.getpid())
            say("subscribed", reply.retval)
            connected = True
            while True:
                vpp.api.control_ping()
                time.sleep(0.05)
        except Exception:
            if connected:
                say("disconnected")
            connected = False
            time.sleep(0.05)


def main():
    socket, command, *arguments = sys.argv[1:]
    if command == "reconnect":
        reconnect(socket)
    vpp = VPPApiClient(bootstrapapi=True, server_address=socket)
    vpp.connect("herald-test")
    if command == "subscribe":
        subscribe(vpp, int(arguments[0]), "quiet" in arguments)
    else:
        index, switch = arguments
        reply = vpp.api.testgovpp_enable_disable(enable_disable=switch == "on", sw_if_index=int(index))
        say("retval", reply.retval)
    vpp.disconnect()


main()
