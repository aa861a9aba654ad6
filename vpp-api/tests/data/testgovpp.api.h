/* Made by herald-apigen from testgovpp.api. Do not edit. */
#ifndef HERALD_API_TESTGOVPP_H
#define HERALD_API_TESTGOVPP_H

#include <stddef.h>
#include <stdint.h>

#ifndef HERALD_API_EXTENSION
#define HERALD_API_EXTENSION __extension__
#endif

#ifdef __cplusplus
extern "C" {
#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc99-extensions"
#endif
#endif

#ifndef HERALD_API_HELPERS
#define HERALD_API_HELPERS
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define HERALD_API_BIG_ENDIAN 1
#else
#define HERALD_API_BIG_ENDIAN 0
#endif

/* Between the order of this machine and that of the network. */
static inline uint16_t herald_api_be16(uint16_t x)
{
	return HERALD_API_BIG_ENDIAN ? x : (uint16_t)((x >> 8) | (x << 8));
}

static inline uint32_t herald_api_be32(uint32_t x)
{
	return HERALD_API_BIG_ENDIAN ? x
		: (x >> 24) | ((x >> 8) & 0xff00u) | ((x << 8) & 0xff0000u) | (x << 24);
}

static inline uint64_t herald_api_be64(uint64_t x)
{
	return HERALD_API_BIG_ENDIAN ? x
		: ((uint64_t)herald_api_be32((uint32_t)x) << 32) | herald_api_be32((uint32_t)(x >> 32));
}

/* A double is little-endian in the VPP API. */
static inline double herald_api_lef64(double x)
{
	union { double f; unsigned char b[8]; } from, to;
	int i;

	if (!HERALD_API_BIG_ENDIAN)
		return x;
	from.f = x;
	for (i = 0; i < 8; i++)
		to.b[i] = from.b[7 - i];
	return to.f;
}

/* string x[]: the length, then as many bytes, without a NUL. */
typedef struct __attribute__((packed)) {
	uint32_t length;
	HERALD_API_EXTENSION uint8_t buf[];
} vl_api_string_t;

static inline int vl_api_string_t_fits(uint32_t length, size_t len)
{
	return len >= sizeof(vl_api_string_t) && length <= len - sizeof(vl_api_string_t);
}
#endif

#ifndef HERALD_vl_api_interface_index_t
#define HERALD_vl_api_interface_index_t
typedef uint32_t vl_api_interface_index_t;
#endif

#ifndef HERALD_vl_api_if_status_flags_t
#define HERALD_vl_api_if_status_flags_t
typedef uint32_t vl_api_if_status_flags_t;
enum vl_api_if_status_flags {
	IF_STATUS_API_FLAG_ADMIN_UP = 1,
	IF_STATUS_API_FLAG_LINK_UP = 2
};
#endif

#ifndef HERALD_vl_api_mtu_proto_t
#define HERALD_vl_api_mtu_proto_t
typedef uint32_t vl_api_mtu_proto_t;
enum vl_api_mtu_proto {
	MTU_PROTO_API_L3 = 0,
	MTU_PROTO_API_IP4 = 1,
	MTU_PROTO_API_IP6 = 2,
	MTU_PROTO_API_MPLS = 3
};
#endif

#ifndef HERALD_vl_api_link_duplex_t
#define HERALD_vl_api_link_duplex_t
typedef uint32_t vl_api_link_duplex_t;
enum vl_api_link_duplex {
	LINK_DUPLEX_API_UNKNOWN = 0,
	LINK_DUPLEX_API_HALF = 1,
	LINK_DUPLEX_API_FULL = 2
};
#endif

#ifndef HERALD_vl_api_sub_if_flags_t
#define HERALD_vl_api_sub_if_flags_t
typedef uint32_t vl_api_sub_if_flags_t;
enum vl_api_sub_if_flags {
	SUB_IF_API_FLAG_NO_TAGS = 1,
	SUB_IF_API_FLAG_ONE_TAG = 2,
	SUB_IF_API_FLAG_TWO_TAGS = 4,
	SUB_IF_API_FLAG_DOT1AD = 8,
	SUB_IF_API_FLAG_EXACT_MATCH = 16,
	SUB_IF_API_FLAG_DEFAULT = 32,
	SUB_IF_API_FLAG_OUTER_VLAN_ID_ANY = 64,
	SUB_IF_API_FLAG_INNER_VLAN_ID_ANY = 128,
	SUB_IF_API_FLAG_MASK_VNET = 254,
	SUB_IF_API_FLAG_DOT1AH = 256
};
#endif

#ifndef HERALD_vl_api_rx_mode_t
#define HERALD_vl_api_rx_mode_t
typedef uint32_t vl_api_rx_mode_t;
enum vl_api_rx_mode {
	RX_MODE_API_UNKNOWN = 0,
	RX_MODE_API_POLLING = 1,
	RX_MODE_API_INTERRUPT = 2,
	RX_MODE_API_ADAPTIVE = 3,
	RX_MODE_API_DEFAULT = 4
};
#endif

#ifndef HERALD_vl_api_if_type_t
#define HERALD_vl_api_if_type_t
typedef uint32_t vl_api_if_type_t;
enum vl_api_if_type {
	IF_API_TYPE_HARDWARE = 0,
	IF_API_TYPE_SUB = 1,
	IF_API_TYPE_P2P = 2,
	IF_API_TYPE_PIPE = 3
};
#endif

#ifndef HERALD_vl_api_direction_t
#define HERALD_vl_api_direction_t
typedef uint8_t vl_api_direction_t;
enum vl_api_direction {
	RX = 0,
	TX = 1
};
#endif

#ifndef HERALD_vl_api_cu_up_event_type_t
#define HERALD_vl_api_cu_up_event_type_t
typedef uint32_t vl_api_cu_up_event_type_t;
enum vl_api_cu_up_event_type {
	CU_UP_EVENT_END_MARKER_IND = 1,
	CU_UP_EVENT_GTP_ERROR_IND = 2,
	CU_UP_EVENT_MAX = 3
};
#endif

#ifndef HERALD_vl_api_cu_up_gtp_error_ind_t
#define HERALD_vl_api_cu_up_gtp_error_ind_t
typedef struct __attribute__((packed)) {
	uint32_t ue_id;
	uint32_t te_id;
	uint8_t rb_id;
} vl_api_cu_up_gtp_error_ind_t;
typedef char vl_api_cu_up_gtp_error_ind_t_is_9_bytes[sizeof(vl_api_cu_up_gtp_error_ind_t) == 9 ? 1 : -1];

/* From the byte order of the network to that of this machine. */
static inline void vl_api_cu_up_gtp_error_ind_t_ntoh(vl_api_cu_up_gtp_error_ind_t *v)
{
	v->ue_id = herald_api_be32(v->ue_id);
	v->te_id = herald_api_be32(v->te_id);
}

/* From the byte order of this machine to that of the network. */
static inline void vl_api_cu_up_gtp_error_ind_t_hton(vl_api_cu_up_gtp_error_ind_t *v)
{
	vl_api_cu_up_gtp_error_ind_t_ntoh(v);
}
#endif

#define VL_API_CU_UP_GTP_ERROR_IND_EVENT_NAME "cu_up_gtp_error_ind_event"
#define VL_API_CU_UP_GTP_ERROR_IND_EVENT_CRC "cu_up_gtp_error_ind_event_6ce619fe"
typedef struct __attribute__((packed)) {
	uint16_t _vl_msg_id;
	uint32_t client_index;
	uint32_t pid;
	vl_api_cu_up_event_type_t type;
	vl_api_cu_up_gtp_error_ind_t data;
	uint8_t raw_msg_len;
	HERALD_API_EXTENSION uint8_t raw_msg_data[];
} vl_api_cu_up_gtp_error_ind_event_t;
typedef char vl_api_cu_up_gtp_error_ind_event_t_is_24_bytes[sizeof(vl_api_cu_up_gtp_error_ind_event_t) == 24 ? 1 : -1];

/* From the byte order of the network to that of this machine. Returns -1 if it is longer than len. */
static inline int vl_api_cu_up_gtp_error_ind_event_t_ntoh(vl_api_cu_up_gtp_error_ind_event_t *v, size_t len)
{
	if (len < sizeof(*v))
		return -1;
	if (v->raw_msg_len > (len - sizeof(*v)) / sizeof(v->raw_msg_data[0]))
		return -1;
	v->_vl_msg_id = herald_api_be16(v->_vl_msg_id);
	v->client_index = herald_api_be32(v->client_index);
	v->pid = herald_api_be32(v->pid);
	v->type = herald_api_be32(v->type);
	vl_api_cu_up_gtp_error_ind_t_ntoh(&v->data);
	return 0;
}

/* From the byte order of this machine to that of the network. Returns -1 if it is longer than len. */
static inline int vl_api_cu_up_gtp_error_ind_event_t_hton(vl_api_cu_up_gtp_error_ind_event_t *v, size_t len)
{
	if (len < sizeof(*v))
		return -1;
	if (v->raw_msg_len > (len - sizeof(*v)) / sizeof(v->raw_msg_data[0]))
		return -1;
	v->_vl_msg_id = herald_api_be16(v->_vl_msg_id);
	v->client_index = herald_api_be32(v->client_index);
	v->pid = herald_api_be32(v->pid);
	v->type = herald_api_be32(v->type);
	vl_api_cu_up_gtp_error_ind_t_ntoh(&v->data);
	return 0;
}

#define VL_API_WANT_CU_UP_GTP_ERROR_IND_EVENTS_NAME "want_cu_up_gtp_error_ind_events"
#define VL_API_WANT_CU_UP_GTP_ERROR_IND_EVENTS_CRC "want_cu_up_gtp_error_ind_events_c5e2af94"
typedef struct __attribute__((packed)) {
	uint16_t _vl_msg_id;
	uint32_t client_index;
	uint32_t context;
	uint8_t enable_disable;
	uint32_t pid;
} vl_api_want_cu_up_gtp_error_ind_events_t;
typedef char vl_api_want_cu_up_gtp_error_ind_events_t_is_15_bytes[sizeof(vl_api_want_cu_up_gtp_error_ind_events_t) == 15 ? 1 : -1];

/* From the byte order of the network to that of this machine. Returns -1 if it is longer than len. */
static inline int vl_api_want_cu_up_gtp_error_ind_events_t_ntoh(vl_api_want_cu_up_gtp_error_ind_events_t *v, size_t len)
{
	if (len < sizeof(*v))
		return -1;
	v->_vl_msg_id = herald_api_be16(v->_vl_msg_id);
	v->client_index = herald_api_be32(v->client_index);
	v->context = herald_api_be32(v->context);
	v->pid = herald_api_be32(v->pid);
	return 0;
}

/* From the byte order of this machine to that of the network. Returns -1 if it is longer than len. */
static inline int vl_api_want_cu_up_gtp_error_ind_events_t_hton(vl_api_want_cu_up_gtp_error_ind_events_t *v, size_t len)
{
	if (len < sizeof(*v))
		return -1;
	v->_vl_msg_id = herald_api_be16(v->_vl_msg_id);
	v->client_index = herald_api_be32(v->client_index);
	v->context = herald_api_be32(v->context);
	v->pid = herald_api_be32(v->pid);
	return 0;
}

#define VL_API_WANT_CU_UP_GTP_ERROR_IND_EVENTS_REPLY_NAME "want_cu_up_gtp_error_ind_events_reply"
#define VL_API_WANT_CU_UP_GTP_ERROR_IND_EVENTS_REPLY_CRC "want_cu_up_gtp_error_ind_events_reply_e8d4e804"
typedef struct __attribute__((packed)) {
	uint16_t _vl_msg_id;
	uint32_t context;
	int32_t retval;
} vl_api_want_cu_up_gtp_error_ind_events_reply_t;
typedef char vl_api_want_cu_up_gtp_error_ind_events_reply_t_is_10_bytes[sizeof(vl_api_want_cu_up_gtp_error_ind_events_reply_t) == 10 ? 1 : -1];

/* From the byte order of the network to that of this machine. Returns -1 if it is longer than len. */
static inline int vl_api_want_cu_up_gtp_error_ind_events_reply_t_ntoh(vl_api_want_cu_up_gtp_error_ind_events_reply_t *v, size_t len)
{
	if (len < sizeof(*v))
		return -1;
	v->_vl_msg_id = herald_api_be16(v->_vl_msg_id);
	v->context = herald_api_be32(v->context);
	v->retval = (int32_t)herald_api_be32((uint32_t)v->retval);
	return 0;
}

/* From the byte order of this machine to that of the network. Returns -1 if it is longer than len. */
static inline int vl_api_want_cu_up_gtp_error_ind_events_reply_t_hton(vl_api_want_cu_up_gtp_error_ind_events_reply_t *v, size_t len)
{
	if (len < sizeof(*v))
		return -1;
	v->_vl_msg_id = herald_api_be16(v->_vl_msg_id);
	v->context = herald_api_be32(v->context);
	v->retval = (int32_t)herald_api_be32((uint32_t)v->retval);
	return 0;
}

#define VL_API_TESTGOVPP_ENABLE_DISABLE_NAME "testgovpp_enable_disable"
#define VL_API_TESTGOVPP_ENABLE_DISABLE_CRC "testgovpp_enable_disable_3865946c"
typedef struct __attribute__((packed)) {
	uint16_t _vl_msg_id;
	uint32_t client_index;
	uint32_t context;
	uint8_t enable_disable;
	vl_api_interface_index_t sw_if_index;
} vl_api_testgovpp_enable_disable_t;
typedef char vl_api_testgovpp_enable_disable_t_is_15_bytes[sizeof(vl_api_testgovpp_enable_disable_t) == 15 ? 1 : -1];

/* From the byte order of the network to that of this machine. Returns -1 if it is longer than len. */
static inline int vl_api_testgovpp_enable_disable_t_ntoh(vl_api_testgovpp_enable_disable_t *v, size_t len)
{
	if (len < sizeof(*v))
		return -1;
	v->_vl_msg_id = herald_api_be16(v->_vl_msg_id);
	v->client_index = herald_api_be32(v->client_index);
	v->context = herald_api_be32(v->context);
	v->sw_if_index = herald_api_be32(v->sw_if_index);
	return 0;
}

/* From the byte order of this machine to that of the network. Returns -1 if it is longer than len. */
static inline int vl_api_testgovpp_enable_disable_t_hton(vl_api_testgovpp_enable_disable_t *v, size_t len)
{
	if (len < sizeof(*v))
		return -1;
	v->_vl_msg_id = herald_api_be16(v->_vl_msg_id);
	v->client_index = herald_api_be32(v->client_index);
	v->context = herald_api_be32(v->context);
	v->sw_if_index = herald_api_be32(v->sw_if_index);
	return 0;
}

#define VL_API_TESTGOVPP_ENABLE_DISABLE_REPLY_NAME "testgovpp_enable_disable_reply"
#define VL_API_TESTGOVPP_ENABLE_DISABLE_REPLY_CRC "testgovpp_enable_disable_reply_e8d4e804"
typedef struct __attribute__((packed)) {
	uint16_t _vl_msg_id;
	uint32_t context;
	int32_t retval;
} vl_api_testgovpp_enable_disable_reply_t;
typedef char vl_api_testgovpp_enable_disable_reply_t_is_10_bytes[sizeof(vl_api_testgovpp_enable_disable_reply_t) == 10 ? 1 : -1];

/* From the byte order of the network to that of this machine. Returns -1 if it is longer than len. */
static inline int vl_api_testgovpp_enable_disable_reply_t_ntoh(vl_api_testgovpp_enable_disable_reply_t *v, size_t len)
{
	if (len < sizeof(*v))
		return -1;
	v->_vl_msg_id = herald_api_be16(v->_vl_msg_id);
	v->context = herald_api_be32(v->context);
	v->retval = (int32_t)herald_api_be32((uint32_t)v->retval);
	return 0;
}

/* From the byte order of this machine to that of the network. Returns -1 if it is longer than len. */
static inline int vl_api_testgovpp_enable_disable_reply_t_hton(vl_api_testgovpp_enable_disable_reply_t *v, size_t len)
{
	if (len < sizeof(*v))
		return -1;
	v->_vl_msg_id = herald_api_be16(v->_vl_msg_id);
	v->context = herald_api_be32(v->context);
	v->retval = (int32_t)herald_api_be32((uint32_t)v->retval);
	return 0;
}

#ifdef __cplusplus
#ifdef __clang__
#pragma clang diagnostic pop
#endif
}
#endif

#endif
