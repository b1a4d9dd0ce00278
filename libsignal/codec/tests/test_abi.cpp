#include "check.hpp"
#include "tickcodec.h"

int main() {
    CHECK(tickcodec_abi_version() == TICKCODEC_ABI_VERSION);
    return 0;
}
