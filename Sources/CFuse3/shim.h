// libfuse 3.14 low-level API. A system library target takes no cSettings, so the API version is chosen here.
#pragma once
#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
