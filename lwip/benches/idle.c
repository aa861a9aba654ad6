/* SPDX-License-Identifier: MIT OR Apache-2.0
 * How often the loop wakes up while nothing happens. */
#include "bench.h"

static double wakeups(double seconds)
{
    double start = now();
    int turns = 0;
    while (now() - start < seconds) {
        event_base_loop(base, EVLOOP_ONCE);
        turns++;
    }
    return turns / (now() - start);
}

int main(void)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    start_stack();
    set_up(fdif_add(base, fds[0], fds[0], 1), "10.9.0.1", "fd00::1");
    wakeups(2);
    printf("%-44s %8.1f\n", "idle, wake-ups per second", wakeups(10));
    herald_lwip_set_tickless(true);
    wakeups(2);
    printf("%-44s %8.1f   (aim: 1.0)\n", "idle, tickless, wake-ups per second", wakeups(20));
    return 0;
}
