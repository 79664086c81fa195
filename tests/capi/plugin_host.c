/* A host that loads the library as plugin systems do: plugin_host LIBRARY CONFIG. */
#include "check.h"
#include "mlxforge.h"

#include <dlfcn.h>
#include <string.h>

#define FUNCTION(name) (*(__typeof__(name) **)(void *[]){dlsym(library, #name)})

int main(int count, char **arguments) {
    CHECK(count == 3);
    void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    CHECK(dlsym(RTLD_DEFAULT, "mlxforge_version") == NULL);
    mlxforge_error *error = NULL;
    mlxforge_engine *engine = FUNCTION(mlxforge_engine_open)(arguments[2], &error);
    if (engine == NULL) {
        fprintf(stderr, "%s\n", FUNCTION(mlxforge_error_message)(error));
        return 1;
    }
    size_t tokens = 0;
    CHECK(FUNCTION(mlxforge_count_tokens)(engine, "a few words", NULL, -1, &tokens, NULL) == 0);
    CHECK(tokens >= 3);
    FUNCTION(mlxforge_engine_close)(engine);
    dlclose(library);
    library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL); /* it had stayed, and works on */
    engine = FUNCTION(mlxforge_engine_open)(arguments[2], &error);
    CHECK(engine != NULL);
    dlclose(library);
    return 0;
}
