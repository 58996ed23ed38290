/** Thrown values as text: any value can be thrown. */

/** The message of an error; any other value as a string. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
