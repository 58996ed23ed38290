/** Lets @peculiar/x509 load: its container asks for reflection of types, which nothing in these tests uses. */

if (!('getMetadata' in Reflect)) Object.assign(Reflect, { getMetadata: () => undefined });
