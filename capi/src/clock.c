/* Waiting against the monotonic clock. */
#include "internal.h"

#include <errno.h>

/* Longer waits than this (30 years) are waits for good; sums stay far from overflow. */
#define LONGEST_MS ((int64_t)1000 * 60 * 60 * 24 * 365 * 30)

deadline deadline_after_ms(int64_t timeout_ms) {
    deadline d = {.set = timeout_ms >= 0 && timeout_ms < LONGEST_MS};
    if (!d.set) {
        return d;
    }
    clock_gettime(CLOCK_MONOTONIC, &d.at);
    d.at.tv_sec += (time_t)(timeout_ms / 1000);
    d.at.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (d.at.tv_nsec >= 1000000000) {
        d.at.tv_sec += 1;
        d.at.tv_nsec -= 1000000000;
    }
    return d;
}

int64_t deadline_left_ms(const deadline *d) {
    if (!d->set) {
        return -1;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t left = (int64_t)(d->at.tv_sec - now.tv_sec) * 1000;
    left += (d->at.tv_nsec - now.tv_nsec) / 1000000;
    return left > 0 ? left : 0;
}

void cond_init(pthread_cond_t *cond) {
#if defined(__APPLE__) /* no choice of clock there; waits are relative instead */
    pthread_cond_init(cond, NULL);
#else
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
#endif
}

bool cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, const deadline *d) {
    if (!d->set) {
        pthread_cond_wait(cond, mutex);
        return true;
    }
#if defined(__APPLE__)
    int64_t left = deadline_left_ms(d);
    struct timespec relative = {(time_t)(left / 1000), (long)(left % 1000) * 1000000};
    return left > 0 && pthread_cond_timedwait_relative_np(cond, mutex, &relative) != ETIMEDOUT;
#else
    return pthread_cond_timedwait(cond, mutex, &d->at) != ETIMEDOUT;
#endif
}
