/** The names both gateways are set up with. */

export const HOST = 'bench.example.com';
export const ISSUER = 'https://auth.example.com';
export const AUDIENCE = 'weight-sync';
