// Each socket gets the same bytes, as far as it has room; one that cannot be written to costs the others nothing.
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "check.hpp"
#include "tickcodec.h"

namespace {

std::string received(int socket) {
    std::string all(1 << 22, '\0');
    const ssize_t size = recv(socket, &all[0], all.size(), MSG_DONTWAIT);
    return all.substr(0, size < 0 ? 0 : static_cast<std::size_t>(size));
}

}  // namespace

int main() {
    const std::string text = "the same for all";
    const auto *bytes = reinterpret_cast<const std::uint8_t *>(text.data());
    std::vector<std::int32_t> near, far;
    for (int i = 0; i < 4; ++i) {
        int pair[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        near.push_back(pair[0]);
        far.push_back(pair[1]);
    }
    std::vector<std::int64_t> sent(near.size(), -7);
    const auto all = static_cast<std::int64_t>(text.size());
    CHECK(tickcodec_send_to_all(near.data(), near.size(), bytes, text.size(), sent.data()) == 4);
    for (std::size_t i = 0; i < near.size(); ++i) CHECK(sent[i] == all && received(far[i]) == text);

    const std::string much(1 << 22, 'x');
    CHECK(tickcodec_send_to_all(&near[0], 1, reinterpret_cast<const std::uint8_t *>(much.data()), much.size(), sent.data()) == 0);
    CHECK(sent[0] > 0 && sent[0] < 1 << 22);  // full now
    close(far[1]);                            // gone
    close(near[2]);                           // none any more
    CHECK(tickcodec_send_to_all(near.data(), near.size(), bytes, text.size(), sent.data()) == 1);
    CHECK(sent[0] == 0 && sent[1] == 0 && sent[2] == 0 && sent[3] == all && received(far[3]) == text);
    CHECK(tickcodec_send_to_all(nullptr, 0, bytes, text.size(), nullptr) == 0);
    return 0;
}
