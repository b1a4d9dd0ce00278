// The same bytes to many clients: a system call for each of them, and nothing else.
#include <sys/socket.h>

#include "tickcodec.h"

size_t tickcodec_send_to_all(const int32_t *sockets, size_t count, const uint8_t *bytes, size_t size, int64_t *sent) {
    size_t whole = 0;
    for (size_t i = 0; i < count; ++i) {
        const ssize_t taken = send(sockets[i], bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent[i] = taken < 0 ? 0 : taken;
        whole += taken == static_cast<ssize_t>(size);
    }
    return whole;
}
