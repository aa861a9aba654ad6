/* SPDX-License-Identifier: MIT OR Apache-2.0
 * tunif between lwIP and the kernel, with offload and without, at MTU 1500. Runs in a network namespace of
 * its own. */
#include "bench.h"

static bool offload;

static void link_up(void)
{
    struct herald_tunif_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.offload = offload;
    options.ipv4 = "10.9.0.1/24";
    start_stack();
    set_up(tunif_add_ex(base, NULL, 0, &options), "10.9.0.2", "fd00::2");
}

static void from_the_kernel(size_t bytes)
{
    stream s;
    pid_t pid;
    link_up();
    stream_listen(&s, 7, 0);
    pid = fork();
    if (pid == 0) {
        kernel_send_all(kernel_connected("10.9.0.2", 7, SOCK_STREAM), bytes);
        _exit(0);
    }
    LOOP_UNTIL(s.received == bytes && s.ended);
    loop_until_ended(pid);
}

static void to_the_kernel(size_t bytes)
{
    stream s;
    pid_t pid;
    int listener;
    link_up();
    listener = kernel_bound("10.9.0.1", 7, SOCK_STREAM);
    pid = fork();
    if (pid == 0) {
        kernel_receive_all(accept(listener, NULL, NULL), bytes);
        _exit(0);
    }
    close(listener);
    stream_connect(&s, "10.9.0.1", 7, bytes);
    s.ends = true;
    loop_until_ended(pid);
}

static void from_plain(size_t bytes) { offload = false; from_the_kernel(bytes); }
static void from_offload(size_t bytes) { offload = true; from_the_kernel(bytes); }
static void to_plain(size_t bytes) { offload = false; to_the_kernel(bytes); }
static void to_offload(size_t bytes) { offload = true; to_the_kernel(bytes); }

int main(void)
{
    compare("tunif, kernel to lwIP", from_plain, "tunif, kernel to lwIP, offload", from_offload, 400u << 20, 2.5);
    compare("tunif, lwIP to kernel", to_plain, "tunif, lwIP to kernel, offload", to_offload, 400u << 20, 2.5);
    return 0;
}
