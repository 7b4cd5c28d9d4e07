/* SPDX-License-Identifier: MIT
 *
 * nginx_events.h: sockets in nginx's event loop.
 */
#ifndef FASTPG_NGINX_EVENTS_H
#define FASTPG_NGINX_EVENTS_H

/* A socket is about to be closed: whoever waits for it goes on, and nginx forgets it. */
void fpg_nginx_closing(int fd);

#endif
