/*
 * The library's log in the host's own, with a time before each line. logging [CONFIG_JSON]
 */
#include <mlxforge.h>
#include <stdio.h>
#include <time.h>

typedef struct host_log {
    FILE *file;
    int lines;
} host_log;

/* Called from a thread of the library's, one line at a time. */
static void write_line(int32_t level, const char *source, const char *text, void *user_data) {
    host_log *log = user_data;
    const char *name = level >= MLXFORGE_LOG_ERROR     ? "ERROR"
                       : level >= MLXFORGE_LOG_WARNING ? "WARNING"
                       : level >= MLXFORGE_LOG_INFO    ? "INFO"
                                                       : "DEBUG";
    char now[32];
    time_t seconds = time(NULL);
    strftime(now, sizeof now, "%H:%M:%S", localtime(&seconds));
    fprintf(log->file, "%s %-7s %s: %s\n", now, name, source, text);
    log->lines++;
}

int main(int count, char **arguments) {
    host_log log = {stderr, 0};
    size_t tokens = 0;
    mlxforge_log_set(write_line, &log, MLXFORGE_LOG_INFO);
    mlxforge_error *error;
    mlxforge_engine *engine = mlxforge_engine_open(count > 1 ? arguments[1] : NULL, &error);
    if (engine == NULL ||
        mlxforge_count_tokens(engine, "The quick brown fox", NULL, -1, &tokens, &error)) {
        fprintf(stderr, "logging: %s\n", mlxforge_error_message(error));
        mlxforge_error_free(error);
        return 1;
    }
    mlxforge_engine_close(engine);
    mlxforge_log_set(NULL, NULL, 0); /* from here on `log` is the host's alone again */
    printf("%zu tokens, %d lines of log\n", tokens, log.lines);
    return 0;
}
