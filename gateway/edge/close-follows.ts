/** What hears the errors of callers' sockets. */

/** 'close' follows every error, and tells all there is to do about it. One function for all: each connection holds it. */
export function closeFollows(): void {}
