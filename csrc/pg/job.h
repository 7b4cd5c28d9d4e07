/* SPDX-License-Identifier: MIT
 *
 * job.h: threads for the few things that libpq and the C library can only do blocking.
 */
#ifndef FASTPG_HELPER_H
#define FASTPG_HELPER_H

#include <libpq-fe.h>

/* Sends the cancel request from a thread, and frees it; nobody waits for it.  NULL is no request. */
void fpg_cancel_later(PGcancel *cancel);

#endif
