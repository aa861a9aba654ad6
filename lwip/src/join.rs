//! lwipevbuf_bev_join: an lwipevbuf and a bufferevent, joined.
