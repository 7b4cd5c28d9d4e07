/* SPDX-License-Identifier: MIT
 *
 * process.h: which process this is.
 */
#ifndef FASTPG_PROCESS_H
#define FASTPG_PROCESS_H

#include <sys/types.h>

/* getpid, without a system call. */
pid_t fpg_process_id(void);

#endif
