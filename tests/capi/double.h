/* The double's own counters, for the tests that are built with it. */
#ifndef DOUBLE_H
#define DOUBLE_H

#include <stddef.h>

/* Streams that the double has not ended yet. */
size_t double_live(void);
/* Engines that are open. */
size_t double_engines(void);
/* Ends the double's thread as the exit of the process does. */
void double_stop(void);
/* Keeps the double's thread from serving what comes, until double_release. */
void double_hold(void);
void double_release(void);
/* Has the double fail to start, after backend_start went well; before the first open. */
void double_refuse(void);

#endif
