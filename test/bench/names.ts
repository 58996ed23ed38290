/** Names that patchgate and its rivals are configured with. */

export const HOST = 'bench.example.com';
export const ISSUER = 'https://auth.example.com';
export const AUDIENCE = 'weight-sync';
