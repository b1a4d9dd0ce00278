#include "tickcodec.h"

int tickcodec_abi_version(void) { return TICKCODEC_ABI_VERSION; }
