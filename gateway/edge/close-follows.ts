/** The 'error' listener of callers' sockets. */

/** Does nothing: 'close' follows every error and is handled. One function, because every connection refers to it. */
export function closeFollows(): void {}
