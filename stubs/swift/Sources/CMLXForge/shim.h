#include <mlxforge.h>
