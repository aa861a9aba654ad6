/* A client of testgovpp.api over shared memory, for the tests; on VPP's own client library.
 *
 *     memory_client common PREFIX QUEUE COUNT     in the segment that all clients share
 *     memory_client private SOCKET QUEUE COUNT    in a segment of its own, agreed on over the socket;
 *                                                 its queue is as long as the library has it
 *     memory_client flood PREFIX QUEUE COUNT      sends COUNT requests, and reads no answer
 *     memory_client short PREFIX QUEUE COUNT      sends COUNT requests that are too short, and then one
 *
 * It prints what the client in Python prints.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vlibapi/api.h>
#include <vlibmemory/api.h>
#include <vlibmemory/memory_client.h>
#include <vlibmemory/socket_client.h>

#define CONTEXT 0x01020304

static u16 want_id, reply_id, event_id;
static u32 left;

static u16 id_of(const char *name_crc)
{
    u32 id = vl_msg_api_get_msg_index((u8 *)name_crc);
    if (id == ~0u) {
        fprintf(stderr, "no %s\n", name_crc);
        exit(1);
    }
    return id;
}

static u32 get32(const u8 *at)
{
    return (u32)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

/* The client's own index is in its own order, as in all messages of such a client. */
static void want(int enable, int size)
{
    api_main_t *am = vlibapi_get_main();
    u8 *message = vl_msg_api_alloc(size), whole[15];
    u32 context = CONTEXT, pid = getpid();
    u8 numbers[] = {want_id >> 8, want_id};
    memcpy(whole, numbers, 2);
    memcpy(whole + 2, &am->my_client_index, 4);
    memcpy(whole + 6, &context, 4);
    whole[10] = enable;
    for (int i = 0; i < 4; i++)
        whole[11 + i] = pid >> (24 - 8 * i);
    memcpy(message, whole, size);
    vl_msg_api_send_shmem(am->shmem_hdr->vl_input_queue, (u8 *)&message);
}

static void print_event(const u8 *event)
{
    api_main_t *am = vlibapi_get_main();
    static const char *types[] = {"?", "CU_UP_EVENT_END_MARKER_IND", "CU_UP_EVENT_GTP_ERROR_IND", "CU_UP_EVENT_MAX"};
    if (memcmp(event + 2, &am->my_client_index, 4) != 0)
        printf("not for this client\n");
    printf("%s pid %u ue %u te 0x%x rb %u raw ", types[get32(event + 10) & 3], get32(event + 6), get32(event + 14),
           get32(event + 18), event[22]);
    for (int i = 0; i < event[23]; i++)
        printf("%02x", event[24 + i]);
    printf("\n");
    fflush(stdout);
}

/* Takes a message; 1 and its value if it is a reply. */
static int take(int quiet, i32 *retval)
{
    u8 *message;
    int is_reply = 0;
    svm_queue_sub(vlibapi_get_main()->vl_input_queue, (u8 *)&message, SVM_Q_WAIT, 0);
    u16 id = message[0] << 8 | message[1];
    if (id == event_id) {
        if (!quiet)
            print_event(message);
        left--;
        vl_msg_api_free(message);
    } else if (id == reply_id) {
        u32 context;
        memcpy(&context, message + 2, 4);
        is_reply = context == CONTEXT;
        *retval = get32(message + 6);
        vl_msg_api_free(message);
    } else {
        /* VPP asks whether we live. */
        vl_msg_api_handler(message, vl_msg_api_get_msg_length(message));
    }
    return is_reply;
}

static i32 ask(int enable, int quiet)
{
    i32 retval;
    want(enable, 15);
    while (!take(quiet, &retval))
        ;
    return retval;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    const char *how = argv[1];
    int queue = atoi(argv[3]), quiet = argc > 5;
    i32 retval;
    left = atoi(argv[4]);
    clib_mem_init(0, 64 << 20);
    if (strcmp(how, "private") == 0) {
        if (vl_socket_client_connect(argv[2], "herald-memory", 0) || vl_socket_client_init_shm(0, 0))
            return 1;
    } else {
        vl_set_memory_root_path(argv[2]);
        if (vl_client_connect_to_vlib_no_rx_pthread("/vpe-api", "herald-memory", queue))
            return 1;
    }
    want_id = id_of("want_cu_up_gtp_error_ind_events_c5e2af94");
    reply_id = id_of("want_cu_up_gtp_error_ind_events_reply_e8d4e804");
    event_id = id_of("cu_up_gtp_error_ind_event_6ce619fe");
    if (strcmp(how, "flood") == 0) {
        while (left-- > 0)
            want(1, 15);
        printf("flooded\n");
        fflush(stdout);
        pause();
    }
    if (strcmp(how, "short") == 0) {
        while (left-- > 0)
            want(1, 14);
        left = 0;
    }
    printf("absent %d\n", ask(0, quiet));
    printf("subscribed %d\n", ask(1, quiet));
    printf("duplicate %d\n", ask(1, quiet));
    fflush(stdout);
    while (left > 0)
        take(quiet, &retval);
    printf("unsubscribed %d\nleft %d\n", ask(0, quiet), left);
    fflush(stdout);
    if (strcmp(how, "private") == 0)
        vl_socket_client_disconnect();
    else
        vl_client_disconnect_from_vlib();
    return 0;
}
