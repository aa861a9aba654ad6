//! pbufs over readv(2) and writev(2).
