// Compiled, never run: mlxforge.h is C++17 as well.
#include "mlxforge.h"

static_assert(MLXFORGE_ABI_VERSION >= 1);
