/* What bindgen reads: the system's libslirp. */
#include <slirp/libslirp.h>
