/* SPDX-License-Identifier: MIT
 *
 * testing.h: see testing.c.
 */
#ifndef FASTPG_TESTING_H
#define FASTPG_TESTING_H

#include "lx.h"

#endif
