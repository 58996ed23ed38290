/** Field lines as a flat list, and the names the gateway treats specially. */

/** The values of every line of one field, in order; `name` is lower case. Cost: one pass over the lines. */
export function fieldValues(fields: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i]?.length === name.length && fields[i]?.toLowerCase() === name)
      values.push(fields[i + 1] ?? '');
  }
  return values;
}
